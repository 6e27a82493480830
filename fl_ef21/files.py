"""Vectors and a note in one file that is replaced atomically: a digest, then a safetensors body."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from fl_ef21.errors import Refused

DIGEST = 16


def write(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Whoever reads finds what was there before, or all of this. Folders are made, for their owner alone."""
    body = save(dict(tensors), metadata={"note": json.dumps(note)})
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    with os.fdopen(handle, "wb") as file:
        file.write(blake2b(body, digest_size=DIGEST).digest() + body)
    os.replace(name, path)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The vectors and the note. Raises: Refused("state") where the file is damaged."""
    data = path.read_bytes()
    body = data[DIGEST:]
    if blake2b(body, digest_size=DIGEST).digest() != data[:DIGEST]:
        raise Refused("state", f"{path} is damaged: its digest does not match")
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    return load(body), json.loads(header["__metadata__"]["note"])
