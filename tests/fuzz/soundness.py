"""What must hold of whatever a decoder accepts, and what it may allocate."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Factors

T = TypeVar("T")
WIDE = 10**6  # coordinates, beyond which nothing is summed here


def unsound(c: Compressed, spec: wire.Spec, refused: dict[int, Refused], n: int) -> str | None:
    """What is wrong with the messages decoded from n payloads; None where they are what `spec` allows."""
    if len(c) != n or c.dim != spec.dim or not set(refused) <= set(range(n)):
        return f"{len(c)} rows of dim {c.dim} and refusals of {sorted(refused)} for {n} payloads"
    counts, whole = c.counts, isinstance(c.support, All)
    if bool((counts < 0).any()) or bool((counts > (c.dim if whole else spec.most)).any()):
        return f"counts {counts.tolist()}"
    real = c.values.real(counts)
    if len(real) != int(counts.sum()):
        return f"{len(real)} values for {int(counts.sum())} entries"
    if not bool(real.isfinite().all()):
        return "values that are not finite"
    index, rows = c.support.index(counts, c.dim), c.rows()
    if index is not None:
        if len(index) != len(real) or bool(((index < 0) | (index >= c.dim)).any()):
            return "indices out of range"
        if not bool(((index[1:] > index[:-1]) | (rows[1:] != rows[:-1])).all()):
            return "indices that do not increase"
    if refused and bool(real[_among(list(refused), c)].any()):
        return "a refused row that is not zero"
    return None


def unequal(c: Compressed, spec: wire.Spec, accepted: Sequence[int]) -> str | None:
    """What is lost where accepted messages are sent on; None where they come back bit for bit."""
    again, refused = wire.decode(wire.encode(c), spec)
    if lost := sorted(set(accepted) & set(refused)):
        return f"row {lost[0]} was accepted, and is refused ({refused[lost[0]]}) when it is encoded again"
    if not _of(accepted, c).equal(_of(accepted, again)):
        return "values or indices that change when they are encoded again"
    return None


def summed_otherwise(
    payloads: Sequence[bytes], spec: wire.Spec, c: Compressed, refused: dict[int, Refused]
) -> str | None:
    """Where decoding and summing at once differs from decoding, then summing; None where it does not."""
    if spec.dim > WIDE:
        return None
    weights = torch.linspace(0.5, 1.5, len(payloads), dtype=torch.float64)
    got, alike = wire.total(payloads, spec, weights)
    if {row: r.reason for row, r in alike.items()} != {row: r.reason for row, r in refused.items()}:
        return f"total refuses {alike}, decode {refused}"
    want, rows, index = c.total(weights), c.rows(), c.support.index(c.counts, c.dim)
    at = torch.arange(c.dim).repeat(len(c)) if index is None else index
    size = torch.zeros(c.dim, dtype=torch.float64)  # sum_i weights[i] |c_i|, which bounds the rounding
    size.index_add_(0, at, c.values.real(c.counts).double().abs() * weights[rows])
    if bool(((got - want).abs() > 1e-12 * size)[size.isfinite()].any()):
        return f"total differs from the sum of what is decoded by {float((got - want).abs().max())}"
    return None


def _of(rows: Sequence[int], c: Compressed) -> torch.Tensor:
    """These rows' counts, indices and the bits of their values, one after another."""
    mine = _among(rows, c)
    real = c.values.real(c.counts)
    word = real.view(torch.int64 if real.dtype == torch.float64 else torch.int32).to(torch.int64)
    index = c.support.index(c.counts, c.dim)
    parts = [c.counts[list(rows)], word[mine], word[:0] if index is None else index[mine]]
    if isinstance(c.values, Factors):
        parts.append(c.values.flat[list(rows)].double().reshape(-1).view(torch.int64))
    return torch.cat(parts)


def _among(rows: Sequence[int], c: Compressed) -> torch.Tensor:
    """(nnz,) bool: the entries of these rows."""
    mine = torch.zeros(len(c), dtype=torch.bool)
    mine[list(rows)] = True
    return mine[c.rows()]


def measured(call: Callable[[], T]) -> tuple[T, int]:
    """What `call` returns, and the most bytes that it held at once.

    The larger of two measures: `tracemalloc`, of Python and NumPy, which must have been started; and the
    growth of the process, of everything else, torch among it.
    """
    before, process = tracemalloc.get_traced_memory()[0], _restart_peak()
    tracemalloc.reset_peak()
    result = call()
    return result, max(tracemalloc.get_traced_memory()[1] - before, _peak() - process)


def _restart_peak() -> int:
    """The process's resident bytes; where the system allows it, its peak starts again from there."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
