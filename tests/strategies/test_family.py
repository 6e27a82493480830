"""Every method of the family keeps g = sum_i w_i g_i under faults, and can be put back and made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flwr.app import ConfigRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import METHODS
from fl_ef21.store import Memory
from fl_ef21.threads import computing_with
from scenarios.setup import Setup
from scenarios.suiting import server_of
from strategies.rounds import Commit
from tests.family import CASES
from tests.faulty_grid import FAULTS, Fault, FaultyGrid, Turn
from tests.oracles.given import Case
from tests.strategies.kept import N, Run, setup_of

ROUNDS = 6
REMEMBERING = [case for case in CASES if server_of(METHODS[case.method["name"]]).remembers]
cases = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def small(case: Case) -> Setup:
    """Six coordinates, of which compressors that count send two; the start lies in no box."""
    fitting = {"k": 2, "downlink": "topk:2", "prox": "l1:0.01"}
    method: dict[str, Any] = case.method | {key: fitting[key] for key in fitting if key in case.method}
    return setup_of(method, **case.train | {"start": case.starts[0]})


def turns() -> st.SearchStrategy[tuple[Turn, ...]]:
    where = st.integers(0, 2**12)
    fault = st.one_of(st.just(Fault()), st.builds(Fault, st.sampled_from(FAULTS), where))
    return st.tuples(*[st.builds(Turn, st.tuples(*[fault] * N), where)] * ROUNDS)


@pytest.mark.parametrize("case", REMEMBERING, ids=str)
def test_g_is_the_sum_of_what_clients_hold_whatever_fails(case: Case) -> None:
    setup = small(case)

    @settings(max_examples=5, deadline=None)
    @given(turns=turns())
    def holds(turns: tuple[Turn, ...]) -> None:
        store, strategy = Memory(range(N)), setup.strategy(0, b"run")
        grid: Any = FaultyGrid(N, lambda: setup.program(range(N), store), turns)
        for number in range(1, ROUNDS + 1):
            messages = strategy.configure_train(number, strategy.arrays, ConfigRecord(), grid)
            strategy.aggregate_train(number, grid.send_and_receive(messages))
            error = strategy.audit(grid)
            assert error is not None and error <= 1e-12

    holds()


@cases
def test_who_goes_on_from_an_image_goes_where_the_other_goes(case: Case) -> None:
    run = Run(small(case))
    run.to(3)
    second = Run(run.setup, run.store)
    second.strategy.restore(*run.strategy.image())
    second.strategy.ledger.term = 2
    second.to(6)
    other = Run(run.setup)
    other.to(6)
    assert second.strategy.digest() == other.strategy.digest()


@cases
def test_rounds_are_made_again_without_the_clients(case: Case) -> None:
    run, commits = Run(small(case)), list[Commit]()
    for _ in run.rounds(4):
        commits.append(run.strategy.commit())
    again = run.server()
    for commit in commits:
        again.redo(commit)
    assert again.digest() == run.strategy.digest()


@pytest.mark.parametrize("case", REMEMBERING, ids=str)
def test_a_client_that_lost_everything_is_brought_back_to_what_the_server_holds(case: Case) -> None:
    run = Run(small(case))
    run.to(4)
    run.store = Memory(range(N))
    run.to(8)
    assert run.error() <= 1e-12
