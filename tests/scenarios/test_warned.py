"""What strategies warn of is told to whoever listens to the run."""

from __future__ import annotations

import logging

import pytest

from scenarios.progress import Silent
from scenarios.warned import MOST, warnings_told


class Heard(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


log = logging.getLogger("fl_ef21")


def test_warnings_are_told_while_the_run_goes_on() -> None:
    heard = Heard()
    with warnings_told(heard):
        log.warning("node %d is gone", 3)
        log.info("this is none")
        logging.getLogger("fl_ef21.store").warning("a file is damaged")
    log.warning("afterwards")
    assert heard.messages == ["node 3 is gone", "a file is damaged"]


def test_what_goes_wrong_in_every_round_is_told_so_often_and_no_more() -> None:
    heard = Heard()
    with warnings_told(heard):
        for round in range(2 * MOST):
            log.warning("round %d", round)
    assert len(heard.messages) == MOST + 1 and "further ones" in heard.messages[-1]


def test_where_nobody_listens_warnings_go_where_logging_sends_them(caplog: pytest.LogCaptureFixture) -> None:
    before = list(log.handlers)
    with warnings_told(Silent()):
        assert log.handlers == before
        log.warning("as ever")
    assert "as ever" in caplog.messages
