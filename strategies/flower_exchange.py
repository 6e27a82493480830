"""Sends messages and takes the replies, those of earlier rounds too if they are wanted.

A deployment's Grid would look every 3 s. Here it is looked at after pauses that grow slowly, and are short again once
something came: of a round's time a tenth at the most is spent on waiting for the next look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from math import inf

from flwr.app import Message
from flwr.serverapp import Grid

from fl_ef21.flower_inbox import inbox_of
from fl_ef21.flower_internals import activations, deployed, sendable

SHORT, LONG, GROWTH = 0.02, 1.0, 1.25  # seconds between two looks: the first, the most, and times the one before
RESTARTED = 2.0  # seconds between two looks at whether a node was started again
Enough = Callable[[Sequence[Message]], bool]  # whether nobody has to be waited for any more


class Pauses:
    """Between two looks."""

    def __init__(self) -> None:
        self.short()

    def short(self) -> None:
        """Something came."""
        self._next = SHORT

    def sleep(self, until: float = inf) -> None:
        """The next one, not beyond this moment of the monotonic clock."""
        time.sleep(max(0.0, min(self._next, until - time.monotonic())))
        self._next = min(GROWTH * self._next, LONG)


class Mail:
    """Messages whose replies may still come.

    Attributes:
      mine: the messages, by the name that Flower gave each.
      others: names of messages that were sent before.
    """

    def __init__(self, grid: Grid, others: Iterable[str] = ()) -> None:
        self.grid, self.mine, self.others = grid, dict[str, Message](), list(others)
        self._since = dict[int, str]()  # of each node, as it was when it was written to
        self._looked = time.monotonic()

    def send(self, messages: Iterable[Message]) -> None:
        """What Flower does not take has no name, and is not waited for."""
        sent = list(messages)
        if not sent:
            return
        if deployed(self.grid):
            self._since = activations(self.grid)
        names = self.grid.push_messages(sendable(self.grid, sent))
        self.mine |= {name: message for name, message in zip(names, sent, strict=False) if name}

    def take(self) -> list[Message]:
        """What has come by now."""
        names = [*self.mine, *self.others]
        got = self._pull(names) if names else []
        answered = {one.metadata.reply_to_message_id for one in got}
        for name in answered & set(self.mine):
            del self.mine[name]
        self.others = [name for name in self.others if name not in answered]
        return got

    def _pull(self, names: list[str]) -> list[Message]:
        inbox = inbox_of(self.grid)
        return list(self.grid.pull_messages(names)) if inbox is None else inbox.take(names)

    def drop(self) -> None:
        """Nobody waits any more for what has not come; it may come all the same."""
        self.others += self.mine
        self.mine = {}

    def forget(self) -> None:
        """Nobody wants any more what has not come."""
        if (inbox := inbox_of(self.grid)) is not None:
            inbox.forget([*self.mine, *self.others])

    def ask_again(self, stuck: float = inf) -> None:
        """Repeat what went to nodes that were started again since: who fetched it is dead.

        A client that has followed the instruction already gives the same answer again. stuck: seconds after which
        that is repeated, too, whose reply was announced and does not come.
        """
        if not deployed(self.grid) or time.monotonic() - self._looked < RESTARTED:
            return
        now, self._looked = activations(self.grid), time.monotonic()
        inbox = inbox_of(self.grid)
        torn = set() if inbox is None else inbox.stuck(stuck)
        lost = {
            name: message
            for name, message in self.mine.items()
            if name in torn or now.get(node := message.metadata.dst_node_id, "") > self._since.get(node, "~")
        }
        self.others += lost
        for name in lost:
            del self.mine[name]
        self.send([_again(message) for message in lost.values()])


def _again(message: Message) -> Message:
    """Another message that says the same."""
    told = message.metadata
    return Message(message.content, told.dst_node_id, told.message_type, group_id=told.group_id)


def exchange(
    grid: Grid, messages: Iterable[Message], timeout: float | None = None, waiting: Sequence[str] = (),
    late: bool = False, *, enough: Enough | None = None, quiet: float | None = None,
    waited: Callable[[float], object] = float,
) -> tuple[list[Message], list[str]]:  # fmt: skip
    """The replies that came within `timeout` seconds, and the messages whose replies may still come.

    late: whether anybody wants those; then `waiting` are messages of earlier rounds. On a deployment it is over as
    soon as there is `enough`, or after so many `quiet` seconds in which nothing came; `waited` is told the seconds
    between the last message sent and the last reply taken.
    """
    if not deployed(grid) and (timeout is None or not late):
        return list(grid.send_and_receive(sendable(grid, messages), timeout=timeout)), []
    mail, pauses, replies = Mail(grid, waiting if late else ()), Pauses(), list[Message]()
    mail.send(messages)
    began = last = looked = time.monotonic()
    deadline = inf if timeout is None else began + timeout
    while mail.mine:
        looked = time.monotonic()
        got = mail.take()
        replies += got
        if not mail.mine or (enough is not None and got and enough(replies)):
            break
        if got:
            last = time.monotonic()
            pauses.short()
        end = min(deadline, inf if quiet is None else last + quiet)
        if looked >= end:  # and not now: a look itself takes minutes where the rest of a reply is slow or never comes
            break
        mail.ask_again()
        pauses.sleep(until=end)
    waited(looked - began)
    if late:
        return replies, [*mail.others, *mail.mine]
    mail.forget()
    return replies, []
