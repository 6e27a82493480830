"""MNIST and whatever else comes as its four idx files (Fashion-MNIST, KMNIST).

An idx file is two zero bytes, a byte for the type (8 is uint8), a byte for the number of axes, the
axes' lengths as big-endian uint32, and the data. Source: LeCun, Cortes, Burges, the MNIST page.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_ef21.data.base import Dataset, Raw, build
from fl_ef21.errors import InputError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def mnist(*, path: str | Path) -> Dataset:
    """Features (N, 1, height, width) in [0, 1], from the folder `path` of four idx files, plain or .gz.

    Raises: InputError (data.path) where a file is missing, cut short or of another kind.
    """
    folder = Path(path)
    found = [_find(folder, name) for name in FILES]
    train, test = (
        Raw("data.path", str(images), _images(images), _read(labels, axes=1))
        for images, labels in (found[:2], found[2:])
    )
    return build(folder.resolve().name, train, test)


def _find(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    what = f"has no {name}" if folder.is_dir() else "is not a folder"
    raise InputError("data.path", str(folder), f"{what}; it must hold {', '.join(FILES)}, each plain or with .gz")


def _images(file: Path) -> NDArray[np.float32]:
    pixels = _read(file, axes=3)
    return np.divide(pixels, 255, dtype=np.float32)[:, None]


def _read(file: Path, axes: int) -> NDArray[np.uint8]:
    """The array in an idx file of uint8."""

    def refuse(what: str) -> InputError:
        return InputError("data.path", str(file), what)

    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise refuse(f"cannot be read: {error}") from None
    magic, start = 0x800 + axes, 4 + 4 * axes
    if len(data) < start:
        raise refuse(f"is cut short: {len(data)} bytes, the header alone has {start}")
    found, *shape = struct.unpack(f">{1 + axes}I", data[:start])
    if found != magic:
        raise refuse(f"starts with the number {found}; idx files of bytes on {axes} axes start with {magic}")
    if len(data) != start + math.prod(shape):
        size = "x".join(map(str, shape))
        raise refuse(f"has {len(data) - start} bytes of data; its header says {size} = {math.prod(shape)}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
