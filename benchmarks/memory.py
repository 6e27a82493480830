"""Peak memory of a process and all it starts, by proportional set size."""

from __future__ import annotations

import threading
from pathlib import Path


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, queue = [], [pid]
    while queue:
        at = queue.pop()
        found.append(at)
        for task in Path(f"/proc/{at}/task").glob("*/children"):
            try:
                queue += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def resident(pid: int) -> int:
    """Bytes, shared pages counted once among those that share them."""
    total = 0
    for one in tree(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


class Peak:
    """Watches a process tree until told to stop; `bytes` is the most it has seen."""

    def __init__(self, pid: int, every: float = 0.5) -> None:
        self.bytes, self._pid, self._every = 0, pid, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def look(self) -> None:
        self.bytes = max(self.bytes, resident(self._pid))

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.look()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
