"""The benchmarks' sides do the same work, and what is printed is what was counted. Nothing is timed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import __main__ as command
from benchmarks import growth, healing, overhead, plain, resident, rival, roofline, side, table
from benchmarks.cases import BATCH, GAMMA, Case, World, names, quadratic, softmax, worlds
from benchmarks.loop import Loop
from benchmarks.loop import measure as measure_loop
from fl_ef21 import randomness
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.store import Memory
from fl_ef21.threads import computing_with
from scenarios.setup import Setup, prepare

ROUNDS = 3


def cases(clients: int) -> list[Case]:
    return [Case("some", clients // 2, 2, 2), Case("all", clients, 2, 2)]


SOFTMAX = softmax("tiny", 12, 9, cases(12), fraction=0.05, actors=0)
QUADRATIC = quadratic("tiny", 6, 200, cases(6), fraction=0.05, actors=0)
NETWORK = World("tiny", "network", 3, 50_186, 784, tuple(cases(3)), actors=0)
TINY = pytest.mark.parametrize("world", [SOFTMAX, QUADRATIC, NETWORK], ids=lambda w: w.kind)


@dataclass(frozen=True)
class SameSamples(plain.Samples):
    """Takes the samples that the engine takes. `now` holds the round."""

    seed: int
    now: list[int]

    def draw(self, clients: Tensor) -> Tensor:
        keys = randomness.keys(self.seed, "sample", clients, self.now[0])
        return self.first[clients, None] + randomness.below(keys, BATCH, self.sizes[clients])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


@cache
def prepared(world: World) -> Setup:
    return prepare(world.scenario())


def ways(setup: Setup, world: World, now: list[int]) -> dict[str, plain.Gradients]:
    """The rivals' gradients over the engine's own data."""
    problem: Any = setup.problem
    if world.kind == "quadratic":
        return {"batched": plain.Quadratic(problem.H.float(), problem.b.float())}
    data = SameSamples(problem.features, problem.labels, problem.first, problem.sizes, setup.scenario.seed, now)
    if world.kind == "softmax":
        return {"batched": plain.Softmax(data)}
    return {"loop": plain.NetworkLoop(data), "vmap": plain.NetworkVmap(data)}


def engine(setup: Setup, case: Case) -> tuple[list[list[int]], list[Tensor]]:
    """Who was asked in each round, and the models from x^0 on."""
    strategy = setup.strategy(0, b"0" * 16)
    strategy.participation = case.asked / setup.problem.clients
    asked, xs = [], [strategy.descent.x.clone()]
    with RayGrid(
        setup.problem.clients, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(0),
        tile=setup.tile,
    ) as grid:  # fmt: skip
        for done in strategy.rounds(grid, ROUNDS):
            asked.append(strategy.invite(done.number).tolist())
            xs.append(strategy.descent.x.clone())
    return asked, xs


def close(got: Tensor, want: Tensor, start: Tensor) -> bool:
    """To float32 rounding of the way that was made."""
    moved = float((want - start).norm())
    return moved > 0 and float((got - want).norm()) <= 1e-4 * moved


@TINY
@pytest.mark.parametrize("which", [0, 1], ids=["some", "all"])
def test_the_bare_loop_and_the_engine_take_the_same_steps(world: World, which: int) -> None:
    setup, now = prepared(world), [0]
    asked, xs = engine(setup, world.cases[which])
    assert world.dim == setup.problem.dim
    for gradients in ways(setup, world, now).values():
        for tile in (2, 5):
            loop = Loop(gradients, setup.problem.x0(), world.clients, world.k, tile)
            for t in range(ROUNDS):
                now[0] = t + 1
                loop.round(torch.tensor(asked[t]) if which == 0 else None)
                assert close(loop.x, xs[t + 1], xs[0])


@TINY
def test_flowers_side_and_the_engine_take_the_same_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, now = prepared(world), [0]
    asked, xs = engine(setup, world.cases[0])
    gradients = next(iter(ways(setup, world, now).values()))
    monkeypatch.setattr(rival, "gradients", lambda name: gradients)
    server = rival.Server(setup.problem.x0(), world)
    with RayGrid(world.clients, app=rival.client, settings=Settings(0)) as grid:
        for t in range(ROUNDS):
            now[0] = t + 1
            server.round(grid, [client + 1 for client in asked[t]])
            assert close(server.x, xs[t + 1], xs[0])


def test_a_rival_that_steps_differently_is_told_apart() -> None:
    setup, now = prepared(SOFTMAX), [1]
    _, xs = engine(setup, SOFTMAX.cases[1])
    gradients = ways(setup, SOFTMAX, now)["batched"]
    for wrong in (Loop(gradients, xs[0], 12, SOFTMAX.k + 1, 4), Loop(lambda x, r: -gradients(x, r), xs[0], 12, 5, 4)):
        wrong.round()
        assert not close(wrong.x, xs[1], xs[0])


@TINY
def test_every_world_starts_all_sides_from_points_of_one_size(world: World) -> None:
    mine, ours = plain.start(world), prepared(world).problem.x0()
    assert mine.shape == ours.shape and (world.kind == "network" or mine.equal(ours))
    assert {q(mine, slice(0, 2)).shape for q in plain.ways(world).values()} == {(2, world.dim)}


def heard(measure: Callable[..., None], *arguments: Any) -> list[tuple[str, int]]:
    told = list[tuple[str, int]]()
    measure(*arguments, lambda case, seconds, how: told.append((case.name, len(seconds))))
    return told


def test_each_side_tells_every_case_with_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for measure in (resident.measure, measure_loop):
        assert heard(measure, SOFTMAX) == [("some", 2), ("all", 2)]
    gradients = plain.ways(SOFTMAX)["batched"]
    monkeypatch.setattr(rival, "gradients", lambda name: gradients)
    with RayGrid(12, app=rival.client, settings=Settings(0)) as grid:
        assert heard(rival.serve, grid, SOFTMAX) == [("some", 2), ("all", 2)]


def test_the_roofline_counts_bytes_and_operations_as_by_hand() -> None:
    found = {world.name: roofline.cost(world) for world in worlds(True)}
    batch, d = 20 * 784 * 4, 7_850 * 4
    assert found["logistic_1000"] == roofline.Cost(batch + d + 4 * d + 78 * 8, 2 * (2 * 20 * 784 * 10))
    assert found["d1e6_50"] == roofline.Cost(4 * 10**6 * (4 + 1 + 2) + 10**4 * 8, 2 * 10**6)
    first, second, last = (40 * m for m in (28 * 28 * 9 * 32, 14 * 14 * 32 * 9 * 64, 64 * 7 * 7 * 10))
    assert found["cnn_100"].operations == 2 * first + 3 * second + 3 * last  # the images need no gradient


def test_the_larger_term_binds() -> None:
    cost = roofline.Cost(bytes=1000, operations=3000)
    slow = roofline.Machine(bandwidth=1e6, rate=1e6).roofline(cost)
    assert slow["binds"] == "operations" and slow["clients_per_second"] == pytest.approx(1e6 / 3000)
    assert roofline.Machine(bandwidth=1e5, rate=1e6).roofline(cost)["binds"] == "memory"
    real = roofline.measure(floats=1000, size=8)
    assert real.bandwidth > 0 and real.rate > 0


def test_overhead_is_what_a_round_takes_beside_the_arithmetic() -> None:
    found = overhead.measure(overhead.world(clients=100, features=9, quick=True))
    assert [p["clients"] for p in found["points"]] == [1, 10, 100]
    for p in found["points"]:
        assert 0 < p["arithmetic_us"] < p["round_us"] and 0 < p["overhead_us"] < p["round_us"]


def test_the_fit_finds_the_line_it_was_given() -> None:
    assert overhead.fit([10, 100, 1000], [5000 + 40 * n for n in (10, 100, 1000)]) == pytest.approx((5000, 40))


def fake(module: str, *arguments: str) -> list[dict[str, Any]]:
    """What processes tell, without starting any: in the table, ours is 50 times Flower's and a fifth of the loop."""
    if module == "benchmarks.roofline":
        return [{"bandwidth": 2e10, "rate": 1e11, "peak_mib": 1.0}]
    if module == "benchmarks.overhead":
        point = {"clients": 10, "round_us": 9.0, "arithmetic_us": 4.0, "overhead_us": 5.0}
        return [{"us_per_client": 40.0, "ms_per_round": 5.0, "points": [point], "peak_mib": 1.0}]
    seconds = {"resident": 0.02, "flower": 1.0, "bare": 0.004}[arguments[1]]
    world = side.find(arguments[0], "--quick" in arguments)
    return [{"case": c.name, "peak_mib": 7.0} | side.rates(c.asked, [seconds], "") for c in world.cases]


def test_the_command_prints_one_object_with_every_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "tell_of", fake)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--json"])
    command.main()
    got = json.loads(capsys.readouterr().out)
    assert set(names()) == {"logistic_1000", "logistic_100_of_1000", "logistic_100", "cnn_100", "d1e6_50"}
    assert set(names()) | {"overhead", "machine", "environment"} == set(got)
    assert {"us_per_client", "ms_per_round"} <= set(got["overhead"])
    for name in names():
        row = got[name]
        assert row["vs_flower"] == pytest.approx(50) and row["vs_bare_loop"] == pytest.approx(0.2)
        assert row["peak_mib"] == 7 and set(row["sides"]) == set(side.SIDES)
        assert row["vs_roofline"] == pytest.approx(row["clients_per_second"] / row["roofline"]["clients_per_second"])


def test_the_command_prints_for_people_and_only_the_cases_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "tell_of", fake)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--cases", "cnn_100"])
    command.main()
    said = capsys.readouterr().out
    assert "cnn_100: 50.0x Flower's simulation, 0.20x the bare loop" in said and "operations binds" in said
    assert "logistic" not in said
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--cases", "cnn"])
    with pytest.raises(SystemExit):
        command.main()


def test_rates_are_of_the_median_round() -> None:
    got = side.rates(12, [1.0, 4.0, 2.0], "")
    assert (got["clients_per_second"], got["slowest"], got["fastest"]) == (6, 3, 12)


def test_growth_tells_the_largest_step_between_neighbours() -> None:
    along = [{"us_per_client": u, "dim": d} for u, d in ((10.0, 1000), (12.0, 10_000), (240.0, 100_000))]
    assert growth.worst("clients", along) == pytest.approx(20)
    assert growth.worst("dim", along) == pytest.approx(2)
    assert growth.worst("actors", along[:1]) == 1


@pytest.mark.parametrize("quick", [True, False])
def test_every_world_can_be_found_by_its_name_and_makes_a_scenario(quick: bool) -> None:
    everything = [*worlds(quick), *growth.points(quick)]
    assert len({world.name for world in everything}) == len(everything)
    for world in everything:
        assert side.find(world.name, quick) == world
        made = world.scenario()
        assert made.partition.clients == world.clients and made.method[0].gamma == GAMMA
        assert made.method[0].k == world.k and made.train.batch_size == BATCH


@pytest.mark.nightly
@pytest.mark.system
def test_both_sides_of_healing_end_alike_and_a_kill_is_asked_again() -> None:
    figures = healing.measure(healing.world(24, 9), seconds=0.0, kills=2)
    assert figures["rounds"] == 2 * healing.TURN
    assert all(heal["calls_again"] > 0 for heal in figures["heal"]) and len(figures["heal"]) == 2
