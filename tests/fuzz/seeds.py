"""One round of every sort that the encoder can make, to be spoilt.

A sort is a support, values, a shape (how many coordinates, how many of them are sent, and how they lie) and
a pattern of the numbers: an encoder that chooses its codes has a reason to choose each of them somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Generator, Tensor

from fl_ef21 import wire
from fl_ef21.messages import All, Compressed, Factors, Floats, Indices, Levels, Powers, Seeded, Signs, Support, Values

F64, F32, BF16, F16 = torch.float64, torch.float32, torch.bfloat16, torch.float16
CLIENTS = 4
PATTERNS = ("normal", "constant", "zeros", "negative zeros", "few", "one large")
VALUES = (
    "floats float64", "floats float32", "floats bfloat16", "floats float16", "signs float32", "signs float64",
    "powers float32", "powers float64", "levels float32", "levels float64", "wide levels float32",
)  # fmt: skip
WHOLE = ("factors float64", "factors float32", "factors bfloat16", "factors float16", "buckets float32")


@dataclass(frozen=True)
class Shape:
    """How many of d coordinates a client sends, at most, and how they lie: spread, clustered, regular or first."""

    dim: int
    most: int
    lie: str = "spread"


SHAPES = {
    "tiny": Shape(3, 3),
    "small": Shape(40, 30),
    "nothing": Shape(40, 0),
    "one": Shape(70_000, 1),
    "logistic": Shape(7850, 78),
    "sparse": Shape(100_000, 500),
    "clustered": Shape(20_000, 800, "clustered"),
    "regular": Shape(30_000, 600, "regular"),
    "first": Shape(5_000, 400, "first"),
    "dense": Shape(900, 700),
    "everything": Shape(300, 300),
    "many": Shape(20_000, 4_000),
    "huge": Shape(2**32 - 1, 40),
}


@dataclass(frozen=True)
class Sort:
    """A round of one sort: its name, what a receiver expects of it, and the payloads."""

    name: str
    spec: wire.Spec
    payloads: tuple[bytes, ...]

    @property
    def entries(self) -> int:
        """The most entries that a payload may have."""
        return min(self.spec.most, 1_000)


@dataclass(frozen=True)
class Twice:
    """A layout: every number twice."""

    width: int

    def rebuild(self, flat: Tensor) -> Tensor:
        return (flat * 0.5).repeat(1, 2).to(F64 if flat.dtype == F64 else F32)


def numbers(pattern: str, size: int, rng: Generator) -> Tensor:
    """(size,) float64."""
    x = torch.randn(size, generator=rng, dtype=F64)
    match pattern:
        case "constant":
            return torch.full_like(x, 0.75)
        case "zeros":
            return torch.zeros_like(x)
        case "negative zeros":
            return torch.where(x < 0, -0.0, 0.0)
        case "few":
            return x.sign() * torch.randint(1, 4, (size,), generator=rng)
        case "one large":
            x[: size // 20 + 1] *= 1e4
    return x


def values(kind: str, pattern: str, counts: list[int], rng: Generator) -> Values:
    """Values of one kind for clients that send so many each."""
    name, _, word = kind.rpartition(" ")
    dtype: torch.dtype = getattr(torch, word)
    x = numbers(pattern, sum(counts), rng)
    n, real = len(counts), F64 if dtype == F64 else F32
    negative, scale = x.signbit(), torch.rand(n, generator=rng, dtype=F64).to(real)
    match name:
        case "floats":
            return Floats(x.to(dtype))
        case "factors":
            return Factors(x.to(dtype)[: n * (counts[0] // 2)].reshape(n, -1), Twice(counts[0] // 2))
        case "signs":
            return Signs(negative, scale)
        case "powers":
            exponent = torch.where(x == 0, -128.0, x.abs().log2().round().clamp(-20, 20)).to(torch.int8)
            return Powers(negative, exponent, 8 / 9, dtype)
    most = 30_000 if name == "wide levels" else 7
    level = (x * most / 3).round().clamp(-most, most).to(torch.int16)
    if name == "buckets":
        return Levels(level, torch.rand(n, -(-counts[0] // 16), generator=rng, dtype=F64).to(real), most, bucket=16)
    return Levels(level, scale, most)


def indices(shape: Shape, counts: list[int], rng: Generator) -> Tensor:
    """(nnz,) int64, increasing within each client."""

    def row(k: int) -> Tensor:
        if shape.lie == "first":
            return torch.arange(k)
        if shape.lie == "regular":
            return torch.arange(k) * (shape.dim // max(1, shape.most))
        within = 4 * shape.most if shape.lie == "clustered" else shape.dim
        if within > 1 << 20:  # too many to permute; repetitions, which are unlikely, are sorted out
            return torch.randint(0, within, (2 * k,), generator=rng).unique()[:k]
        at = torch.randperm(within, generator=rng)[:k].sort().values
        return at + (at // shape.most) * (shape.dim // 8) if shape.lie == "clustered" else at

    return torch.cat([row(k) for k in counts])


def message(support: str, kind: str, shape: Shape, pattern: str = "normal", seed: int = 0) -> Compressed:
    """A round of `CLIENTS` messages of one sort."""
    rng = Generator().manual_seed(seed)
    k = shape.most
    counts = [k, k // 2, k, max(0, k - 1)] if support == "indices" else [k] * CLIENTS
    chosen: Support = All()
    if support == "indices":
        chosen = Indices(indices(shape, counts, rng))
    elif support == "seeded":
        chosen = Seeded(torch.randint(-(2**63), 2**63 - 1, (CLIENTS,), generator=rng))
    return Compressed(shape.dim, torch.tensor(counts), chosen, values(kind, pattern, counts, rng))


def _messages() -> Iterator[tuple[str, Compressed]]:
    for shape in SHAPES:
        for kind in VALUES if shape in ("small", "logistic") else ("floats bfloat16", "signs float32"):
            yield f"indices, {kind}, {shape}", message("indices", kind, SHAPES[shape])
    for kind in VALUES:
        yield f"seeded, {kind}", message("seeded", kind, SHAPES["small"])
    yield "seeded, buckets float32", message("seeded", "buckets float32", SHAPES["small"])
    for kind in (*VALUES, *WHOLE):
        for k in (40, 1500):
            yield f"all, {kind}, {k}", message("all", kind, Shape(k, k))
    for pattern in PATTERNS[1:]:
        for kind in ("floats float64", "floats float32", "floats bfloat16", "powers float32", "levels float32"):
            for support, size in (("indices", Shape(7850, 300)), ("all", Shape(600, 600))):
                yield f"{support}, {kind}, {pattern}", message(support, kind, size, pattern)


def _layered() -> Iterator[Sort]:
    """Supports in few rows and columns of matrices, for a receiver that knows the matrices."""
    layers = ((40, 50), (1, 50))
    for step in (1, 3):
        index = [50 * row + column for row in range(0, 40, step) for column in range(10, 17)] + [2049]
        values = Floats(torch.linspace(1, 2, len(index)).bfloat16())
        c = Compressed(2050, torch.tensor([len(index)]), Indices(torch.tensor(index)), values)
        yield Sort(f"indices, layers, {step}", replace(wire.Spec.of(c), layers=layers), tuple(wire.encode(c, layers)))


@cache
def sorts() -> tuple[Sort, ...]:
    """All of them. The last ones are for a receiver that takes any number of entries, which a lie may abuse."""
    made = [Sort(name, wire.Spec.of(c), tuple(wire.encode(c))) for name, c in _messages()]
    for kind in ("floats float64", "floats bfloat16", "signs float32"):
        c = message("indices", kind, SHAPES["huge"])
        spec = replace(wire.Spec.of(c), most=c.dim)
        made.append(Sort(f"indices, {kind}, any number of them", spec, tuple(wire.encode(c))))
    return (*made, *_layered())
