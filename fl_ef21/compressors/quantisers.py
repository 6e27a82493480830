"""How the values of a message are rounded, always the same way, and what each rounding surely keeps.

Of m numbers x a quantiser Q keeps the share `keeps(m)`: |Q(x) - x|^2 <= (1 - keeps) |x|^2 for every x. Where u is
x and what is left out, |C(u) - u|^2 = |u|^2 - |x|^2 + |Q(x) - x|^2 <= |u|^2 - keeps |x|^2: whoever selects at
least a share alpha of |u|^2, surely or on average, keeps keeps(m) alpha once its values are rounded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.compressors import options, rows
from fl_ef21.compressors.natural import between_powers
from fl_ef21.compressors.qsgd import MOST
from fl_ef21.errors import InputError, choose
from fl_ef21.messages import Floats, Levels, Powers, Signs, Values

BLOCK = 256  # values that share a scale
INTEGERS = {"int8": 127, "int4": 7}  # the largest level, so that there are as many below zero


class Quantiser(ABC):
    """Rounds the selected values of each row. A frozen dataclass of its parameters, written as a scenario names it.

    Attributes:
      contractive: whether there is something that it surely keeps.
    """

    contractive: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Values:
        """What is said of x (n, m). Raises: ValueError where x is not finite or too large to be said."""

    @abstractmethod
    def keeps(self, m: int) -> float | None:
        """The share of |x|^2 that is surely kept of m numbers, None where there is none."""

    @abstractmethod
    def bits(self, m: int) -> float:
        """Bits of m values, as papers count them."""

    def alpha(self, m: int, parts: Sequence[tuple[int, int]]) -> float | None:
        """The contraction where of each part, (k, size), the k largest of size coordinates are among the m sent."""
        kept = self.keeps(m)
        return None if kept is None else kept * min(k / size for k, size in parts)


@dataclass(frozen=True, repr=False)
class Exact(Quantiser):
    """As trained: float32 or float64."""

    def __call__(self, x: Tensor) -> Floats:
        return Floats(x.reshape(-1))

    def keeps(self, m: int) -> float:
        return 1.0

    def bits(self, m: int) -> float:
        return 32.0 * m

    def __repr__(self) -> str:
        return "exact"


EXACT = Exact()


@dataclass(frozen=True, repr=False)
class BFloat16(Quantiser):
    """The nearest bfloat16, off by 2^-8 of the value at most; |x| up to float32's largest."""

    def __call__(self, x: Tensor) -> Floats:
        _check(x, torch.finfo(torch.float32).max)
        most = torch.finfo(torch.bfloat16).max
        return Floats(x.clamp(-most, most).to(torch.bfloat16).reshape(-1))

    def keeps(self, m: int) -> float:
        return 1 - 2**-16

    def bits(self, m: int) -> float:
        return 16.0 * m

    def __repr__(self) -> str:
        return "bfloat16"


@dataclass(frozen=True, repr=False)
class Float16(Quantiser):
    """The nearest float16, at most 65504 in size: nothing is sure, as values below 3e-8 become zero."""

    contractive: ClassVar[bool] = False

    def __call__(self, x: Tensor) -> Floats:
        _check(x, math.inf)
        most = torch.finfo(torch.float16).max
        return Floats(x.clamp(-most, most).to(torch.float16).reshape(-1))

    def keeps(self, m: int) -> None:
        return None

    def bits(self, m: int) -> float:
        return 16.0 * m

    def __repr__(self) -> str:
        return "float16"


@dataclass(frozen=True, repr=False)
class MeanSign(Quantiser):
    """The mean size of the selected, with each one's sign: |x|_1^2 / m is kept, which is |x|^2 / m at the least.

    Reference: Sattler et al. Robust and communication-efficient federated learning from non-iid data. 2019.
    """

    def __call__(self, x: Tensor) -> Signs:
        return Signs((x < 0).reshape(-1), rows.mean_size(x))

    def keeps(self, m: int) -> float:
        return 1 / m

    def alpha(self, m: int, parts: Sequence[tuple[int, int]]) -> float:
        # For |x|_1 = 1, |u|^2 is convex in the sizes of x, so largest where x is a single coordinate or one part's
        # k equal ones, beside which the part's other coordinates may be as large: 1 or size / k^2.
        return min(1, *(k * k / size for k, size in parts)) / m

    def bits(self, m: int) -> float:
        return 32.0 + m

    def __repr__(self) -> str:
        return "sign"


@dataclass(frozen=True, repr=False)
class NearestPower(Quantiser):
    """The nearest power of two, off by a third of the value at most; |x| in {0} and 2^-127 .. 2^127."""

    def __call__(self, x: Tensor) -> Powers:
        below, way = between_powers(x)
        exponent = (below + (way >= 0.5)).to(torch.int8)
        return Powers((x < 0).reshape(-1), exponent.reshape(-1), 1.0, x.dtype)

    def keeps(self, m: int) -> float:
        return 8 / 9

    def bits(self, m: int) -> float:
        return 9.0 * m

    def __repr__(self) -> str:
        return "natural"


@dataclass(frozen=True, repr=False)
class Grid(Quantiser):
    """The nearest of `levels` even steps up to the largest of every block: QSGD with another norm, and no chance.

    The largest is exact and each other one is off by min(|x|, h/2), h = largest / levels, so of |x|^2
    no more than A / (1 + A) is lost, A = (b - 1) / (4 levels^2) in a block of b.

    Attributes:
      levels: 127 for int8, 7 for int4; in 1 .. 32767.
      block: consecutive values with a scale of their own, 0 for all values of a client.
    """

    levels: int
    block: int = 0

    def __post_init__(self) -> None:
        options.whole("levels", self.levels, 1, MOST)
        options.whole("scale_block", self.block, 0)

    def __call__(self, x: Tensor) -> Levels:
        _check(x, math.inf)
        n, m = x.shape
        x = rows.blocks(x, self.block) if self.block else x
        most = rows.largest(x)
        level = (x / most * self.levels).round().to(torch.int16)
        unit = most[:, 0] / self.levels
        if self.block:
            count = -(-m // self.block)
            level, unit = level.reshape(n, count * self.block)[:, :m], unit.reshape(n, count)
        return Levels(level.reshape(-1), unit, self.levels, self.block)

    def keeps(self, m: int) -> float:
        return 1 / (1 + (min(m, self.block or m) - 1) / (4 * self.levels**2))

    def bits(self, m: int) -> float:
        return 32.0 * math.ceil(m / (self.block or m)) + m * math.ceil(math.log2(2 * self.levels + 1))

    def __repr__(self) -> str:
        integer = {most: name for name, most in INTEGERS.items()}.get(self.levels) if self.block else None
        name = integer or f"{self.levels} levels"
        return f"{name} in {self.block}s" if self.block and (self.block != BLOCK or not integer) else name


VALUES: dict[str, Callable[..., Quantiser]] = {
    "exact": Exact,
    "bfloat16": BFloat16,
    "float16": Float16,
    "int8": Grid,
    "int4": Grid,
    "sign": MeanSign,
    "natural": NearestPower,
    "qsgd": Grid,
}


def named(values: str, levels: int | None = None, scale_block: int | None = None) -> Quantiser:
    """The quantiser that a scenario's options ask for. Raises: InputError where they do not go together."""
    kind = choose(VALUES, values, "values")
    if kind is not Grid and scale_block is not None:
        raise InputError("scale_block", scale_block, f"belongs to values = 'int8', 'int4' or 'qsgd', not to {values!r}")
    if scale_block is not None:
        options.whole("scale_block", scale_block, 1)
    if values in INTEGERS and levels is None:
        return Grid(INTEGERS[values], BLOCK if scale_block is None else scale_block)
    if values == "qsgd":
        if levels is None:
            raise InputError("levels", None, "is missing; values = 'qsgd' needs it")
        return Grid(levels, scale_block or 0)
    if levels is not None:
        raise InputError("levels", levels, f"belongs to values = 'qsgd', not to {values!r}")
    return kind()


def _check(x: Tensor, most: float) -> None:
    if not bool((x.isfinite() & (x.abs() <= most)).all()):
        raise ValueError(f"u is not finite, or holds values beyond {most:.3g}")
