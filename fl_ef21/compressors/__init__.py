"""Compressors: one file each, and the table of their names. docs/new-compressor.md says how to add one."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, Protocol

from fl_ef21 import plugins
from fl_ef21.compressors.block_topk import BlockTopK
from fl_ef21.compressors.grid import ToGrid
from fl_ef21.compressors.hard_threshold import HardThreshold
from fl_ef21.compressors.identity import Identity
from fl_ef21.compressors.layer_topk import LayerTopK
from fl_ef21.compressors.natural import Natural
from fl_ef21.compressors.powersgd import PowerSGD
from fl_ef21.compressors.qsgd import QSGD
from fl_ef21.compressors.randk import RandK
from fl_ef21.compressors.sign import Sign
from fl_ef21.compressors.topk import TopK
from fl_ef21.errors import InputError
from fl_ef21.plugins import Registry
from fl_ef21.types import Compressor


class Registered(Compressor, Protocol):
    """A compressor that a scenario can name."""

    @classmethod
    def from_options(cls, *args: Any, **kwargs: Any) -> Compressor:
        """From keyword arguments: a scenario's options, and `dim` or `shapes` where it asks for them."""
        ...


OURS: dict[str, type[Registered]] = {
    "identity": Identity,
    "topk": TopK,
    "block-topk": BlockTopK,
    "layer-topk": LayerTopK,
    "randk": RandK,
    "hard-threshold": HardThreshold,
    "grid": ToGrid,
    "sign": Sign,
    "natural": Natural,
    "qsgd": QSGD,
    "powersgd": PowerSGD,
}
COMPRESSORS = Registry(plugins.COMPRESSORS, OURS)


def make(name: str, *, dim: int, shapes: tuple[tuple[str, tuple[int, ...]], ...], **options: Any) -> Compressor:
    """The compressor `name` for vectors of length dim, made of parameter tensors of these named shapes.

    An option that is None counts as not given.

    Raises: InputError for an unknown name, and for options that do not belong, are missing or out of range.
    """
    kind = COMPRESSORS[name]
    asked = signature(kind.from_options).parameters
    model = {"dim": dim, "shapes": shapes}
    takes = [option for option in asked if option not in model]
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in takes:
            known = ", ".join(takes) if takes else "no options"
            raise InputError(option, value, f"is not an option of {name!r}, which takes {known}")
    for option in takes:
        if option not in given and asked[option].default is Parameter.empty:
            raise InputError(option, None, f"is missing; {name!r} needs it")
    return kind.from_options(**given, **{key: model[key] for key in model if key in asked})
