"""Shards that die lose nothing: the run is bitwise the one that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from clients.asked import Answer
from clients.program import Program
from fl_ef21.commit import Block
from fl_ef21.engine import Keep, RayGrid, Settings, ShardLost
from fl_ef21.engine.keeper import Keeper
from fl_ef21.errors import Refused
from fl_ef21.image import Image
from fl_ef21.store import Memory
from fl_ef21.threads import computing_with
from fl_ef21.tiers import Place
from scenarios.setup import Setup, prepare
from strategies.flower import CompressedStrategy
from strategies.history import Kept
from strategies.rounds import Silence
from tests.small import ALL_METHODS, scenario

CLIENTS, ROUNDS = 48, 6
OFTEN = Keep(worth=0.0, share=1e9)  # images before every round
NEVER = Keep(worth=1e9)
DOWN = {"downlink": "topk:20"}
Trace = list[tuple[Any, ...]]
Before = Callable[[int, RayGrid], None]  # what happens before a round


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def prepared(**method: Any) -> Setup:
    return prepare(scenario(method=[ALL_METHODS[5] | method], partition={"clients": CLIENTS},
                            train={"participation": 0.6, "momentum_dtype": "bfloat16"}))  # fmt: skip


@pytest.fixture(scope="module")
def setup() -> Setup:
    return prepared(**DOWN)


@pytest.fixture(scope="module")
def calm(setup: Setup) -> Trace:
    with grid(setup, 0) as there:
        return train(setup, there)


def grid(setup: Setup, actors: int, heal: bool | Keep | None = None, place: Place | None = None) -> RayGrid:
    def build(block: range) -> Program:
        return setup.program(block, Memory(block, place=place, momentum=setup.momentum))

    settings = Settings(actors, cpus_per_actor=0.5)
    return RayGrid(CLIENTS, batched=build, settings=settings, tile=setup.tile, heal=heal)


def train(setup: Setup, grid: RayGrid, before: Before = lambda *_: None, rounds: int = ROUNDS) -> Trace:
    """What each round was, and the model after it; in the end, whether g is still what clients believe it to be."""
    strategy = setup.strategy(0, b"run")
    origins = [strategy.ledger.points[client] for client in range(CLIENTS)]
    strategy.history = Kept(strategy.adder.forms, strategy.dim, strategy.plan.dtype, origins)
    return list(going_on(strategy, grid, before, rounds))


def going_on(strategy: CompressedStrategy, grid: RayGrid, before: Before, rounds: int) -> Iterator[tuple[Any, ...]]:
    strategy.nodes.enrol(grid)
    before(1, grid)
    for done in strategy.rounds(grid, rounds):
        yield done.number, done.participants, done.refused, done.uplink_bytes, strategy.digest()
        before(done.number + 1, grid)
    yield strategy.audit(grid), strategy.digest()
    strategy.retire(grid)


def kills(moments: Sequence[tuple[int, int]]) -> Before:
    """Kill the shard of a client before a round."""

    def before(round: int, grid: RayGrid) -> None:
        for when, client in moments:
            if when == round:
                grid.kill(client)

    return before


# In this process ---------------------------------------------------------------------------------


KILLS = [(1, 0), (2, 0), (4, 0), (5, 0), (7, 0)]


@pytest.mark.parametrize("keep", [NEVER, OFTEN, Keep(limit=2000)], ids=["log", "images", "little log"])
def test_a_shard_killed_before_any_round_is_what_it_was(setup: Setup, calm: Trace, keep: Keep) -> None:
    with grid(setup, 0, heal=keep) as there:
        assert train(setup, there, kills(KILLS)) == calm


@pytest.mark.parametrize("method", [{}, ALL_METHODS[1]], ids=["model sent", "no state"])
def test_so_it_is_for_other_methods(method: dict[str, Any]) -> None:
    setup = prepared(**method)
    with grid(setup, 0) as there:
        calm = train(setup, there)
    with grid(setup, 0, heal=OFTEN) as there:
        assert train(setup, there, kills(KILLS[2:])) == calm


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_mapped_state_heals_too(setup: Setup, calm: Trace, budget: int, tmp_path: Path) -> None:
    place = Place("mapped", folder=tmp_path, budget=budget)
    with grid(setup, 0, heal=OFTEN, place=place) as there:
        assert train(setup, there, kills([(2, 0), (5, 0)])) == calm


def test_without_healing_a_killed_shard_has_lost_everything(setup: Setup) -> None:
    with grid(setup, 0) as there, pytest.raises(Silence, match="lacks"):
        train(setup, there, kills([(4, 0)]))


def test_clients_that_are_wiped_stay_wiped_when_their_shard_dies(setup: Setup) -> None:
    def wiping(round: int, grid: RayGrid) -> None:
        if round == 4:
            grid.wipe(range(30))

    def killing(round: int, grid: RayGrid) -> None:
        wiping(round, grid)
        kills([(4, 0), (6, 0)])(round, grid)

    for keep in (OFTEN, NEVER):
        traces = []
        for before in (wiping, killing):
            with grid(setup, 0, heal=keep) as there:
                traces.append(train(setup, there, before))
        assert traces[0] == traces[1]
        assert traces[0][3][2]["lacks"] > 5 and not traces[0][2][2]  # and then the server repairs them


class Moving:
    """A Grid that is another from some round on: the clients' state moves from one to the next in images."""

    def __init__(self, setup: Setup, grids: Sequence[RayGrid], most: int) -> None:
        self._grids, self._most = list(grids), most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grids[0], name)

    def move(self, round: int, _: Any) -> None:
        if round > 1 and len(self._grids) > 1:
            images = list[Image]()
            self._grids.pop(0).save(images.append, self._most)
            self._grids[0].load(reversed(images))


@pytest.mark.parametrize("most", [1 << 28, 20_000])
@pytest.mark.parametrize("method", [DOWN, ALL_METHODS[1]], ids=["downlink", "no state"])
def test_images_hold_all_that_it_takes_to_go_on_elsewhere_bitwise(method: dict[str, Any], most: int) -> None:
    setup = prepared(**method)
    with grid(setup, 0) as a, grid(setup, 0, heal=NEVER) as b, grid(setup, 0) as c, grid(setup, 0, heal=OFTEN) as d:
        calm = train(setup, a)
        moving: Any = Moving(setup, [a, b, c, d], most)
        assert train(setup, moving, moving.move) == calm


def test_images_of_another_scenario_are_refused(setup: Setup) -> None:
    images = list[Image]()
    with grid(setup, 0) as there:
        strategy = setup.strategy(0, b"run")
        for _ in strategy.rounds(there, 2):
            pass
        there.save(images.append)
    other = prepare(scenario(method=[ALL_METHODS[3]], partition={"clients": CLIENTS}))
    with grid(other, 0) as there, pytest.raises(Refused, match=r"image: the image is of clients.ef21_sgd2m.State"):
        there.load(images)
    wide = prepare(scenario(method=[ALL_METHODS[5]], partition={"clients": CLIENTS}))
    with (
        grid(wide, 0) as there,
        pytest.raises(Refused, match=r"is torch\.bfloat16 in the image and kept as torch\.float32"),
    ):
        there.load(images)


def test_images_come_before_the_first_message(setup: Setup) -> None:
    images = list[Image]()
    with grid(setup, 0, heal=True) as there:
        for _ in setup.strategy(0, b"run").rounds(there, 1):
            pass
        there.save(images.append)
        with pytest.raises(ValueError, match="before the first message"):
            there.load(images)


def test_the_log_does_not_grow_beyond_its_limit_and_ends_with_the_method(setup: Setup) -> None:
    seen, limit = list[int](), 20_000
    with grid(setup, 0, heal=Keep(limit=limit, worth=1e9)) as there:
        keeper: Any = there._pool._keeper  # type: ignore[attr-defined]

        def look(round: int, grid: RayGrid) -> None:
            seen.append(keeper.nbytes)

        train(setup, there, look, rounds=20)
        each = max(b - a for a, b in pairwise(seen))
        assert 1 < keeper.taken < 20 and max(seen) < limit + each < 20 * each
        there._pool.begin()
        assert keeper.nbytes == 0 and not list(keeper.images(0)) and not keeper.logs[0].entries


def test_images_wait_until_they_cost_little_of_the_time_that_shards_work() -> None:
    now = [0.0]
    keeper = Keeper(1, Keep(worth=5.0, share=1 / 128), clock=lambda: now[0])

    def work(seconds: float) -> None:
        entry = keeper.add(0, "wipe", ([1],))
        now[0] += seconds
        keeper.finish(entry)
        now[0] += 50  # others work

    def take() -> Iterator[tuple[int, Image]]:
        now[0] += 0.25
        yield from ()

    due = list[bool]()
    for _ in range(80):
        work(1.0)
        due.append(keeper.due())
        if due[-1]:
            keeper.renew(1 << 20, take())
    assert [at for at, one in enumerate(due) if one] == [4, 36, 68]  # a quarter of a second is a 128th of 32
    assert keeper.taken == 3


def test_where_images_find_no_room_the_run_goes_on_and_says_what_is_lost(
    setup: Setup, calm: Trace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fl_ef21.engine.keeper.room", lambda folder, nbytes: False)
    with grid(setup, 0, heal=Keep(limit=10_000)) as there:
        assert train(setup, there) == calm
    assert sum("name a folder on a larger disk" in record.message for record in caplog.records) == 1


# In Ray's actors ---------------------------------------------------------------------------------


class Killer:
    """Ends the process of a shard some seconds from now, whatever it does then, as the system may."""

    def __init__(self, grid: RayGrid, shard: int, seconds: float) -> None:
        self._pids: dict[int, int] = grid._pool._pids  # type: ignore[attr-defined]
        self.shard, self.killed = shard, False
        self._timer = threading.Timer(seconds, self._kill)

    def __enter__(self) -> Killer:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.join()

    def _kill(self) -> None:
        os.kill(self._pids[self.shard], signal.SIGKILL)
        self.killed = True


@pytest.mark.system
@pytest.mark.parametrize(
    ("actors", "keep"), [pytest.param(1, NEVER, marks=pytest.mark.nightly), (2, OFTEN)], ids=["1, log", "2, images"]
)
def test_actors_killed_between_rounds_and_while_they_compute_change_nothing(
    setup: Setup, calm: Trace, actors: int, keep: Keep
) -> None:
    def ending(round: int, grid: RayGrid) -> None:
        if round == 3:
            grid.kill(0)
            grid.kill(CLIENTS - 1)

    with grid(setup, actors, heal=keep) as there:
        assert train(setup, there, ending) == calm
        with Killer(there, actors - 1, random.Random(actors).uniform(0.2, 1.0)) as killer:
            while not killer.killed:
                assert train(setup, there) == calm
        assert train(setup, there) == calm


@pytest.mark.system
def test_state_goes_from_this_process_into_actors_on_files_and_back(setup: Setup, calm: Trace, tmp_path: Path) -> None:
    mapped = Place("mapped", folder=tmp_path, budget=1 << 16)
    with grid(setup, 0) as a, grid(setup, 2, place=mapped) as b, grid(setup, 0) as c:
        moving: Any = Moving(setup, [a, b, c], 50_000)

        def move(round: int, there: RayGrid) -> None:
            if round in (3, 5):
                moving.move(round, there)
            if round == 4:
                moving.kill(0)

        assert train(setup, moving, move) == calm


class Dying(Program):
    """Ends its process when it is asked anything in round 3."""

    def answer(self, x: Tensor | None, clients: Sequence[int], packed: Sequence[bytes], *more: Any) -> list[Answer]:
        if any(Block.unpack(one).round == 3 for one in packed):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(x, clients, packed, *more)


@pytest.mark.system
def test_a_shard_that_dies_whenever_it_is_asked_the_same_is_named(setup: Setup) -> None:
    def build(block: range) -> Program:
        program = setup.program(block, Memory(block, momentum=setup.momentum))
        program.__class__ = Dying if 47 in block else Program
        return program

    rounds = list[int]()
    with (
        RayGrid(CLIENTS, batched=build, settings=Settings(2, cpus_per_actor=0.5), tile=setup.tile) as there,
        pytest.raises(ShardLost, match=r"shard 1 \(clients \d+ to 47\) has died 3 times in a row without getting"),
    ):
        for done in setup.strategy(0, b"run").rounds(there, ROUNDS):
            rounds.append(done.number)
    assert rounds == [1, 2]


@pytest.mark.nightly
@pytest.mark.system
def test_a_hundred_kills_in_a_hundred_rounds_change_nothing(setup: Setup) -> None:
    draw, killed = random.Random(5), list[int]()

    def ending(round: int, grid: RayGrid) -> None:
        killed.append(draw.randrange(CLIENTS))
        grid.kill(killed[-1])

    with grid(setup, 0) as there:
        calm = train(setup, there, rounds=100)
    with grid(setup, 2, heal=Keep(worth=0.5, share=1e9)) as there:
        assert train(setup, there, ending, rounds=100) == calm
    assert len(killed) > 100


@pytest.mark.nightly
@pytest.mark.system
def test_where_the_log_was_given_up_a_shard_begins_anew_and_the_server_repairs_its_clients(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_ef21.engine.keeper.room", lambda folder, nbytes: False)
    with grid(setup, 2, heal=Keep(limit=1)) as there:
        trace = train(setup, there, kills([(3, CLIENTS - 1)]), rounds=12)
    refused = [sum(done[2].values()) for done in trace[:-1]]
    assert refused[:2] == [0, 0] and refused[2] > 0 and refused[-1] == 0
    assert trace[-1][0] < 1e-6
