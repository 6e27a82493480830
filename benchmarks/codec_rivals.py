"""What others would send: one message, its indices and its numbers, by libraries and by no coding at all.

Each rival is a pair: bytes of k increasing indices, and bytes of k numbers. They get no header, length or checksum,
which flatters them. Gaps are i_j - i_(j-1) - 1, in the smallest of uint8, uint16 and uint32 that holds them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LEVEL = 8  # pcodec's, as measured in its own documentation


@dataclass(frozen=True)
class Rival:
    """indices: bytes of (k,) int64 below d; numbers: bytes of (k,) float32, or bfloat16 as uint16."""

    name: str
    indices: Callable[[Array, int], int]
    numbers: Callable[[Array], int]


def gaps(index: Array) -> Array:
    """(k,) of the smallest width: how many coordinates are skipped before each."""
    skipped = np.diff(index, prepend=-1) - 1
    most = int(skipped.max(initial=0))
    return skipped.astype(np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32)


def planes(x: Array) -> bytes:
    """All first bytes, then all second bytes, and so on."""
    return np.ascontiguousarray(x.view(np.uint8).reshape(len(x), -1).T).tobytes()


def raw_indices(index: Array, d: int) -> int:
    return 4 * len(index)


def raw_numbers(x: Array) -> int:
    return int(x.nbytes)


def varint(index: Array, d: int) -> int:
    """Seven bits a byte of each gap."""
    skipped = gaps(index).astype(np.uint64)
    return int(sum((skipped >= 1 << shift).sum() for shift in (7, 14, 21, 28))) + len(index)


def zstd(data: bytes) -> int:
    import zstandard

    return len(zstandard.ZstdCompressor(level=1, write_content_size=False, write_checksum=False).compress(data))


def pcodec(x: Array) -> bytes:
    """x as a standalone stream: classic mode and no deltas, which the study found best for both."""
    from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

    how = ChunkConfig(
        compression_level=LEVEL, delta_spec=DeltaSpec.no_op(), mode_spec=ModeSpec.classic(), enable_8_bit=True
    )
    return bytes(standalone.simple_compress(np.ascontiguousarray(x), how))


def unpcodec(stream: bytes, k: int, dtype: Any) -> Array:
    """The (k,) numbers of a stream that `pcodec` made."""
    from pcodec import standalone

    x = np.empty(k, dtype)
    standalone.simple_decompress_into(stream, x)
    return x


def roaring(index: Array, d: int) -> int:
    from pyroaring import BitMap

    bitmap = BitMap(index.astype(np.uint32))
    bitmap.run_optimize()
    return len(bitmap.serialize())


_RIVALS = {
    "raw": (None, Rival("raw int32 + floats", raw_indices, raw_numbers)),
    "varint": (None, Rival("varint gaps + floats", varint, raw_numbers)),
    "zstd": ("zstandard", Rival("zstd-1, byte planes", lambda i, d: zstd(planes(gaps(i))), lambda x: zstd(planes(x)))),
    "pcodec": ("pcodec", Rival("pcodec alone", lambda i, d: len(pcodec(gaps(i))), lambda x: len(pcodec(x)))),
    "roaring": ("pyroaring", Rival("roaring + floats", roaring, raw_numbers)),
}


def rivals() -> tuple[dict[str, Rival], dict[str, str]]:
    """Those that can be measured here, and why the others cannot."""
    found, absent = dict[str, Rival](), dict[str, str]()
    for name, (module, rival) in _RIVALS.items():
        try:
            if module:
                import_module(module)
        except ImportError as error:
            absent[name] = f"{error}; the extra `bench` has it"
        else:
            found[name] = rival
    return found, absent
