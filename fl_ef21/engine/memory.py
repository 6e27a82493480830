"""The memory of a GPU that several actors share."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Room(NamedTuple):
    """Bytes of a GPU as one actor sees it: free for everybody, in all, and taken by this actor."""

    free: int
    total: int
    held: int


def claim(share: float) -> None:
    """Hold this process to its share of its GPU: beyond it torch says so, and the neighbours are safe."""
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))


def room() -> Room:
    """Measured now."""
    free, total = torch.cuda.mem_get_info()
    return Room(free, total, torch.cuda.memory_reserved())


def tiles(free: int, tile: int) -> int:
    """Tiles of so many bytes that a GPU computes at once: an eighth of what is free, at least one."""
    return max(1, free // 8 // tile)


def lacking(room: Room, share: float) -> int:
    """Bytes of its share that an actor cannot get because others hold them; CUDA itself takes a few percent."""
    wanted = int(0.9 * share * room.total)
    return max(0, wanted - room.held - room.free)
