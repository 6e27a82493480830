"""A cut: everything a run needs to go on from a round, as a folder of safetensors files.

`cut.json`, written last, says what the cut is of and holds the digest of every file and of itself. The folder gets its
name once all of it is on the disk, so a cut is there as a whole or not at all. Nothing in it is code.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from fl_ef21 import files
from fl_ef21.errors import InputError, Refused
from fl_ef21.failpoints import failpoint

FORMAT = 1
MANIFEST = "cut.json"
PARTIAL, OLD = ".partial", ".old"  # hidden neighbours: a cut being written, and one that is being replaced
ABOUT = {"round": int, "method": int, "identity": str}  # what must be said of every cut; identity in hex

Note = dict[str, Any]


class Writer:
    """Writes the cut `folder`, replacing one of that name. Leaving the block without `seal` leaves nothing behind.

    durable: whether it must outlive a power cut, not only this process.
    """

    def __init__(self, folder: Path, durable: bool) -> None:
        """What killed writers left beside `folder` goes: a run has one writer of cuts."""
        self.folder, self.durable = folder, durable
        self.nbytes = 0
        self._partial = _hidden(folder, PARTIAL)
        self._files = dict[str, dict[str, Any]]()
        with files.naming(folder, 0):
            tidy(folder.parent)
            files.make_folder(self._partial, durable)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def add(self, name: str, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        """One more file. Raises: Refused("storage") where it cannot be written."""
        if name in self._files:
            raise InputError("cut", name, "is in this cut already")
        body = files.encode(tensors, note)
        self._put(f"{name}.safetensors", body)
        self._files[name] = {"bytes": len(body), "digest": files.digest(body).hex()}

    def seal(self, about: Mapping[str, Any]) -> Path:
        """Say what it is of (at least `round`, `method` and `identity`) and put it in place.

        Raises: InputError where something is not said, Refused("storage") where the disk will not have it.
        """
        for key, kind in ABOUT.items():
            if not isinstance(about.get(key), kind):
                raise InputError(f"cut.{key}", about.get(key), f"must be said of a cut, as {kind.__name__}")
        body = json.loads(json.dumps({"format": FORMAT, "about": dict(about), "files": self._files}))
        self._put(MANIFEST, json.dumps(body | {"digest": _digest(body)}, indent=1).encode())
        with files.naming(self.folder, self.nbytes):
            if self.durable:
                files.sync_folder(self._partial)
            failpoint("cut.before_rename")
            if self.folder.exists():
                self.folder.rename(_hidden(self.folder, OLD))
                failpoint("cut.between")
            self._partial.rename(self.folder)
            if self.durable:
                files.sync_folder(self.folder.parent)
        failpoint("cut.after_rename")
        shutil.rmtree(_hidden(self.folder, OLD), ignore_errors=True)
        return self.folder

    def _put(self, name: str, body: bytes) -> None:
        files.place(self._partial / name, body, self.durable)
        self.nbytes += len(body)


@dataclass(frozen=True)
class Cut:
    """A cut that is whole.

    Attributes:
      about: what the run said of it: at least round, method, identity.
      sizes: bytes of each of its files, by name.
    """

    folder: Path
    about: Mapping[str, Any]
    sizes: Mapping[str, int]
    digests: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Its files, in the order in which they were added."""
        return tuple(self.sizes)

    @property
    def nbytes(self) -> int:
        return sum(self.sizes.values())

    def load(self, name: str) -> tuple[dict[str, Tensor], Note]:
        """The tensors and the note of a file. Raises: Refused("cut") where it has been damaged since."""
        path = self._path(name)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise Refused("cut", f"{path} cannot be read: {error.strerror}") from error
        if files.digest(body).hex() != self.digests[name]:
            raise Refused("cut", f"{path} is damaged: its digest does not match")
        return files.decode(body)

    def check(self) -> None:
        """Read everything once. Raises: Refused("cut") where a file is missing or damaged."""
        for name, size in self.sizes.items():
            path, seen = self._path(name), blake2b(digest_size=files.DIGEST)
            try:
                there = path.stat().st_size
                if there != size:
                    raise Refused("cut", f"{path} has {there} bytes, not {size}")
                with path.open("rb") as file:
                    while data := file.read(1 << 20):
                        seen.update(data)
            except OSError as error:
                raise Refused("cut", f"{path} cannot be read: {error.strerror}") from error
            if seen.hexdigest() != self.digests[name]:
                raise Refused("cut", f"{path} is damaged: its digest does not match")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def read(folder: Path) -> Cut:
    """The cut in a folder, every byte of it seen. Raises: Refused("cut") where it is damaged or none."""
    cut = _manifest(folder)
    cut.check()
    return cut


def newest(parent: Path, identity: bytes, method: int) -> Cut | None:
    """The latest good cut of this run and method in a folder; damaged ones are passed over with a warning."""
    latest = sorted(_all(parent, identity), key=lambda cut: (-int(cut.about["round"]), cut.folder.suffix == OLD))
    for cut in latest:
        if cut.about["method"] == method:
            try:
                cut.check()
            except Refused as why:
                logging.getLogger(__name__).warning("%s; an older cut is used", why)
                continue
            return cut
    return None


def keep(parent: Path, first: int = 1, last: int = 2) -> list[Cut]:
    """Delete all but the first and the last cuts of each method, and return those that stay, oldest first."""
    tidy(parent)
    stay = list[Cut]()
    cuts = sorted(_all(parent, None), key=lambda cut: int(cut.about["round"]))
    for method in sorted({cut.about["method"] for cut in cuts}):
        mine = [cut for cut in cuts if cut.about["method"] == method]
        for at, cut in enumerate(mine):
            if at < first or at >= len(mine) - last:
                stay.append(cut)
            else:
                _delete(cut.folder)
    return sorted(stay, key=lambda cut: int(cut.about["round"]))


def tidy(parent: Path) -> None:
    """Remove what killed writers left; a cut that was being replaced gets its name back, if it has no successor."""
    for left in [*parent.glob(f".*{PARTIAL}"), *parent.glob(f".*{OLD}")] if parent.is_dir() else []:
        named = parent / left.name.removeprefix(".").removesuffix(left.suffix)
        if left.suffix == OLD and not named.exists():
            left.rename(named)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _delete(folder: Path) -> None:
    """Under a hidden name first, so that no half of it is taken for a damaged cut."""
    aside = _hidden(folder, PARTIAL)
    with suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _all(parent: Path, identity: bytes | None) -> list[Cut]:
    """The cuts in a folder whose manifests are good, of this run if one is given; the others with a warning."""
    found = []
    for folder in sorted(parent.iterdir()) if parent.is_dir() else []:
        if not folder.is_dir() or folder.suffix == PARTIAL:
            continue
        try:
            cut = _manifest(folder)
            if identity is not None and cut.about["identity"] != identity.hex():
                raise Refused("cut", f"{folder} is of another run")
            found.append(cut)
        except Refused as why:
            logging.getLogger(__name__).warning("%s; it is passed over", why)
    return found


def _manifest(folder: Path) -> Cut:
    path = folder / MANIFEST
    try:
        body = json.loads(path.read_bytes())
        said = body.pop("digest")
        if said != _digest(body):
            raise ValueError("its digest does not match")
        if body["format"] != FORMAT:
            raise ValueError(f"its format is {body['format']}, not {FORMAT}")
        sizes = {name: int(one["bytes"]) for name, one in body["files"].items()}
        return Cut(folder, body["about"], sizes, {name: one["digest"] for name, one in body["files"].items()})
    except OSError as error:
        raise Refused("cut", f"{folder} is no cut: {MANIFEST} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refused("cut", f"{path} is damaged: {error}") from error


def _digest(body: Mapping[str, Any]) -> str:
    return files.digest(json.dumps(body, sort_keys=True).encode()).hex()


def _hidden(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}{kind}")
