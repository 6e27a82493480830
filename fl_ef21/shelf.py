"""What a device keeps of experiments: one folder for each below its state folder, the old ones removed in time.

An experiment that ends is forgotten by its clients. One whose server never came back is not; so that a device's disk
does not fill up with them, only the last ones used stay, and those that may be going on.
"""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fl_ef21 import files
from fl_ef21.errors import InputError, Refused

KEPT = 8  # experiments, such as the methods of one scenario
IDLE = 24 * 3600.0  # seconds without a message after which an experiment may be removed
_EXPERIMENT = re.compile(r"[0-9a-f]{32}")
_CLIENT = re.compile(r"client-(\d+)\.state")


@dataclass(frozen=True)
class Kept:
    """A client's state in one experiment.

    Attributes:
      version: increments that its committed state holds, None where its file is damaged.
      nbytes: of all its files, that of the model and a damaged one among them.
      used: seconds since 1970 of its last message.
    """

    experiment: str
    client: int
    version: int | None
    nbytes: int
    used: float


def kept(folder: Path) -> list[Kept]:
    """All that is there, the last used first; every byte of state is read once.

    Raises: InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError("DIR", str(folder), "is no folder; name the state-dir of a device, such as nodes/0/state")
    found = list[Kept]()
    for one in _experiments(folder):
        names = {path.name.removesuffix(".damaged") for path in one.iterdir()}
        found += [_client(one / match[0], int(match[1])) for match in map(_CLIENT.fullmatch, names) if match]
    return sorted(found, key=lambda one: (-one.used, one.experiment, one.client))


def prune(folder: Path, keep: int = KEPT, idle: float = IDLE) -> list[str]:
    """Remove all but the `keep` experiments used last and those used in the last `idle` seconds; returns which.

    Raises: Refused("storage") where the disk will not have it.
    """
    now, gone = time.time(), list[str]()
    for one in sorted(_experiments(folder), key=_used, reverse=True)[keep:]:
        if now - _used(one) >= idle:
            with files.naming(one, 0):
                shutil.rmtree(one)
            gone.append(one.name)
    return gone


def _experiments(folder: Path) -> list[Path]:
    there = folder.iterdir() if folder.is_dir() else ()
    return [path for path in there if _EXPERIMENT.fullmatch(path.name) and path.is_dir()]


def _used(experiment: Path) -> float:
    """A folder is written at each message, as a file of it is replaced."""
    return experiment.stat().st_mtime


def _client(path: Path, client: int) -> Kept:
    beside = [one for one in path.parent.iterdir() if one.name.startswith(f"client-{client}.")]
    version: int | None = None
    with suppress(Refused, ValueError, KeyError):
        version = int(files.read(path)[1]["point"][0])
    told = [one.stat() for one in beside]
    return Kept(path.parent.name, client, version, sum(one.st_size for one in told), max(one.st_mtime for one in told))
