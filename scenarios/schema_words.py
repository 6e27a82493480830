"""The names and the kinds of values that a scenario file may hold.

Free of heavy imports, so that a typo is answered at once. Names of methods, compressors, models, data
sources and schemes are spelled here and held equal to the registries by a test. Other packages are asked for theirs
only where a name is not one of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from fl_ef21 import plugins
from fl_ef21.errors import nearest
from fl_ef21.faults import Faults

# with what each takes, so that `--set method.fraction=0.05` passes by methods that have no use for it
ROUNDING = ("values", "levels", "scale_block")
COMPRESSORS: dict[str, tuple[str, ...]] = {
    "identity": ROUNDING,
    "topk": ("k", "fraction", *ROUNDING),
    "block-topk": ("block", "k", "fraction", *ROUNDING),
    "layer-topk": ("fraction", *ROUNDING),
    "randk": ("k", "fraction", "scaled", *ROUNDING),
    "hard-threshold": ("threshold", *ROUNDING),
    "grid": ("step",),
    "sign": (),
    "natural": ("contractive",),
    "qsgd": ("levels", "bucket", "contractive"),
    "powersgd": ("rank", "iterations", "values"),
}
# with the hyperparameters of each besides eta and gamma, likewise
METHODS: dict[str, tuple[str, ...]] = {
    "sgdm": (),
    "compressed-sgd": (),
    "ef14": (),
    "ef21-sgd": (),
    "ef21-sgdm": (),
    "ef21-sgd2m": (),
    "ef21-sgd-abs": (),
    "ef21-sgdm-abs": (),
    "ef21-sgd2m-abs": (),
    "ef21-sgd-ideal": (),
    "ef21-sgdm-ideal": (),
    "ef21-mvr": (),
    "ef21-page": ("p",),
    "ef21-pp": (),
    "ef21-plus": (),
    "ef14-momentum": (),
    "neolithic": ("R",),
    "econtrol": (),
    "beer": ("mix",),
    "fedavg": (),
    "fedprox": ("mu",),
    "fed-ef": (),
    "scaffold": (),
    "scallion": (),
    "scafcom": (),
    "diana": ("lam",),
    "ef-bv": ("lam", "nu"),
    "marina": ("p",),
    "dasha": ("a",),
    "dasha-mvr": ("a",),
    "dasha-pp": ("a", "b"),
    "dasha-pp-mvr": ("a", "b"),
    "ef21-hb": ("beta",),
    "ef21-sgdm-norm": (),
    "ef21-igt-norm": (),
    "ef21-mvr-norm": (),
    "ef21-prox": (),
    "ef21-w": (),
    "ef21-muon": ("rest",),
    "ef21-bc": (),
    "ef21-p": (),
}
# whose compressors may not round, as that is neither unbiased nor absolutely bounded
EXACT = (
    "ef21-sgd-abs",
    "ef21-sgdm-abs",
    "ef21-sgd2m-abs",
    "scallion",
    "diana",
    "marina",
    "dasha",
    "dasha-mvr",
    "dasha-pp",
    "dasha-pp-mvr",
)
UNCOMPRESSED = ("sgdm", "fedavg", "fedprox", "scaffold")  # which take no compressor but the identity
MODELS = ("logistic", "logistic-nonconvex", "mlp", "cnn", "quadratic", "theorem1")

AGGREGATES = ("mean", "median", "trimmed-mean", "geometric-median", "krum", "multi-krum")
MIXINGS = ("bucketing", "nnm")
PROXES = ("l1", "l2", "box", "ball")

T = TypeVar("T")
Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(gt=0, le=1)]
Switch = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True)]
Dealt = Annotated[list[T], Field(min_length=1)]  # client i takes entry i mod length
ByClass = Annotated[dict[Text, T], Field(min_length=1)]  # of device


def finite(value: T) -> T:
    """The same, whatever is inside. Raises: ValueError where a number is not finite."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        finite(inner)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    return value


def unknown(name: str, known: Iterable[str], besides: str = "") -> str:
    """Plain words for a name that is not in a list."""
    return f"is not known; {nearest(name, list(known))}" + (f" {besides}" if besides else "")


def compressor_word(word: str) -> str:
    """The same, such as "topk:0.01". Raises: ValueError where what stands before the colon is no compressor."""
    compressor_name(plugins.named(word, COMPRESSORS))
    return word


def compressor_name(name: str) -> str:
    """The same. Raises: ValueError where neither we nor another package has a compressor of that name."""
    if not plugins.there(name, COMPRESSORS, plugins.COMPRESSORS):
        raise ValueError(plugins.unknown(name, COMPRESSORS, plugins.COMPRESSORS))
    return name


def method_name(name: str) -> str:
    """The same. Raises: ValueError where neither we nor another package has a method of that name."""
    if not plugins.there(name, METHODS, plugins.METHODS):
        raise ValueError(plugins.unknown(name, METHODS, plugins.METHODS))
    return name


def one_of(known: Iterable[str]) -> Callable[[str | None], str | None]:
    """A check that what stands before the colon of a word, where there is one, is known. It raises ValueError."""

    def check(word: str | None) -> str | None:
        name = (word or "").partition(":")[0]
        if word is not None and name not in known:
            raise ValueError(unknown(name, known))
        return word

    return check


def chaos_words(text: str) -> str:
    """The same, such as "kill=2%,late=5%". Raises: ValueError where it names no faults."""
    Faults.parse(text)
    return text


class Section(BaseModel):
    """Keys that are not listed are errors; a number is never made from a text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
