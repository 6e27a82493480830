"""A thing and its options in a word: "topk:0.01", "krum:0.2", "topk:k=78,values=bfloat16"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fl_ef21.errors import InputError


def options(
    field: str, text: str, takes: Sequence[str], nameless: Callable[[str], str], thing: str | None = None
) -> dict[str, Any]:
    """The options behind the colon of `text`. `nameless`: the option that one without a name is, given its value.
    `thing`: what stands before that colon, where it has one of its own.

    Raises: InputError about `field`, or about an option that is given twice.
    """
    found: dict[str, Any] = {}
    behind = text.partition(":")[2] if thing is None else text[len(thing) + 1 :]
    for at, part in enumerate(filter(None, behind.split(","))):
        key, named, word = part.rpartition("=")
        if not named:
            if at or not takes:
                raise InputError(field, text, "must read name, name:number or name:option=value,option=value")
            key = nameless(word)
        if key in found:
            raise InputError(key, part, f"is given twice in {text!r}")
        found[key] = _value(word)
    return found


def _value(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word, word)
