"""Images of all that a pool's shards hold, and images put into shards, however they are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fl_ef21.engine.pool import Pool
from fl_ef21.image import Image, Part


def parts(pool: Pool, most: int) -> list[list[Part]]:
    """Of each shard, what its images of at most `most` bytes will be."""
    handles = [pool.submit(shard, "parts", most) for shard in range(len(pool.blocks))]
    return [pool.collect(handle, None) for handle in handles]


def images(pool: Pool, wanted: list[list[Part]]) -> Iterator[tuple[int, Image]]:
    """Shards and images. Every shard makes one image ahead, while another's is taken."""
    waiting = {shard: iter(some) for shard, some in enumerate(wanted)}
    handles = {}
    for shard, some in waiting.items():
        if (part := next(some, None)) is not None:
            handles[shard] = pool.submit(shard, "image", part)
    while handles:
        for shard in list(handles):
            image = pool.collect(handles.pop(shard), None)
            if (part := next(waiting[shard], None)) is not None:
                handles[shard] = pool.submit(shard, "image", part)
            yield shard, image


def load(pool: Pool, given: Iterable[Image]) -> None:
    """Each image goes to the shards that hold some of its clients."""
    for image in given:
        owners = sorted({pool.home[client] for client in image.clients.tolist() if 0 <= client < len(pool.home)})
        handles = [pool.submit(shard, "load", image) for shard in owners]
        for handle in handles:
            pool.collect(handle, None)
