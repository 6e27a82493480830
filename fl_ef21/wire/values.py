"""Values as bytes: which columns each kind has, and what a receiver finds wrong with them.

A form is what both sides know beforehand about the values of a message.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21.messages import Factors, Floats, Layout, Levels, Powers, Signs, Values
from fl_ef21.wire.bits import Array
from fl_ef21.wire.columns import Column

_NUMPY = {torch.float64: "<f8", torch.float32: "<f4", torch.bfloat16: "<i2", torch.float16: "<f2"}
_FLOATS = tuple(_NUMPY)  # in the order of their codes


class Form(ABC):
    """How one kind of values is written.

    Attributes:
      code: the low nibble of the kind byte.
      columns: in the order of the payload.
      parameters: bytes before them that are the same in every message.
    """

    @property
    def parameters(self) -> bytes:
        return b""

    @property
    @abstractmethod
    def code(self) -> int: ...

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]: ...

    @abstractmethod
    def split(self, values: Any) -> tuple[Array, ...]:
        """The columns of these values: (n, each), or (nnz,) flat."""

    @abstractmethod
    def join(self, columns: Sequence[Array]) -> Values:
        """The values that have these columns."""

    @abstractmethod
    def faults(self, columns: Sequence[Array]) -> Array:
        """(m,) whether a row of the columns (m, count) says what is not finite or what no sender may say."""


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
            return LevelForm(unit.dtype, most, bucket, unit.shape[1] if bucket else 1)
    raise TypeError(f"the wire format has no code for {type(values).__name__}")


def _array(t: Tensor) -> Array:
    t = t.detach().cpu().contiguous()
    return t.view(torch.int16).numpy() if t.dtype == torch.bfloat16 else t.numpy()


def _tensor(a: Array, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(a)).view(dtype)


def _code(first: int, dtype: torch.dtype) -> int:
    return first + _FLOATS.index(dtype)


def _floats(dtype: torch.dtype, each: int | None = None) -> Column:
    return Column(_NUMPY[dtype], 8 * dtype.itemsize, each)


def _not_finite(t: Tensor) -> Array:
    """(m,) whether a row of (m, ...) holds a NaN or an infinity."""
    return _array(~torch.isfinite(t).flatten(1).all(dim=1))


@dataclass(frozen=True)
class FloatForm(Form):
    """Floats of this dtype."""

    dtype: torch.dtype

    @property
    def code(self) -> int:
        return _code(0, self.dtype)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (_floats(self.dtype),)

    def split(self, values: Floats) -> tuple[Array, ...]:
        return (_array(values.flat),)

    def join(self, columns: Sequence[Array]) -> Floats:
        return Floats(_tensor(columns[0], self.dtype))

    def faults(self, columns: Sequence[Array]) -> Array:
        return _not_finite(_tensor(columns[0], self.dtype))


@dataclass(frozen=True)
class FactorForm(Form):
    """Factors of this dtype; the layout says how many and is not sent."""

    dtype: torch.dtype
    layout: Layout

    @property
    def code(self) -> int:
        return _code(4, self.dtype)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (_floats(self.dtype, self.layout.width),)

    def split(self, values: Factors) -> tuple[Array, ...]:
        return (_array(values.flat),)

    def join(self, columns: Sequence[Array]) -> Factors:
        return Factors(_tensor(columns[0], self.dtype), self.layout)

    def faults(self, columns: Sequence[Array]) -> Array:
        flat = _tensor(columns[0], self.dtype)
        return _not_finite(flat) | _not_finite(self.layout.rebuild(flat))


@dataclass(frozen=True)
class SignForm(Form):
    """Signs whose scale, of this dtype, comes first."""

    dtype: torch.dtype

    @property
    def code(self) -> int:
        return _code(8, self.dtype)

    @property
    def columns(self) -> tuple[Column, ...]:
        return _floats(self.dtype, 1), Column("bool", 1)

    def split(self, values: Signs) -> tuple[Array, ...]:
        return _array(values.scale).reshape(-1, 1), _array(values.negative)

    def join(self, columns: Sequence[Array]) -> Signs:
        return Signs(_tensor(columns[1], torch.bool), _tensor(columns[0].reshape(-1), self.dtype))

    def faults(self, columns: Sequence[Array]) -> Array:
        scale = _tensor(columns[0], self.dtype)
        return _not_finite(scale) | _array((scale < 0).reshape(-1))


@dataclass(frozen=True)
class PowerForm(Form):
    """Powers of two, rebuilt in this dtype."""

    dtype: torch.dtype
    scale: float

    @property
    def code(self) -> int:
        return _code(10, self.dtype)

    @property
    def parameters(self) -> bytes:
        return struct.pack("<d", self.scale)

    @property
    def columns(self) -> tuple[Column, ...]:
        return Column("bool", 1), Column("int8", 8, blank=-128)

    def split(self, values: Powers) -> tuple[Array, ...]:
        return _array(values.negative), _array(values.exponent)

    def join(self, columns: Sequence[Array]) -> Powers:
        return Powers(_tensor(columns[0], torch.bool), _tensor(columns[1], torch.int8), self.scale, self.dtype)

    def faults(self, columns: Sequence[Array]) -> Array:
        largest = columns[1].max(axis=1, initial=-128)
        counts = torch.ones(len(largest), dtype=torch.int64)
        return _not_finite(self.join((np.zeros(len(largest), dtype=bool), largest)).real(counts)[:, None])


@dataclass(frozen=True)
class LevelForm(Form):
    """Levels -most .. most, written as 0 .. 2 most, after their units of this dtype: one, or one a bucket."""

    dtype: torch.dtype
    most: int
    bucket: int
    units: int

    @property
    def code(self) -> int:
        return _code(12, self.dtype)

    @property
    def parameters(self) -> bytes:
        return struct.pack("<HI", self.most, self.bucket)

    @property
    def columns(self) -> tuple[Column, ...]:
        return _floats(self.dtype, self.units), Column("<u2", (2 * self.most).bit_length(), blank=self.most)

    def split(self, values: Levels) -> tuple[Array, ...]:
        unit, raised = _array(values.unit), _array(values.level).astype(np.int32) + self.most
        return unit if self.bucket else unit.reshape(-1, 1), raised.astype("<u2")

    def join(self, columns: Sequence[Array]) -> Levels:
        unit = _tensor(columns[0] if self.bucket else columns[0].reshape(-1), self.dtype)
        level = (columns[1].astype(np.int32) - self.most).astype(np.int16)
        return Levels(_tensor(level.reshape(-1), torch.int16), unit, self.most, self.bucket)

    def faults(self, columns: Sequence[Array]) -> Array:
        unit, (m, k) = _tensor(columns[0], self.dtype), columns[1].shape
        overflow = _not_finite(unit * self.most)
        if overflow.any():  # it may, so look closer
            real = self.join(columns).real(torch.full((m,), k))
            overflow = _not_finite(unit) | _not_finite(real.reshape(m, k))
        return overflow | _array((unit < 0).any(dim=1)) | (columns[1] > 2 * self.most).any(axis=1)
