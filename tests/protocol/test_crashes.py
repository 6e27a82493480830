"""A crash is not a loss: x, g and all chains are bitwise those of a run in which nothing went wrong.

Crash-only is what leaves a client's reply to the instruction of the round in the end: its process dies before or after
it has kept what it computed, or in the middle of a repetition, and is asked again; messages come twice, or once more in
any later round, to their client or to another one; the server dies after sending, before or after the commit, and
another goes on. What loses a reply, a disk or a client is none: then the round is another.
"""

from __future__ import annotations

import pytest

from tests.protocol.replay import unchanged

RUNS, NIGHTLY, TOGETHER = 500, 2_000, 50


@pytest.mark.parametrize("first", range(0, RUNS, TOGETHER))
def test_crashes_and_repetitions_do_not_change_a_bit(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        unchanged(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(RUNS, RUNS + NIGHTLY, 500))
def test_nor_do_two_thousand_more(first: int) -> None:
    for seed in range(first, first + 500):
        unchanged(seed)
