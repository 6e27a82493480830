"""How few bits messages could take, and how many papers say they take. Neither is what is sent.

The bound of a message is log2 C(d, k) bits for a free choice of k of d coordinates, plus the order-0 entropy of its
values under the distribution of all messages measured together (so that few values are not called free). Of a float,
sign, exponent and the top mantissa bits are the symbol and what is left is taken as it is. Good codes go below it where
neighbouring coordinates are alike: it is a yardstick, no law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.messages import All, Compressed, Factors, Floats, Levels, Powers, Seeded, Signs
from fl_ef21.types import Compressor

SAMPLE = 1 << 18  # values looked at in a round: 5 ms at the most, also of a round of dense vectors
MANTISSA = 3  # top bits of it that are in a float's symbol
# bits of sign, exponent and mantissa, and the integer of that width
_FLOATS = {
    torch.float64: (1 + 11, 52, torch.int64),
    torch.float32: (1 + 8, 23, torch.int32),
    torch.bfloat16: (1 + 8, 7, torch.int16),
    torch.float16: (1 + 5, 10, torch.int16),
}


def bound(c: Compressed) -> Array:
    """(n,) float64: bits of each message at the least.

    Values are looked at in evenly spaced messages, up to `SAMPLE` of them (or one message); what their values take on
    average is taken for the others.
    """
    counts = c.counts.cpu().numpy()
    bits = supports(c)
    if counts.sum() == 0:
        return bits
    rows = _looked_at(counts)
    values = _values(c, counts, rows)
    mean = values.sum() / max(1, counts[rows].sum())
    all_values = counts * mean
    all_values[rows] = values
    bits += all_values
    return bits


def vector_bound(x: Tensor) -> float:
    """Bits of one dense vector (d,) at the least; of a long one, from evenly spaced entries."""
    step = -(-len(x) // SAMPLE)
    some = x[::step].detach().cpu()
    return float(_float_bits(some).sum() * (len(x) / max(1, len(some))))


def supports(c: Compressed) -> Array:
    """(n,) float64: bits that say which coordinates are meant."""
    k = c.counts.cpu().numpy().astype(np.float64)
    if isinstance(c.support, All):
        return np.zeros(len(k))
    if isinstance(c.support, Seeded):
        return np.full(len(k), 64.0)
    found: Array = (gammaln(c.dim + 1.0) - gammaln(k + 1) - gammaln(c.dim - k + 1)) / math.log(2)
    return found


def counted(c: Compressed, compressors: Sequence[Compressor]) -> Array:
    """(n,) float64: bits of each message as papers count them, 32 a number, indices free.

    `compressors`: what every row's says of its messages; empty, or where it cannot say, the message is asked.
    """
    told = np.array([np.nan if (bits := C.bits(c.dim)) is None else bits for C in compressors])
    counts = c.counts.cpu().numpy()
    if len(told) and not np.isnan(told).any():
        return np.where(counts > 0, told, 0.0)
    asked = _asked(c, counts)
    return asked if not len(told) else np.where(np.isnan(told), asked, told)


def _asked(c: Compressed, counts: Array) -> Array:
    entries = counts.astype(np.float64)
    match c.values:
        case Floats(flat):
            return entries * min(32, 8 * flat.element_size())
        case Signs():
            return entries + 32
        case Powers():
            return entries * 9
        case Levels(_, unit, most):
            return entries * math.ceil(math.log2(2 * most + 1)) + 32.0 * (unit.shape[1] if unit.ndim == 2 else 1)
        case Factors(flat):
            return np.full(len(counts), 32.0 * flat.shape[1])
    return entries * 32


def _looked_at(counts: Array) -> Array:
    """Rows, evenly spaced, of not many more than `SAMPLE` entries."""
    total = int(counts.sum())
    step = max(1, min(len(counts), -(-total // SAMPLE)))
    return np.arange(0, len(counts), step)


def _values(c: Compressed, counts: Array, rows: Array) -> Array:
    """Bits of the values of these rows (m,) float64, all measured together."""
    ends = np.cumsum(counts)
    entries: Array | slice = slice(None)
    if len(rows) < len(counts):
        entries = np.concatenate([np.arange(ends[row] - counts[row], ends[row]) for row in rows.tolist()])
    match c.values:
        case Floats(flat):
            return _by_row(_float_bits(flat[_index(entries)].cpu()), counts[rows])
        case Signs(negative):
            return _by_row(_entropy(negative[_index(entries)].cpu().numpy().astype(np.int64)), counts[rows]) + 32
        case Powers(negative, exponent):
            size = exponent[_index(entries)].cpu().numpy().astype(np.int64)
            return _by_row(_entropy(size + 128) + (size > -128), counts[rows])
        case Levels(level, unit):
            at = level[_index(entries)].cpu().numpy().astype(np.int64)
            scales = 32.0 * (unit.shape[1] if unit.ndim == 2 else 1)
            return _by_row(_entropy(at - at.min()), counts[rows]) + scales
        case Factors(flat):
            some = flat[torch.from_numpy(rows).to(flat.device)].cpu()
            return _by_row(_float_bits(some.reshape(-1)), np.full(len(rows), flat.shape[1]))
    real = c.values.real(c.counts)
    return _by_row(_float_bits(real[_index(entries)].cpu()), counts[rows])


def _index(entries: Array | slice) -> Tensor | slice:
    return entries if isinstance(entries, slice) else torch.from_numpy(entries)


def _float_bits(flat: Tensor) -> Array:
    """Bits of each of these floats."""
    head, mantissa, word = _FLOATS[flat.dtype]
    rest = mantissa - MANTISSA
    symbols = flat.contiguous().view(word).numpy().astype(np.int64) >> rest
    return _entropy(symbols & ((1 << (head + MANTISSA)) - 1)) + rest


def _entropy(symbols: Array) -> Array:
    """-log2 of each symbol's share among them."""
    if not len(symbols):
        return np.zeros(0)
    found = np.bincount(symbols)
    with np.errstate(divide="ignore"):
        cost = -np.log2(found / len(symbols))
    return cost[symbols]


def _by_row(bits: Array, counts: Array) -> Array:
    ends = np.concatenate([[0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(bits)])
    return sums[ends[1:]] - sums[ends[:-1]]  # type: ignore[no-any-return]
