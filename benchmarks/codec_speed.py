"""How fast our format encodes and decodes on one core, beside pcodec alone and memcpy in the same process.

Times are the least of some repeats. pcodec encodes and decodes gaps and numbers one client after another, without
head, checksum or any check; the cumulative sums that make indices of gaps are counted. memcpy copies what a decoder
must at least write: an int64 and a bfloat16 for each entry; for a sum, it reads them too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.codec_messages import Message, many, uniform
from benchmarks.codec_rivals import Array, gaps, pcodec, rivals, unpcodec
from benchmarks.codec_sides import Row, as_numpy, rounded
from fl_ef21 import wire
from fl_ef21.messages import Compressed, Floats

LARGE = [(10**6, 100_000), (10**7, 100_000), (10**7, 1_000_000)]
ROUND = (7850, 78, 1000)  # d, k, clients
SERVER = (10**6, 10_000, 1000)
ENTRY = 8 + 2  # bytes in memory


def least(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest call, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def decode_and_sum(payloads: Sequence[bytes], spec: wire.Spec, weights: torch.Tensor) -> torch.Tensor:
    """sum_i w_i c_i, (d,) float64, of payloads of which none may be refused."""
    total, refused = wire.total(payloads, spec, weights)
    if refused:
        raise RuntimeError(f"our own payload was refused: {next(iter(refused.values()))}")
    return total


class Alone:
    """A message by pcodec, with nothing around it."""

    def __init__(self, c: Compressed) -> None:
        assert isinstance(c.values, Floats)
        k = int(c.counts[0])
        self.dim, self.index = c.dim, c.support.index(c.counts, c.dim).reshape(-1, k).numpy()
        self.numbers = as_numpy(c.values.flat).reshape(-1, k)
        self.streams = list[tuple[bytes, bytes, Any]]()

    def encode(self) -> None:
        self.streams = []
        for index, numbers in zip(self.index, self.numbers, strict=True):
            skipped = gaps(index)
            self.streams.append((pcodec(skipped), pcodec(numbers), skipped.dtype))

    def decode(self) -> tuple[list[Array], list[Array]]:
        k = self.index.shape[1]
        skipped = [unpcodec(stream, k, dtype) for stream, _, dtype in self.streams]
        steps = np.arange(k)
        index = [np.cumsum(row, dtype=np.int64) + steps for row in skipped]
        return index, [unpcodec(stream, k, np.uint16) for _, stream, _ in self.streams]

    def sum(self) -> Array:
        index, numbers = self.decode()
        real = torch.from_numpy(np.concatenate(numbers).view(np.int16)).view(torch.bfloat16).double().numpy()
        return np.bincount(np.concatenate(index), weights=real, minlength=self.dim)


def copied(entries: int, repeats: int) -> float:
    """Seconds to copy so many entries."""
    source = np.ones(entries * ENTRY, dtype=np.uint8)
    target = np.empty_like(source)
    return least(lambda: np.copyto(target, source), repeats)


def timed(message: Message, summed: bool, repeats: int, alone: bool = True) -> Row:
    """Seconds to encode and to decode (or to decode and sum) a message in bfloat16: ours, pcodec's and memcpy's."""
    c = rounded(message.c, "bfloat16")
    spec, weights = wire.Spec.of(c), torch.ones(len(c), dtype=torch.float64)
    payloads = wire.encode(c)
    encode = {"ours": least(lambda: wire.encode(c), repeats)}
    if summed:
        decode = {"ours": least(lambda: decode_and_sum(payloads, spec, weights), repeats)}
    else:
        decode = {"ours": least(lambda: wire.decode(payloads, spec), repeats)}
    if alone:
        rival = Alone(c)
        encode["pcodec"] = least(rival.encode, repeats)
        decode["pcodec"] = least(rival.sum if summed else rival.decode, repeats)
    entries = message.k * len(c)
    encode["memcpy"] = decode["memcpy"] = copied(entries, repeats)
    return {"name": message.name, "d": c.dim, "k": message.k, "clients": len(c), "entries": entries, "summed": summed,
            "encode_s": encode, "decode_s": decode}  # fmt: skip


def speeds(quick: bool) -> list[Row]:
    """The large messages, a round of small ones, and a server's round of large ones. One thread."""
    alone = "pcodec" in rivals()[0]
    rows = [timed(uniform(d, k, clients=1), False, 15, alone) for d, k in LARGE[: 1 if quick else None]]
    rows.append(timed(many(*ROUND), True, 10, alone))
    if not quick:
        rows.append(timed(many(*SERVER), True, 3, alone))
    return rows
