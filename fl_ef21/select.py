"""The k largest coordinates of every row, exactly, with ties to the lower index.

On the CPU the bits of |u|, read as an integer, order like |u| itself. A histogram of their leading
bits gives a floor that at least k coordinates reach; those are copied out in order, and a radix select
among these few finds the k-th largest. Of a long row only a sample enters the histogram; should fewer
than k coordinates reach its floor, the whole row does. On other devices torch operations give the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl_ef21.compiled import compiled

Array = np.ndarray[Any, Any]

# The integer of the same width, its largest value, its bits below the first digit, the bits of infinity.
_FORMATS = {
    np.dtype(np.float32): (np.int32, (1 << 31) - 1, 20, 0x7F800000),
    np.dtype(np.float64): (np.int64, (1 << 63) - 1, 51, 0x7FF << 52),
}
_DIGIT = 8  # bits per further digit
_SAMPLE = 2048  # a long row is sampled by a stride that leaves about so many coordinates,
_STRIDE = 9  # at least this one where the row is
_LONG = 1024
_BLOCK = 8  # coordinates that are passed over together where none of them reaches the floor


class Scratch(NamedTuple):
    """Room to select in rows of one length: what is overwritten by every row, and the row format's constants."""

    hist: Array
    peak: Array
    at: Array
    size: Array
    work: Array
    most: int
    low: int
    infinity: int


def scratch(d: int, dtype: np.dtype[Any]) -> Scratch:
    """For rows of d float32 or float64 numbers."""
    integer, most, low, infinity = _FORMATS[dtype]
    hist = np.empty((most >> low) + 1, dtype=np.int64)
    peak, at = np.empty(d // _BLOCK, integer), np.empty(d, np.int64)
    return Scratch(hist, peak, at, np.empty(d, integer), np.empty(d, integer), most, low, infinity)


def bits(u: Array) -> Array:
    """The same memory read as integers, as `largest` takes it."""
    return u.view(_FORMATS[u.dtype][0])


def topk(u: Tensor, k: int) -> Tensor:
    """Where the k largest |u| of every row are.

    Exactly the first k of a stable sort by descending magnitude, put in increasing order.

    Args:
      u: (n, d), float32 or float64.
      k: in 0 .. d.

    Returns: (n, k) int64, increasing along each row, on u's device.

    Raises: ValueError where k is out of range, u has another dtype, or u holds a NaN.
    """
    if not 0 <= k <= u.shape[1]:
        raise ValueError(f"k must lie in 0 .. {u.shape[1]}, got {k}")
    if u.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"u must be float32 or float64, got {u.dtype}")
    if u.device.type != "cpu" or k == 0:
        return _topk_torch(u.detach(), k)
    out = np.empty((len(u), k), dtype=np.int64)
    rows = u.detach().contiguous().numpy()
    if not _rows(bits(rows), scratch(u.shape[1], rows.dtype), out):
        raise ValueError("u holds a NaN")
    return torch.from_numpy(out)


def _topk_torch(u: Tensor, k: int) -> Tensor:
    """`topk` by torch operations. torch.topk breaks ties as it likes, so only its smallest value is used."""
    if bool(u.isnan().any()):
        raise ValueError("u holds a NaN")
    if k == 0:
        return torch.empty((len(u), 0), dtype=torch.int64, device=u.device)
    size = u.abs()
    least = torch.topk(size, k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, tied = size > least, size == least
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (tied & (tied.cumsum(dim=1) <= room))
    return chosen.nonzero()[:, 1].reshape(len(u), k)


def _floor_loop(row: Array, stride: int, target: int, low: int, hist: Array) -> int:
    """The largest multiple of 2^low that at least `target` of every stride-th magnitude reach, else 0."""
    mask = hist.size - 1
    hist[:] = 0
    for j in range(0, row.size, stride):
        hist[(row[j] >> low) & mask] += 1
    seen, bucket = 0, hist.size
    while seen < target and bucket > 0:
        bucket -= 1
        seen += hist[bucket]
    return bucket << low


def _gather_loop(row: Array, floor: int, most: int, peak: Array, at: Array, size: Array) -> int:
    """Puts the magnitudes >= floor into `size`, their coordinates into `at`, and says how many."""
    for block in range(peak.size):
        top = row[block * _BLOCK] & most
        for j in range(block * _BLOCK + 1, (block + 1) * _BLOCK):
            top = max(top, row[j] & most)
        peak[block] = top
    m = 0
    for block in range(peak.size):
        if peak[block] >= floor:
            for j in range(block * _BLOCK, (block + 1) * _BLOCK):
                a = row[j] & most
                at[m] = j
                size[m] = a
                m += a >= floor
    for j in range(peak.size * _BLOCK, row.size):
        a = row[j] & most
        at[m] = j
        size[m] = a
        m += a >= floor
    return m


def _kth_loop(work: Array, m: int, k: int, low: int, hist: Array) -> int:
    """The k-th largest of work[:m], 1 <= k <= m; `work` is used up. Digit by digit, the largest first."""
    shift, width = low, hist.size
    while True:
        hist[:width] = 0
        for j in range(m):
            hist[(work[j] >> shift) & (width - 1)] += 1
        digit = width - 1
        while hist[digit] < k:
            k -= hist[digit]
            digit -= 1
        left = 0
        for j in range(m):
            if (work[j] >> shift) & (width - 1) == digit:
                work[left] = work[j]
                left += 1
        if shift == 0 or left == 1:
            return work[0]  # type: ignore[no-any-return]
        m, width = left, 1 << min(_DIGIT, shift)
        shift -= min(_DIGIT, shift)


_floor = compiled(_floor_loop)
_gather = compiled(_gather_loop)
_kth = compiled(_kth_loop)


def _largest_loop(row: Array, k: int, scratch: Scratch, out: Array) -> bool:
    """Fills `out` (k,) from the bits (d,) of the numbers, 1 <= k <= d; False where one that counts is a NaN."""
    hist, peak, at, size, work, most, low, infinity = scratch
    d = row.size
    stride = max(_STRIDE, d // _SAMPLE) | 1 if d >= _LONG else 1  # odd: layer widths are mostly even
    share = k / stride
    target = k if stride == 1 else int(share + 4 * np.sqrt(share)) + 8
    m = _gather(row, _floor(row, stride, target, low, hist), most, peak, at, size)
    if m < k:  # the sample misled
        m = _gather(row, _floor(row, 1, k, low, hist), most, peak, at, size)
    work[:m] = size[:m]
    least = _kth(work, m, k, low, hist)
    room, filled = k, 0
    for j in range(m):
        if size[j] > infinity:
            return False
        room -= size[j] > least
    for j in range(m):
        if size[j] > least or (size[j] == least and room > 0):
            room -= size[j] == least
            out[filled] = at[j]
            filled += 1
    return True


largest = compiled(_largest_loop)


def _rows_loop(bits: Array, scratch: Scratch, out: Array) -> bool:
    """`largest` of every row: fills `out` (n, k) from bits (n, d), False where a row holds a NaN."""
    sound = True
    for i in range(len(bits)):
        sound &= largest(bits[i], out.shape[1], scratch, out[i])
    return sound


_rows = compiled(_rows_loop)
