"""Warnings of a run, which strategies log, go to whoever listens to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from scenarios.progress import Listener, Silent

MOST = 100  # what goes wrong in every round would fill progress.json


class _Telling(logging.Handler):
    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.WARNING)
        self._listener, self._left = listener, MOST

    def emit(self, record: logging.LogRecord) -> None:
        self._left -= 1
        if self._left >= 0:
            self._listener.message(record.getMessage())
        if self._left == 0:
            self._listener.message(f"{MOST} warnings until here; further ones are not shown")


@contextmanager
def warnings_told(listener: Listener) -> Iterator[None]:
    """While this goes on. Where nobody listens they go where logging sends them."""
    if type(listener) is Silent:
        yield
        return
    handler, log = _Telling(listener), logging.getLogger("fl_ef21")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
