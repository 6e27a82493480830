"""Strings of bits in bytes, the lowest bit first, for compiled loops.

A writer is (out, at, acc, held): whole bytes stand in `out` before `at`, and `held` < 8 more bits in `acc`. It stores
eight bytes at a time, so `out` needs `SLACK` bytes more than what is written; a reader needs as many after the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fl_ef21.compiled import compiled

Array = np.ndarray[Any, Any]
SLACK = 16  # bytes behind the last one that may be read or overwritten
_WORD = ir.IntType(64)


def _place(context: Any, builder: Any, kinds: Any, data: Any, at: Any) -> Any:
    array = context.make_array(kinds[0])(context, builder, data)
    offset = context.cast(builder, at, kinds[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [offset]), _WORD.as_pointer())


def _load64(typing: Any, data: Any, at: Any) -> Any:
    """The eight bytes of a contiguous uint8 array from `at` on, as one little-endian word, wherever it lies."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, signature.args, *args), align=1)

    return types.uint64(data, at), generate


def _store64(typing: Any, data: Any, at: Any, word: Any) -> Any:
    """Writes a word there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args, args[0], args[1])
        builder.store(context.cast(builder, args[2], signature.args[2], types.uint64), place, align=1)
        return context.get_dummy_value()

    return types.void(data, at, word), generate


def _zeros_below(typing: Any, word: Any) -> Any:
    """How many zero bits stand below the lowest one bit of a uint64; 64 where there is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


load64: Any = intrinsic(_load64)
store64: Any = intrinsic(_store64)
zeros_below: Any = intrinsic(_zeros_below)


def nbytes(count: int, width: int) -> int:
    """Bytes that `count` numbers of `width` bits take."""
    return (count * width + 7) // 8


def _put(out: Array, at: int, acc: int, held: int, bits: int, width: int) -> tuple[int, int, int]:
    """Appends `bits` < 2^width, width <= 56: (at, acc, held)."""
    acc |= np.uint64(bits) << np.uint64(held)
    held += width
    store64(out, at, acc)
    return at + (held >> 3), acc >> np.uint64(held & ~7), held & 7


put = compiled(_put)


def _end(out: Array, at: int, acc: int, held: int) -> int:
    """Fills the last byte with zeros; where the next thing begins."""
    store64(out, at, acc)
    return at + (held + 7 >> 3)


end = compiled(_end)


def _pack(x: Array, width: int, out: Array, at: int) -> int:
    """Numbers of `width` <= 56 bits each, as a string of bits that ends with zeros; where it ends."""
    acc, held = np.uint64(0), 0
    for i in range(x.size):
        at, acc, held = put(out, at, acc, held, x[i], width)
    return end(out, at, acc, held)


pack = compiled(_pack)


def _unpack(data: Array, at: int, width: int, x: Array) -> bool:
    """Fills x with numbers of `width` <= 56 bits from byte `at`; whether the padding is zero."""
    mask, bit = (np.uint64(1) << np.uint64(width)) - np.uint64(1), at * 8
    for i in range(x.size):
        x[i] = (load64(data, bit >> 3) >> np.uint64(bit & 7)) & mask
        bit += width
    return bit & 7 == 0 or data[bit >> 3] >> (bit & 7) == 0


unpack = compiled(_unpack)
