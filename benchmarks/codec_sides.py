"""Bytes of one message by our format, by its rivals and by the bound.

The format's public interface gives whole payloads, so index bytes are a difference. The same support is sent with
random signs, which no code can make shorter than k bits, and a scale: once as `Indices`, once as `Seeded`, whose
support is a key of eight bytes. All but the support is the same in both, so

    index bytes = |payload, Indices| - |payload, Seeded| + 8
    framing     = |payload, Seeded| - 8 - ceil(k / 8) - 4      head, lengths, checksum, what codes were chosen
    value bytes = |payload, Indices, the real values| - index bytes - framing

A length or a parameter that only a coded support needs counts as index bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.codec_messages import Message
from benchmarks.codec_rivals import Array, Rival
from benchmarks.codec_sizes import support_bits, tail_bits, value_bias, value_bits
from fl_ef21 import wire
from fl_ef21.messages import Compressed, Floats, Seeded, Signs

KEY, SCALE = 8, 4  # bytes
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RIVALED = 8  # clients of a message that rivals encode, one by one
Row = dict[str, Any]


@dataclass(frozen=True)
class Ours:
    """Mean bytes of a client's index, and of all but indices and values."""

    index: float
    framing: float


def mean(payloads: list[bytes]) -> float:
    return sum(map(len, payloads)) / len(payloads)


def ours(c: Compressed, layers: wire.Layers = ()) -> Ours:
    """What our format takes for c's support, whatever its values; with layers, empty rows and columns left out."""
    n, k = len(c), int(c.counts[0])
    rng = torch.Generator().manual_seed(0)
    signs = Signs(torch.rand(n * k, generator=rng) < 0.5, torch.ones(n))
    keys = Seeded(torch.randint(-(2**63), 2**63 - 1, (n,), generator=rng))
    seeded = mean(wire.encode(replace(c, values=signs, support=keys)))
    return Ours(
        mean(wire.encode(replace(c, values=signs), layers)) - seeded + KEY,
        seeded - KEY - -(-k // 8) - SCALE,
    )


def rounded(c: Compressed, dtype: str) -> Compressed:
    """c with values of this dtype."""
    assert isinstance(c.values, Floats)
    return replace(c, values=Floats(c.values.flat.to(DTYPES[dtype])))


def as_numpy(values: torch.Tensor) -> Array:
    """Floats, bfloat16 as uint16."""
    bfloat16 = values.dtype == torch.bfloat16
    return values.view(torch.int16).numpy().view(np.uint16) if bfloat16 else values.numpy()


def measure(message: Message, rivals: Mapping[str, Rival]) -> Row:
    """One row: of the support, and for both dtypes of the values. Bytes are means over clients."""
    c, d, k = message.c, message.c.dim, message.k
    mine, bound = ours(c), support_bits(d, k) / 8
    index = c.support.index(c.counts, d).reshape(len(c), k).numpy()[:RIVALED]
    return {
        "name": message.name, "d": d, "k": k, "clients": len(c), "framing": mine.framing,
        "index_bytes": {"bound": bound, "ours": mine.index}
        | {name: float(np.mean([r.indices(row, d) for row in index])) for name, r in rivals.items()},
        "layered_index_bytes": ours(c, wire.layers_of(message.shapes)).index if message.shapes else None,
        "values": {dtype: _values(message, dtype, mine, rivals, index) for dtype in DTYPES},
    }  # fmt: skip


def _values(message: Message, dtype: str, mine: Ours, rivals: Mapping[str, Rival], index: Array) -> Row:
    c, k = rounded(message.c, dtype), message.k
    whole = mean(wire.encode(c))
    numbers = as_numpy(c.values.flat).reshape(len(c), k)
    plain, bias = (float(np.mean([f(row) for row in numbers])) for f in (value_bits, value_bias))
    bits = plain if message.threshold is None else tail_bits(message.threshold, dtype == "bfloat16")
    found = {name: [r.numbers(row) for row in numbers[:RIVALED]] for name, r in rivals.items()}
    support = [[r.indices(row, c.dim) for row in index] for r in rivals.values()]
    return {
        "entropy": bits,
        "entropy_is": "plug-in" if message.threshold is None else "of the law",
        "plug_in_bias": bias,
        "value_bytes": {"bound": k * bits / 8, "ours": whole - mine.index - mine.framing}
        | {name: float(np.mean(sizes)) for name, sizes in found.items()},
        "bytes": {"bound": (support_bits(c.dim, k) + k * bits) / 8, "ours": whole}
        | {name: float(np.mean(v) + np.mean(s)) for (name, v), s in zip(found.items(), support, strict=True)},
    }
