"""run.json: what a run began with, when it was started, and which methods are over."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError
from fl_ef21.provenance import sources
from scenarios.folder import put

NAME = "run.json"


@dataclass(frozen=True)
class RunFile:
    """One run, whatever number of starts it takes.

    Attributes:
      identity: 16 bytes in hex that tell two runs of one scenario apart; nothing is drawn from them.
      scenario: the resolved scenario it began with, TOML.
      sources: a digest of each of our source files then.
      starts: of each start its time, where it went on from, and the versions and machine.
      finished: by a method's number, how it ended.
      devices: a digest of the profile of [devices] then; empty without.
    """

    folder: Path
    identity: str
    runtime: str
    scenario: str
    command: str
    sources: Mapping[str, str]
    starts: tuple[Mapping[str, Any], ...] = ()
    finished: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    devices: str = ""

    @classmethod
    def new(
        cls, folder: Path, scenario: str, runtime: str, command: str, devices: str = "", plugins: Iterable[Any] = ()
    ) -> RunFile:
        """Of a run that begins; on the disk only after `started`. plugins: its classes of other packages."""
        return cls(folder, new_identity(), runtime, scenario, command, sources(plugins), devices=devices)

    @classmethod
    def load(cls, folder: Path) -> RunFile:
        """Raises: InputError where there is no run to go on with."""
        path = folder / NAME
        if not path.is_file():
            what = "is not there" if not folder.exists() else f"holds no run that can be resumed: it has no {NAME}"
            raise InputError("DIR", str(folder), what)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            found = cls(folder, **told | {"starts": tuple(told["starts"])})
            bytes.fromhex(found.identity)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("DIR", str(path), f"is damaged: {type(error).__name__} {error}") from error
        return found

    @property
    def nonce(self) -> bytes:
        return bytes.fromhex(self.identity)

    @property
    def term(self) -> int:
        """How often it was started."""
        return len(self.starts)

    def started(self, after: str, environment: Mapping[str, Any]) -> RunFile:
        """With one more start, which goes on after `after`; on the disk."""
        start = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "pid": os.getpid(), "after": after}
        return replace(self, starts=(*self.starts, start | {"environment": dict(environment)}))._kept()

    def ended(self, number: int, outcome: Mapping[str, Any]) -> RunFile:
        """With a method that is over; on the disk."""
        return replace(self, finished={**self.finished, str(number): outcome})._kept()

    def _kept(self) -> RunFile:
        told = {name: value for name, value in asdict(self).items() if name != "folder"}
        put(self.folder / NAME, json.dumps(told, indent=1) + "\n")
        return self


def new_identity() -> str:
    """Of a run that begins."""
    return secrets.token_hex(16)
