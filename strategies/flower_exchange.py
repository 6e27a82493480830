"""Sends a round's messages and takes the replies, those of earlier rounds too if they are wanted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from fl_ef21.flower_internals import sendable

PAUSE = 0.05  # seconds between two looks, at first; a SuperLink is asked every 3 s at the most


def exchange(
    grid: Grid, messages: Iterable[Message], timeout: float | None, waiting: Sequence[str], late: bool
) -> tuple[list[Message], list[str]]:
    """The replies that came within `timeout` seconds, and the messages whose replies may still come.

    late: whether anybody wants those; then `waiting` are messages of earlier rounds.
    """
    if timeout is None or not late:
        return list(grid.send_and_receive(sendable(grid, messages), timeout=timeout)), []
    mine = set(grid.push_messages(sendable(grid, messages)))
    awaited, deadline, pause = [*waiting, *mine], time.monotonic() + timeout, PAUSE
    replies = list[Message]()
    while mine:
        got = list(grid.pull_messages(awaited))
        answered = {one.metadata.reply_to_message_id for one in got}
        replies += got
        mine -= answered
        awaited = [name for name in awaited if name not in answered]
        if mine and time.monotonic() + pause > deadline:
            break
        time.sleep(pause if mine else 0.0)
        pause = min(2 * pause, 3.0)
    return replies, awaited
