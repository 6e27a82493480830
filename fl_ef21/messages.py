"""What a compressor returns: for each of n clients, which coordinates it sends and what it says of them.

A message is a support and values. Both are stored flat, client after client, so that clients may
send different numbers of entries and one call handles a whole tile. The numbers held here are
exactly those a decoder will see: rounding a value is part of the compressor, never of the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21 import randomness


class Support(Protocol):
    """Which coordinates are sent."""

    def index(self, counts: Tensor, dim: int) -> Tensor | None:
        """(nnz,) int64, increasing within each client; None where every coordinate is sent in order."""
        ...


@dataclass(frozen=True)
class All:
    """Every coordinate, so nothing about the support is sent."""

    def index(self, counts: Tensor, dim: int) -> None:
        return None


@dataclass(frozen=True)
class Indices:
    """Explicit coordinates: flat (nnz,) int64, strictly increasing within each client."""

    flat: Tensor

    def index(self, counts: Tensor, dim: int) -> Tensor:
        return self.flat


@dataclass(frozen=True)
class Seeded:
    """A pseudo-random subset: only its key is sent. keys (n,) int64."""

    keys: Tensor

    def index(self, counts: Tensor, dim: int) -> Tensor:
        distinct = torch.unique(counts).tolist()
        if len(distinct) < 2:
            return subset_rows(self.keys, dim, distinct[0] if distinct else 0).reshape(-1)
        flat = torch.empty(int(counts.sum()), dtype=torch.int64, device=self.keys.device)
        for k in distinct:
            mine = (counts == k).nonzero()[:, 0]
            flat[entries(counts, mine)] = subset_rows(self.keys[mine], dim, k).reshape(-1)
        return flat


def subset_rows(keys: Tensor, dim: int, k: int) -> Tensor:
    """The wire format's subset generator: (n, k) int64, increasing, of 0 .. dim - 1, without repetition.

    The k coordinates whose SplitMix64 words, as signed integers, are the smallest. No two words of a key
    are equal: SplitMix64 maps distinct counters to distinct words.
    """
    words = randomness.words(keys, dim)
    return torch.topk(words, k, dim=1, largest=False, sorted=False).indices.sort(dim=1).values


def entries(counts: Tensor, rows: Tensor) -> Tensor:
    """Where the entries of some rows lie, row after row, among those of all."""
    mine = counts[rows]
    ends = mine.cumsum(0)
    into = torch.arange(int(mine.sum()), device=counts.device) - (ends - mine).repeat_interleave(mine)
    return (counts.cumsum(0) - counts)[rows].repeat_interleave(mine) + into


def _spread(x: Tensor, counts: Tensor) -> Tensor:
    """x (n,) with x[i] counts[i] times: `repeat_interleave`, faster where all counts are equal."""
    if len(counts) and bool((counts == counts[0]).all()):
        return x[:, None].expand(-1, int(counts[0])).reshape(-1)
    return x.repeat_interleave(counts)


def _signed(size: Tensor, negative: Tensor) -> Tensor:
    """-size where negative, else size. A product, because torch.where is six times slower."""
    return size * (1 - 2 * negative.to(size.dtype))


class Values(Protocol):
    """What is said of the sent coordinates."""

    def real(self, counts: Tensor) -> Tensor:
        """(nnz,) real numbers, client after client."""
        ...


@dataclass(frozen=True)
class Floats:
    """Numbers as they are: flat (nnz,), of dtype float64, float32, bfloat16 or float16."""

    flat: Tensor

    def real(self, counts: Tensor) -> Tensor:
        return self.flat if self.flat.dtype == torch.float64 else self.flat.to(torch.float32)


@dataclass(frozen=True)
class Signs:
    """+scale or -scale: negative flat (nnz,) bool; scale (n,), float32 or float64."""

    negative: Tensor
    scale: Tensor

    def real(self, counts: Tensor) -> Tensor:
        return _signed(_spread(self.scale, counts), self.negative)


@dataclass(frozen=True)
class Powers:
    """0 or +-scale 2^exponent: negative flat (nnz,) bool; exponent flat (nnz,) int8, -128 for zero.

    `scale` is common to all clients and known to both sides (1/(1 + omega) for natural compression).
    """

    negative: Tensor
    exponent: Tensor
    scale: float
    dtype: torch.dtype

    def real(self, counts: Tensor) -> Tensor:
        sizes = [0.0, *(2.0**e for e in range(-127, 128))]  # exact, as torch.ldexp need not be
        table = torch.tensor(sizes, dtype=self.dtype, device=self.exponent.device) * self.scale
        return _signed(table.index_select(0, self.exponent.to(torch.int32) + 128), self.negative)


@dataclass(frozen=True)
class Levels:
    """unit x level: level flat (nnz,) int16; unit float32 or float64; |level| <= most.

    With bucket = 0 a client has one unit, (n,). Otherwise each `bucket` of its entries (the last ones may be fewer)
    share one of its ceil(count / bucket) units, which lie flat, client after client; where all clients have as many,
    in rows (n, m) as well.
    """

    level: Tensor
    unit: Tensor
    most: int
    bucket: int = 0

    def real(self, counts: Tensor) -> Tensor:
        if self.bucket == 0:
            return self.level.to(self.unit.dtype) * _spread(self.unit, counts)
        return self.level.to(self.unit.dtype) * self._unit_of_each(counts)

    def _unit_of_each(self, counts: Tensor) -> Tensor:
        if len(counts) and bool((counts == counts[0]).all()):
            rows = self.unit.reshape(len(counts), -1).repeat_interleave(self.bucket, dim=1)
            return rows[:, : int(counts[0])].reshape(-1)
        units, some = self.units(counts), counts > 0
        sizes = torch.full((int(units.sum()),), self.bucket, device=counts.device)
        sizes[units.cumsum(0)[some] - 1] = counts[some] - (units[some] - 1) * self.bucket
        return self.unit.reshape(-1).repeat_interleave(sizes)

    def units(self, counts: Tensor) -> Tensor:
        """(n,): how many units each client has."""
        return -(-counts // self.bucket) if self.bucket else torch.ones_like(counts)


@dataclass(frozen=True)
class Factors:
    """Low-rank layers, for support All: flat (n, m) floats that `layout` turns into (n, d)."""

    flat: Tensor
    layout: Layout

    def real(self, counts: Tensor) -> Tensor:
        return self.layout.rebuild(self.flat).reshape(-1)


class Layout(Protocol):
    """How the factors of a low-rank message lie, known to both sides."""

    @property
    def width(self) -> int:
        """m, the number of floats a client sends."""
        ...

    def rebuild(self, flat: Tensor) -> Tensor:
        """(n, d) from (n, m), row by row with the same operations for every n."""
        ...


@dataclass(frozen=True)
class Compressed:
    """Messages of n clients about vectors in R^dim. counts (n,) int64: entries each client sends."""

    dim: int
    counts: Tensor
    support: Support
    values: Values

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self) -> Tensor:
        """(nnz,) int64: the row each entry belongs to."""
        return torch.arange(len(self), device=self.counts.device).repeat_interleave(self.counts)

    def places(self) -> Tensor:
        """(nnz,) int64: where each entry lies in (n, dim) numbers, row after row."""
        at = self._flat_index()
        return torch.arange(len(self) * self.dim, device=self.counts.device) if at is None else at

    def _flat_index(self) -> Tensor | None:
        index = self.support.index(self.counts, self.dim)
        return None if index is None else self.rows() * self.dim + index

    def dense(self) -> Tensor:
        """The vectors a decoder sees, (n, dim)."""
        value, at = self.values.real(self.counts), self._flat_index()
        if at is None:
            return value.reshape(len(self), self.dim)
        out = torch.zeros(len(self) * self.dim, dtype=value.dtype, device=value.device)
        return out.index_copy_(0, at, value).reshape(len(self), self.dim)

    def __rmul__(self, a: float) -> Compressed:
        """`a * c`: the same coordinates, with floats that are a times the values."""
        return replace(self, values=Floats((a * self.values.real(self.counts)).reshape(-1)))

    def __radd__(self, u: Tensor) -> Tensor:
        """`u + c`, a new (n, dim) tensor of u's dtype."""
        return self._added(u, 1)

    def __rsub__(self, u: Tensor) -> Tensor:
        """`u - c`, a new (n, dim) tensor of u's dtype."""
        return self._added(u, -1)

    def _added(self, u: Tensor, times: int) -> Tensor:
        at = self._flat_index()
        if at is None:
            return torch.add(u, self.dense().to(u.dtype), alpha=times)
        out = u.clone(memory_format=torch.contiguous_format)
        out.view(-1).index_add_(0, at, self.values.real(self.counts).to(u.dtype), alpha=times)
        return out

    def total(self, weights: Tensor) -> Tensor:
        """sum_i weights[i] c_i in float64, (dim,), added in row order. weights (n,) float64."""
        value = self.values.real(self.counts).to(torch.float64)
        index = self.support.index(self.counts, self.dim)
        if index is None:
            return (value.reshape(len(self), self.dim) * weights[:, None]).sum(dim=0)
        weighted = value * weights.repeat_interleave(self.counts)
        total = torch.bincount(index, weights=weighted, minlength=self.dim)
        return total.to(torch.float64)  # of nothing, torch counts in integers


def whole(u: Tensor) -> Compressed:
    """u (n, d) sent as it is."""
    counts = torch.full((len(u),), u.shape[1], dtype=torch.int64, device=u.device)
    return Compressed(u.shape[1], counts, All(), Floats(u.reshape(-1)))
