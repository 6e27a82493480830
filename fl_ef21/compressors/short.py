"""Compressors in a word: "topk:0.01", "qsgd:15", "topk:k=78,values=bfloat16"."""

from __future__ import annotations

from inspect import signature
from typing import Any

from fl_ef21 import plugins, words
from fl_ef21.compressors import COMPRESSORS, make
from fl_ef21.types import Compressor

_MODEL = ("dim", "shapes")  # filled in from the model, never written


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The compressor's name and its options. What stands without a name after the colon is `fraction` where it has a
    point, else `k`, where the compressor takes those, and its first option elsewhere.

    Raises: InputError, whose field is "compressor" or the option.
    """
    name = plugins.named(text, COMPRESSORS)
    takes = [option for option in signature(COMPRESSORS[name].from_options).parameters if option not in _MODEL]

    def nameless(word: str) -> str:
        key = ("fraction" if "." in word or "e" in word else "k") if "fraction" in takes else takes[0]
        return key if key in takes else takes[0]

    return name, words.options("compressor", text, takes, nameless, name)


def named(text: str, *, dim: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Compressor:
    """The compressor that `text` names, for this model. Raises: InputError."""
    name, options = parse(text)
    return make(name, dim=dim, shapes=shapes, **options)
