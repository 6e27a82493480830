"""What a compressor costs and keeps, measured beside what it claims, at several lengths."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fl_ef21 import wire
from fl_ef21.checking.claims import draws, lost
from fl_ef21.checking.tiles import KINDS, draw, keys, shapes
from fl_ef21.compressors.short import named
from fl_ef21.errors import InputError
from fl_ef21.threads import computing_with
from fl_ef21.types import Compressor

DIMS = (1_000, 7_850, 100_000, 1_000_000)  # 7 850: the logistic model of MNIST
DRAWS = 200  # of one vector, for means
ROWS = 8
LARGE = 100_000  # from here on a row a time is enough


@dataclass(frozen=True)
class Row:
    """At one length d.

    Attributes:
      alpha, omega: claimed, None where nothing is.
      kept: 1 - E|C(u) - u|^2 / |u|^2 of a normal vector; worst: of the kind of vector that keeps least, None
        of a random one where d is too large for many draws.
      bits: a coordinate, as papers count; None where u decides. sent: bits a coordinate of the real payloads.
      compress, encode: milliseconds for a MB of float32, on one core.
    """

    dim: int
    alpha: float | None
    kept: float
    worst: float | None
    omega: float | None
    bits: float | None
    sent: float
    compress: float
    encode: float


def card(word: str, dims: tuple[int, ...] = DIMS) -> list[Row]:
    """A row for each length that the compressor of this word can be built for. Raises: InputError if there is none."""
    rows, last = list[Row](), None
    for dim in dims:
        try:
            rows.append(row(named(word, dim=dim, shapes=shapes(dim)), dim))
        except InputError as error:
            last = error
    if not rows and last is not None:
        raise last
    return rows


def row(C: Compressor, dim: int) -> Row:
    """Measured on one core, in float32."""
    with computing_with(1):
        random = draws(C, dim)
        times = DRAWS if random and dim < LARGE else 1
        kept = {kind: 1 - _lost(C, kind(3, 1, dim).float(), times) for kind in KINDS}
        worst = None if random and dim >= LARGE else min(kept.values())
        u = draw(7, 1 if dim >= LARGE else ROWS, dim).float()
        k, megabytes = keys(len(u)), u.nbytes / 1e6
        c = C(u, k)
        sent = sum(len(payload) for payload in wire.encode(c)) * 8 / u.numel()
        return Row(
            dim, C.alpha(dim), kept[draw], worst, C.omega(dim),
            None if C.bits(dim) is None else float(C.bits(dim) or 0) / dim, sent,
            _milliseconds(lambda: C(u, k)) / megabytes, _milliseconds(lambda: wire.encode(c)) / megabytes,
        )  # fmt: skip


def _lost(C: Compressor, u: Tensor, times: int) -> float:
    u = u.expand(times, -1)
    return float(lost(C(u, keys(times)), u).mean())


def _milliseconds(work: Callable[[], object], least: float = 0.05) -> float:
    """Of one call, the quickest of those that fit into `least` seconds; at least three."""
    best, spent, calls = float("inf"), 0.0, 0
    while calls < 3 or spent < least:
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        best, spent, calls = min(best, took), spent + took, calls + 1
    return 1e3 * best
