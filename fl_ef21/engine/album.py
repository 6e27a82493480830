"""Images of shards, one behind the other in a file without a name: it goes with this process, however that ends."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from fl_ef21.image import Image


class Album:
    """Images by shard.

    Attributes:
      nbytes: of them all.
    """

    def __init__(self, folder: Path) -> None:
        self._file: Any = tempfile.TemporaryFile(dir=folder, prefix="fl-ef21-images-")  # noqa: SIM115
        self._where: list[tuple[int, int, int]] = []  # shard, first byte, length
        self.nbytes = 0

    def add(self, shard: int, image: Image) -> None:
        """Raises: OSError where there is no room."""
        tensors, about = image.packed()
        data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"about": json.dumps(about)})
        self._file.seek(self.nbytes)
        self._file.write(data)
        self._file.flush()
        self._where.append((shard, self.nbytes, len(data)))
        self.nbytes += len(data)

    def count(self, shard: int) -> int:
        """How many images of this shard there are."""
        return sum(whose == shard for whose, _, _ in self._where)

    def get(self, shard: int, number: int) -> Image:
        """One of them, in the order in which they were added."""
        _, first, length = [where for where in self._where if where[0] == shard][number]
        self._file.seek(first)
        data = self._file.read(length)
        about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["about"]
        return Image.unpacked(load(data), json.loads(about))

    def drop(self, shard: int) -> None:
        """Images of this shard are of no use any more. The room is given back with the whole."""
        self._where = [where for where in self._where if where[0] != shard]

    def close(self) -> None:
        self._file.close()


def room(folder: Path, nbytes: int) -> bool:
    """Whether so many bytes may go there: it keeps as much free as they take."""
    return shutil.disk_usage(folder).free >= 2 * nbytes
