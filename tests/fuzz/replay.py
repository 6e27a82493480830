"""Which payload killed the process: `python -m tests.fuzz.replay [FILE]`, a campaign's `LAST` without.

Each payload is decoded in a process of its own, one after another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fl_ef21 import wire
from tests.fuzz.campaign import LAST, Found, judged, told
from tests.fuzz.seeds import Sort, sorts


def replay(file: Path) -> Iterator[str]:
    """What is wrong with which payloads."""
    name, *payloads = file.read_text().splitlines()
    (sort,) = (sort for sort in sorts() if sort.name == name)
    for payload in map(bytes.fromhex, payloads):
        if code := outcome(sort, payload):
            yield told(sort, payload, f"the process dies of signal {-code}" if code < 0 else "handled wrongly")


def outcome(sort: Sort, payload: bytes) -> int:
    """Minus the signal of which a process dies that decodes this; 1 where the payload is handled wrongly, else 0."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        wire.decode(sort.payloads, sort.spec)  # a new process grows at first, which is not the payload's doing
        judged(sort, [payload])
        os._exit(0)
    except Found as found:
        print(found, file=sys.stderr, flush=True)
    finally:
        os._exit(1)


if __name__ == "__main__":
    found = list(replay(Path(sys.argv[1]) if len(sys.argv) > 1 else LAST))
    raise SystemExit("\n".join(found) or None)
