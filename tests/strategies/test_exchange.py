"""Late replies, and nodes that come again or are there twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flwr.app import Message

from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.flower_internals import NODE_UNAVAILABLE, error_reply
from fl_ef21.flower_stamp import name_message
from strategies.flower_exchange import exchange
from tests.faulty_grid import Fault, FaultyGrid, Turn
from tests.strategies.kept import SGDM, N, Run, setup_of


def late_in_round_three(client: int) -> tuple[Turn, ...]:
    nobody = Turn((Fault(),) * N)
    some = Turn(tuple(Fault("late reply", 0) if i == client else Fault() for i in range(N)))
    return nobody, nobody, some


@pytest.mark.parametrize("late", ["discard", "apply"])
def test_a_late_reply_is_added_only_where_that_is_wanted(late: str) -> None:
    """With participation 0.4 a client that is late is seldom asked again in the very next round."""
    run = Run(setup_of(SGDM, participation=0.4))
    asked = [run.strategy.invite(number).tolist() for number in (3, 4)]
    client = next(i for i in asked[0] if i not in asked[1])
    run.grid.turns = list(late_in_round_three(client))
    run.strategy.late = late  # type: ignore[assignment]
    run.to(4)
    wanted = late == "apply"
    assert run.strategy.last.late == (1 if wanted else 0)
    assert run.strategy.last.refused == ({} if wanted else {"stale": 1})
    assert run.strategy.last.participants == len(asked[1]) + wanted
    assert run.error() < 1e-14
    run.to(9)
    assert run.error() < 1e-14 and not run.strategy._lacking


def test_a_late_reply_of_a_client_that_was_asked_again_is_refused() -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    run.grid.turns = list(late_in_round_three(2))
    run.strategy.late = "apply"
    run.to(4)
    assert run.strategy.last.refused == {"stale": 1} and run.strategy.last.participants == N
    run.to(6)
    assert run.error() < 1e-14


class Slow:
    """A grid whose replies to some messages come after so many looks."""

    def __init__(self, run: Run, looks: dict[int, int]) -> None:
        self.run, self.looks, self.left = run, looks, dict[str, list[Any]]()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        for number, message in enumerate(sent):
            name = f"{id(message)}"
            name_message(message, name)
            self.left[name] = [self.looks.get(number, 0), self.run.grid._answer(message)]
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        for name in list(names):
            self.left[name][0] -= 1
            if self.left[name][0] < 0:
                yield self.left.pop(name)[1]


def test_what_comes_after_the_timeout_is_taken_with_the_next_round() -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    run.strategy.nodes.enrol(run.grid)  # type: ignore[arg-type]
    grid: Any = Slow(run, {1: 99})
    strategy = run.strategy
    first = strategy.configure_train(1, _model(run), None, run.grid)  # type: ignore[arg-type]
    replies, waiting = exchange(grid, first, 0.06, [], late=True)
    assert len(replies) == N - 1 and len(waiting) == 1
    replies, waiting = exchange(grid, [], 0.5, waiting, late=True)
    assert replies == [] and len(waiting) == 1  # nothing of its own to wait for, so nothing is asked
    grid.looks, second = {}, strategy.configure_train(2, _model(run), None, run.grid)  # type: ignore[arg-type]
    replies, waiting = exchange(grid, second, 5.0, waiting, late=True)
    assert len(replies) >= N and len(waiting) <= 1


def _model(run: Run) -> Any:
    return records.pack_model(run.strategy.descent.x)


class Restarting(FaultyGrid):
    """Client 1 moves to node 1 + N; `both` says whether its old node lives on."""

    both, moved = False, False

    def get_node_ids(self) -> list[int]:
        old = [node for node in super().get_node_ids() if self.both or not self.moved or node != 2]
        return old + ([2 + self.clients] if self.moved else [])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        lost = [m for m in sent if self.moved and m.metadata.dst_node_id == 2]
        got = super().send_and_receive([m for m in sent if m not in lost], timeout=timeout)
        return got + [error_reply(m, NODE_UNAVAILABLE, "the node is gone") for m in lost]


@pytest.mark.parametrize("both", [False, True])
def test_a_client_whose_node_starts_again_is_found_and_its_copy_is_not_asked(
    both: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    grid = run.grid = Restarting(N, run._program)
    grid.both = both
    run.to(2)
    grid.moved = True
    for number in (3, 4):
        messages = run.strategy.configure_train(number, _model(run), None, grid)  # type: ignore[arg-type]
        replies = grid.send_and_receive(messages)
        run.strategy.nodes.note(replies)
        with caplog.at_level(logging.WARNING, "fl_ef21"):
            run.strategy.aggregate_train(number, replies)
    assert run.strategy.nodes.of[1] == (2 if both else 2 + N)
    assert run.strategy.last.participants == (N - 1 if both else N)
    told = [record.message for record in caplog.records if "both say they are client 1" in record.message]
    assert bool(told) == both


def test_a_client_that_says_goodbye_leaves_with_the_next_round() -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    run.to(3)
    block = run.grid._answer

    def goodbye(message: Message, trouble: str = "") -> Message:
        asked = Block.unpack(records.read_block(message))
        if asked.client == 2 and asked.kind == Kind.TRAIN:
            return Message(records.reply(Block.answered(asked.pack(), Kind.BYE), b""), reply_to=message)
        return block(message, trouble)

    run.grid._answer = goodbye  # type: ignore[method-assign]
    run.to(4)
    assert run.strategy.last.refused == {"bye": 1} and run.error() < 1e-14
    run.to(5)
    assert run.strategy.last.invited == N - 1 and run.strategy.members.ids().tolist() == [0, 1, 3, 4]
    assert run.strategy.commit().left == (2,) and run.error() < 1e-14
