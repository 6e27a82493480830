"""Messages of every kind, and payloads that are changed on purpose, for tests of the wire format."""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
import pytest
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Factors, Floats, Indices, Levels, Powers, Seeded, Signs

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SUPPORTS = ["all", "indices", "seeded"]
VALUES = [
    *(f"floats {i}" for i in range(4)),
    "signs 0",
    "signs 1",
    "powers 0",
    "powers 1",
    "levels 0",
    "levels 1",
]
KINDS = [(s, v) for s in SUPPORTS for v in VALUES]
KINDS += [("all", f"factors {i}") for i in range(4)]
KINDS += [("all", "buckets 1"), ("seeded", "buckets 0"), ("indices", "buckets 1")]


@dataclass(frozen=True)
class Doubled:
    """A layout: every number twice."""

    width: int

    def rebuild(self, flat: Tensor) -> Tensor:
        return (flat * 0.5).repeat(1, 2).to(torch.float64 if flat.dtype == torch.float64 else torch.float32)


def message(support: str, values: str, d: int, counts: list[int], seed: int = 0) -> Compressed:
    """Random messages of one kind; `counts` matter for indices, and their first for a subset."""
    rng = torch.Generator().manual_seed(seed)
    n = len(counts)
    counts = {"all": [d] * n, "indices": counts, "seeded": counts[:1] * n}[support]
    chosen: All | Indices | Seeded = All()
    if support == "indices":
        rows = [torch.randperm(d, generator=rng)[:k].sort().values for k in counts]
        chosen = Indices(torch.cat(rows))
    elif support == "seeded":
        chosen = Seeded(torch.randint(-(2**63), 2**63 - 1, (n,), generator=rng))
    return Compressed(d, torch.tensor(counts), chosen, some_values(values, d, counts, rng))


def some_values(values: str, d: int, counts: list[int], rng: torch.Generator):
    n, nnz = len(counts), sum(counts)
    name, i = values.split()
    dtype = FLOATS[int(i)]
    negative = torch.rand(nnz, generator=rng) < 0.5
    match name:
        case "floats":
            return Floats(torch.randn(nnz, generator=rng, dtype=torch.float64).to(dtype))
        case "factors":
            return Factors(torch.randn(n, d // 2, generator=rng).to(dtype), Doubled(d // 2))
        case "signs":
            return Signs(negative, torch.rand(n, generator=rng, dtype=dtype))
        case "powers":
            exponent = torch.randint(-128, 127, (nnz,), generator=rng).to(torch.int8)
            return Powers(negative, exponent, 8 / 9, dtype)
    most = int(torch.randint(1, 40, (), generator=rng)) * 800 + 5
    level = torch.randint(-most, most + 1, (nnz,), generator=rng).to(torch.int16)
    if name == "levels":
        return Levels(level, torch.rand(n, generator=rng, dtype=dtype), most)
    units = torch.rand(sum(-(-k // 3) for k in counts), generator=rng, dtype=dtype)
    return Levels(level, units.reshape(n, -1) if len(set(counts)) == 1 else units, most, bucket=3)


def bits(t: Tensor) -> Tensor:
    word = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[t.dtype.itemsize]
    return t.view(word)


def same(a: Compressed, b: Compressed) -> bool:
    """Bit for bit, the sign of a zero included."""
    if (a.dim, type(a.support), type(a.values)) != (b.dim, type(b.support), type(b.values)):
        return False
    pairs = [(a.counts, b.counts), (a.values.real(a.counts), b.values.real(b.counts)), (a.dense(), b.dense())]
    for part in ("support", "values"):
        mine, theirs = vars(getattr(a, part)), vars(getattr(b, part))
        for field in mine:
            if isinstance(mine[field], Tensor):
                pairs.append((mine[field], theirs[field]))
            elif mine[field] != theirs[field]:
                return False
    return all(x.dtype == y.dtype and x.shape == y.shape and torch.equal(bits(x), bits(y)) for x, y in pairs)


def sealed(body: bytes) -> bytes:
    return body + google_crc32c.value(body).to_bytes(4, "little")


def reason(payload: bytes, spec: wire.Spec) -> str:
    with pytest.raises(Refused) as refused:
        wire.check(payload, spec)
    return refused.value.reason


def spliced(payload: bytes, at: int, new: bytes) -> bytes:
    """`payload` with `new` written at this offset, the checksum made right again."""
    body = bytearray(payload[:-4])
    body[at : at + len(new)] = new
    assert len(body) == len(payload) - 4
    return sealed(bytes(body))
