"""The form of each kind of values: docs/wire-format.md, section Values."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch

from fl_ef21.messages import Factors, Floats, Layout, Levels, Powers, Signs, Values
from fl_ef21.wire.bits import Array
from fl_ef21.wire.forms import (
    Form,
    any_of_each,
    array,
    code_of,
    limit_of,
    not_finite,
    octets,
    tensor,
    turned,
    unturned,
)


def form_of(values: Values) -> Form:
    """The form of a message's values. Raises: TypeError where the format has none."""
    match values:
        case Floats(flat):
            return FloatForm(flat.dtype)
        case Factors(flat, layout):
            return FactorForm(flat.dtype, layout)
        case Signs(_, scale):
            return SignForm(scale.dtype)
        case Powers(_, _, scale, dtype):
            return PowerForm(dtype, scale)
        case Levels(_, unit, most, bucket):
            return LevelForm(unit.dtype, most, bucket)
    raise TypeError(f"the wire format has no code for {type(values).__name__}")


@dataclass(frozen=True)
class FloatForm(Form):
    """Floats of this dtype: float64 as they are, shorter ones as numbers."""

    dtype: torch.dtype

    @property
    def code(self) -> int:
        return code_of(0, self.dtype)

    @property
    def width(self) -> int:
        return min(32, 8 * self.dtype.itemsize)

    def _sent(self, counts: Array) -> Array:
        return counts

    def plains(self, counts: Array) -> Array:
        return 8 * self._sent(counts) if self.dtype == torch.float64 else np.zeros_like(counts)

    def numbers(self, counts: Array) -> Array:
        return np.zeros_like(counts) if self.dtype == torch.float64 else self._sent(counts)

    def split(self, values: Floats | Factors, counts: Array) -> tuple[Array, Array]:
        if self.dtype == torch.float64:
            return octets(values.flat), np.empty(0, np.uint32)
        return np.empty(0, np.uint8), turned(values.flat)

    def _flat(self, plain: Array, x: Array) -> torch.Tensor:
        return tensor(plain, self.dtype) if self.dtype == torch.float64 else unturned(x, self.dtype)

    def join(self, plain: Array, x: Array, counts: Array) -> Values:
        return Floats(self._flat(plain, x))

    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        wrong = not_finite(self._flat(plain, x)) if self.dtype == torch.float64 else x >= limit_of(self.dtype)
        return any_of_each(wrong, self._sent(counts))


@dataclass(frozen=True)
class FactorForm(FloatForm):
    """Factors of this dtype; the layout says how many and is not sent."""

    layout: Layout

    @property
    def code(self) -> int:
        return code_of(4, self.dtype)

    def _sent(self, counts: Array) -> Array:
        return np.full_like(counts, self.layout.width)

    def join(self, plain: Array, x: Array, counts: Array) -> Values:
        return Factors(self._flat(plain, x).reshape(len(counts), self.layout.width), self.layout)

    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        flat = self._flat(plain, x).reshape(len(counts), self.layout.width)
        wrong: Array = ~(torch.isfinite(flat).all(dim=1) & torch.isfinite(self.layout.rebuild(flat)).all(dim=1)).numpy()
        return wrong


@dataclass(frozen=True)
class SignForm(Form):
    """A scale of this dtype as it is, and the signs, eight to a number."""

    dtype: torch.dtype

    @property
    def code(self) -> int:
        return code_of(8, self.dtype)

    @property
    def width(self) -> int:
        return 8

    def plains(self, counts: Array) -> Array:
        return np.full_like(counts, self.dtype.itemsize)

    def numbers(self, counts: Array) -> Array:
        return -(-counts // 8)

    def split(self, values: Signs, counts: Array) -> tuple[Array, Array]:
        flags = array(values.negative)
        padded = np.zeros(8 * int(self.numbers(counts).sum()), dtype=bool)
        padded[self._places(counts)] = flags
        return octets(values.scale), np.packbits(padded, bitorder="little").astype(np.uint32)

    def _places(self, counts: Array) -> Array:
        """Where each entry's bit stands when every client begins with a new byte."""
        shift = np.cumsum(8 * self.numbers(counts) - counts) - (8 * self.numbers(counts) - counts)
        places: Array = np.arange(int(counts.sum())) + np.repeat(shift, counts)
        return places

    def join(self, plain: Array, x: Array, counts: Array) -> Signs:
        flags = np.unpackbits(x.astype(np.uint8), bitorder="little").view(bool)
        return Signs(torch.from_numpy(flags[self._places(counts)]), tensor(plain, self.dtype))

    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        scale = tensor(plain, self.dtype)
        wrong: Array = not_finite(scale) | (scale < 0).numpy()
        last = np.cumsum(self.numbers(counts))[counts > 0] - 1
        wrong[counts > 0] |= x[last] >> ((counts[counts > 0] - 1) % 8 + 1) != 0
        return wrong


@dataclass(frozen=True)
class PowerForm(Form):
    """Powers of two, rebuilt in this dtype: number 2 (exponent + 128), one more where negative."""

    dtype: torch.dtype
    scale: float

    @property
    def code(self) -> int:
        return code_of(10, self.dtype)

    @property
    def parameters(self) -> bytes:
        return struct.pack("<d", self.scale)

    @property
    def width(self) -> int:
        return 9

    def plains(self, counts: Array) -> Array:
        return np.zeros_like(counts)

    def numbers(self, counts: Array) -> Array:
        return counts

    def split(self, values: Powers, counts: Array) -> tuple[Array, Array]:
        raised = array(values.exponent).astype(np.uint32) + np.uint32(128) & 255
        return np.empty(0, np.uint8), raised << 1 | array(values.negative)

    def join(self, plain: Array, x: Array, counts: Array) -> Powers:
        exponent = torch.from_numpy(((x >> 1).astype(np.int16) - 128).astype(np.int8))
        return Powers(torch.from_numpy((x & 1).astype(bool)), exponent, self.scale, self.dtype)

    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        every = np.arange(512, dtype=np.uint32)
        wrong = not_finite(self.join(plain, every, counts).real(torch.tensor([512])))
        return any_of_each(wrong[x], counts)


@dataclass(frozen=True)
class LevelForm(Form):
    """Units of this dtype as they are, one or one a bucket; level l as number 2 |l|, one less where negative."""

    dtype: torch.dtype
    most: int
    bucket: int

    @property
    def code(self) -> int:
        return code_of(12, self.dtype)

    @property
    def parameters(self) -> bytes:
        return struct.pack("<HI", self.most, self.bucket)

    @property
    def width(self) -> int:
        return (2 * self.most).bit_length()

    def _units(self, counts: Array) -> Array:
        return -(-counts // self.bucket) if self.bucket else np.ones_like(counts)

    def plains(self, counts: Array) -> Array:
        return self._units(counts) * self.dtype.itemsize

    def numbers(self, counts: Array) -> Array:
        return counts

    def split(self, values: Levels, counts: Array) -> tuple[Array, Array]:
        level = array(values.level).astype(np.int32)
        return octets(values.unit), (level << 1 ^ level >> 31).view(np.uint32)

    def join(self, plain: Array, x: Array, counts: Array) -> Levels:
        level = (x >> 1).astype(np.int32) ^ -(x & 1).astype(np.int32)
        unit = tensor(plain, self.dtype)
        if self.bucket and len(counts) and (counts == counts[0]).all():
            unit = unit.reshape(len(counts), -1)
        return Levels(torch.from_numpy(level.astype(np.int16)), unit, self.most, self.bucket)

    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        unit = tensor(plain, self.dtype)
        wrong = any_of_each(not_finite(unit) | (unit < 0).numpy(), self._units(counts))
        wrong |= any_of_each(x > 2 * self.most, counts)
        if not_finite(unit * self.most).any():  # it may overflow, so look closer
            real = self.join(plain, x, counts).real(torch.from_numpy(counts))
            wrong |= any_of_each(not_finite(real), counts)
        return wrong
