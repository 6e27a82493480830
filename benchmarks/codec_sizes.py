"""Bits that no code can go below, on average, where nothing more is known: the bounds of `benchmarks.codec`.

A support without structure takes log2 C(d, k) bits. Structure allows less: good codes of real supports take 0.6 of it.
Numbers take the order-0 entropy of their upper 16 bits (sign, exponent, seven bits of mantissa: a bfloat16), and
what is below as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def support_bits(d: int, k: int) -> float:
    """log2 C(d, k), 0 <= k <= d. To 1e-9 of it: it is a difference of lgamma's, each large."""
    if not 0 <= k <= d:
        raise ValueError(f"k must lie in 0 .. {d}, got {k}")
    return (math.lgamma(d + 1) - math.lgamma(k + 1) - math.lgamma(d - k + 1)) / math.log(2)


def upper(x: Array) -> tuple[Array, int]:
    """The symbols (n,) uint16 whose entropy counts, and how many raw bits a number has below them.

    x (n,): float32, or uint16 that hold bfloat16.
    """
    if x.dtype == np.uint16:
        return x, 0
    if x.dtype != np.float32:
        raise ValueError(f"x must be float32 or bfloat16 as uint16, got {x.dtype}")
    return (x.view(np.uint32) >> 16).astype(np.uint16), 16


def value_bits(x: Array) -> float:
    """Plug-in estimate of a number's bits, from n numbers.

    It is too low by about (m - 1) / (2 n ln 2), where m symbols occur (Miller 1955): 0.01 bits at n = 10,000, a
    tenth at 1,000, a whole bit at 78. See `value_bias`.
    """
    symbols, raw = upper(x)
    counts = np.unique(symbols, return_counts=True)[1]
    share = counts / max(1, len(x))
    return float(-(share * np.log2(share)).sum()) + raw if len(x) else 0.0


def value_bias(x: Array) -> float:
    """Bits by which `value_bits` is expected to be too low: Miller's first-order correction."""
    return (len(np.unique(upper(x)[0])) - 1) / (2 * len(x) * math.log(2)) if len(x) else 0.0


def tail_bits(threshold: float, bfloat16: bool) -> float:
    """A number's bits where the law is known: a sign, and threshold + an exponential variable of mean one.

    That is what TopK leaves of Laplace's law, with threshold = ln(d / k). Rounded to the nearest bfloat16, or float32,
    whose lower 16 bits count as raw: they are uniform to within 1e-3.
    """
    low = max(threshold, 2.0**-20)
    first, last = (int(np.float32(edge).view(np.uint32)) >> 16 for edge in (low, low + 60))
    edges = (np.arange(first, last + 2, dtype=np.uint64) << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    if bfloat16:  # everything up to the middle between two neighbours goes to the lower one
        edges = np.concatenate([[0.0], (edges[:-1] + edges[1:]) / 2])
    survive = np.exp(-np.maximum(edges - threshold, 0.0))
    share = survive[:-1] - survive[1:]
    share = share[share > 0] / share.sum()
    return 1.0 + float(-(share * np.log2(share)).sum()) + (0 if bfloat16 else 16)
