"""Named places at which a test lets this process fail, to see that nothing is lost there.

`FL_EF21_FAILPOINT=journal.before_commit:kill` kills the process where it gets there; `:kill:3` the third time; several
are parted by commas. Unset, which is always outside of tests, a place costs one look at an empty dict.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fl_ef21.errors import InputError

VARIABLE = "FL_EF21_FAILPOINT"
SLEEP = 60.0  # seconds, unless `sleep=2.5` says otherwise
ACTIONS = ("raise", "exit", "kill", "sleep", "enospc", "eio")


class Failed(RuntimeError):
    """What the action `raise` raises."""


@dataclass
class _Armed:
    action: str
    seconds: float
    left: int  # hits until it acts; it acts once

    def act(self, name: str) -> None:
        match self.action:
            case "raise":
                raise Failed(f"failpoint {name}")
            case "exit":
                os._exit(70)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(self.seconds)
            case _:
                code = errno.ENOSPC if self.action == "enospc" else errno.EIO
                raise OSError(code, f"{os.strerror(code)} (failpoint {name})")


def parse(text: str) -> dict[str, _Armed]:
    """What a text arms. Raises: InputError on what is no failpoint."""
    found = {}
    for one in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = one.partition(":")
        word, _, count = rest.partition(":")
        action, _, seconds = word.partition("=")
        try:
            armed = _Armed(action, float(seconds or SLEEP), int(count or 1))
        except ValueError:
            armed = _Armed("", 0, 0)
        if action not in ACTIONS or armed.left < 1:
            raise InputError(VARIABLE, one, f"must be name:action[:n], action one of {', '.join(ACTIONS)}, n from 1")
        found[name] = armed
    return found


_armed = parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Fail here, if that is armed and due."""
    if _armed and (armed := _armed.get(name)) is not None:
        armed.left -= 1
        if armed.left == 0:
            armed.act(name)


@contextmanager
def arm(text: str) -> Iterator[None]:
    """These failpoints in this process, and no others, until the block ends."""
    global _armed
    before, _armed = _armed, parse(text)
    try:
        yield
    finally:
        _armed = before
