"""EF21-BC: every client makes the server's step and has its bits, whatever is lost, for the bytes that are counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from hypothesis import given, settings

import scenarios
from clients.flower import client_app
from fl_ef21 import records
from fl_ef21.commit import Point
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.errors import InputError
from fl_ef21.store import Files, Memory
from fl_ef21.threads import computing_with
from scenarios.runner import flower_loader
from scenarios.setup import Setup, prepare
from strategies.downlink import WHOLE
from strategies.flower import CompressedStrategy
from strategies.increments import Stepping
from tests.faulty_grid import FaultyGrid, Turn
from tests.small import scenario
from tests.strategies.test_downlink import (
    DRAWN,
    ROUNDS,
    WIPES,
    D,
    Listening,
    N,
    largest,
    models_of,
    quadratic,
    resident,
    rounds,
    schedules,
)

BC = {"name": "ef21-bc", "compressor": "topk", "k": 3}
FALLING = {"value": 0.1, "power": 0.5, "tau": 2.0}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def bidirectional(downlink: str, participation: float = 0.6, **train: Any) -> Setup:
    return quadratic(downlink, BC, participation, **train)


def stepping(strategy: CompressedStrategy) -> Stepping:
    assert isinstance(strategy.downlink, Stepping)
    return strategy.downlink


def held(strategy: CompressedStrategy) -> torch.Tensor:
    """(2d,), what a client has that has heard everything."""
    return torch.cat([strategy.descent.x, stepping(strategy).state.h[0]])


def test_x_and_h_follow_the_papers_recurrence_with_everybody() -> None:
    setup = bidirectional("topk:4", 1.0, dtype="float64", start="zero", batch_size="full")
    problem, strategy, grid = setup.problem, setup.strategy(0, b"run"), None
    grid = resident(setup)[0]
    x, h, g = problem.x0().numpy().copy(), np.zeros(D), np.zeros((N, D))
    for number, _ in enumerate(rounds(strategy, grid, 20), 1):
        q = problem.gradients(torch.from_numpy(x.copy()), torch.arange(N), number).numpy()
        g = np.array([g[i] + largest(q[i] - g[i], 3) for i in range(N)])
        h = h + largest(g.mean(axis=0) - h, 4)
        x = x - 0.1 * h
        assert np.allclose(strategy.descent.x.numpy(), x, rtol=0, atol=1e-12)
        assert np.allclose(stepping(strategy).state.h[0].numpy(), h, rtol=0, atol=1e-12)
        assert torch.equal(strategy.downlink.w, strategy.descent.x)


@pytest.mark.parametrize("downlink", ["topk:4", "randk:8", "powersgd:1"])
def test_what_a_client_holds_is_the_servers_x_and_h_of_that_version(downlink: str) -> None:
    setup = bidirectional(downlink)

    @settings(max_examples=5, deadline=None, phases=DRAWN)
    @given(turns=schedules(), wipes=WIPES)
    def holds(turns: tuple[Turn, ...], wipes: tuple[set[int], ...]) -> None:
        with TemporaryDirectory() as folder:
            store, strategy = Files(Path(folder)), setup.strategy(0, b"run")
            grid = FaultyGrid(N, lambda: setup.program(range(N), store), turns)
            models = models_of(strategy, store)
            server: dict[Point, torch.Tensor] = {stepping(strategy).point: held(strategy)}
            for done in rounds(strategy, grid, ROUNDS):
                for client in range(N):
                    mine = models._read(client)
                    assert mine.w is None or torch.equal(mine.w, server[mine.latest])
                for client in wipes[done.number - 1]:
                    models._path(client).unlink(missing_ok=True)
                server[stepping(strategy).point] = held(strategy)

    holds()


def test_a_step_size_that_falls_reaches_those_who_missed_rounds() -> None:
    setup = prepare(
        scenario(
            method=[BC | {"gamma": FALLING, "downlink": "topk:4"}], partition={"clients": N, "scheme": "iid"},
            model={"name": "quadratic", "dim": D, "bias": None}, train={"participation": 0.4},
        )
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        store, strategy = Files(Path(folder)), setup.strategy(0, b"run")
        grid = FaultyGrid(N, lambda: setup.program(range(N), store), ())
        models, server = models_of(strategy, store), {stepping(strategy).point: held(strategy)}
        late = 0
        for _ in rounds(strategy, grid, 15):
            base = strategy._sent.base
            late += int(((base != WHOLE) & (base < stepping(strategy).point.version - 2)).sum())
            for client in range(N):
                mine = models._read(client)
                assert mine.w is None or torch.equal(mine.w, server[mine.latest])
            server[stepping(strategy).point] = held(strategy)
        assert late > 0


@pytest.mark.parametrize("downlink", ["topk:4", "sign", "identity"])
@pytest.mark.parametrize("participation", [0.2, 0.6])
def test_bytes_counted_are_bytes_sent(downlink: str, participation: float) -> None:
    setup = bidirectional(downlink, participation)
    strategy, grid = setup.strategy(0, b"run"), Listening(resident(setup)[0])
    for done in rounds(strategy, grid, 12):
        assert done.downlink_bytes == grid.weight == strategy._sent.total > 0


def test_before_the_first_step_one_vector_is_sent_and_later_two() -> None:
    setup = bidirectional("topk:4", 1.0)
    strategy, grid = setup.strategy(0, b"run"), resident(setup)[0]
    one = records.model_bytes(records.pack_model(strategy.descent.x))
    sizes = list[int]()
    for done in rounds(strategy, grid, 4):
        sizes.append(int(strategy._sent.nbytes[0]))
        if done.number == 2:
            strategy.downlink.forget(np.arange(N))
    assert sizes[0] == one and sizes[1] < one and sizes[2] == one + D * strategy.descent.x.itemsize
    assert sizes[3] < one and strategy.last.refused == {}


def test_it_goes_on_from_an_image_as_if_it_had_never_stopped() -> None:
    setup = bidirectional("topk:4")
    straight, (grid, _) = setup.strategy(0, b"run"), resident(setup)
    for _ in rounds(straight, grid, 8):
        pass
    stopped, (grid, _) = setup.strategy(0, b"run"), resident(setup)
    for _ in rounds(stopped, grid, 4):
        pass
    going = setup.strategy(0, b"run")
    going.nodes.enrol(grid)  # type: ignore[arg-type]
    going.restore(*stopped.image())
    going.ledger.term = 2
    for number in range(5, 9):
        sent = going.configure_train(number, records.pack_model(going.descent.x), ConfigRecord(), grid)  # type: ignore[arg-type]
        going.aggregate_train(number, grid.send_and_receive(sent))
    assert torch.equal(held(going), held(straight)) and stepping(going).point == stepping(straight).point


def test_a_run_that_diverges_says_so() -> None:
    diverging = scenario(
        method=[BC | {"gamma": 1e9, "downlink": "topk:5"}], rounds=20, evaluate={"every": 50},
        model={"name": "quadratic", "dim": D, "bias": None}, partition={"clients": N, "scheme": "iid"},
    )  # fmt: skip
    assert scenarios.run(diverging).summary["methods"][0]["status"] == "diverged"


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"downlink": None}, "downlink", "needs"),
        ({"optimizer": "adam"}, "optimizer", "sgd"),
        ({"optimizer_args": {"momentum": 0.9}}, "optimizer_args", "plain"),
        ({"prox": "l1:0.1"}, "prox", "step"),
    ],
)
def test_what_does_not_go_with_steps_of_clients_is_told(changes: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises((InputError, ValueError), match=told) as caught:
        prepare(scenario(method=[BC | {"gamma": 0.1, "downlink": "topk:5"} | changes]))
    assert field in str(caught.value)


def test_the_client_app_with_a_file_for_each_client_gives_the_same_numbers(tmp_path: Path) -> None:
    setup, here = bidirectional("topk:4", 0.4), Settings(actors=0)
    app = client_app(flower_loader(setup, tmp_path))
    ours, theirs = (setup.strategy(0, b"run") for _ in range(2))
    with RayGrid(N, batched=lambda block: setup.program(block, Memory(block)), settings=here) as grid:
        batched = list(rounds(ours, grid, 8))
    with RayGrid(N, app=app, settings=here) as grid:
        assert list(rounds(theirs, grid, 8)) == batched
    assert torch.allclose(held(ours), held(theirs), rtol=0, atol=1e-6)
