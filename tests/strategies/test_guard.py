"""Limits on what clients hold in g: who is refused, who never is, and what has to be computed for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.guard import SAMPLE, Guard, Limits, Verdict

N, D = 6, 4
EVERYBODY = np.arange(N)


class World:
    """Clients' vectors as they are, beside a guard that only sees norms."""

    def __init__(self, limits: Limits, n: int = N, remembers: bool = True) -> None:
        self.guard, self.g, self.asked, self.remembers = Guard(limits, n), np.zeros((n, D)), 0, remembers

    def exact(self, clients: np.ndarray, c: np.ndarray) -> Callable[[int], float]:
        def norm(at: int) -> float:
            self.asked += 1
            return float(np.linalg.norm(self.g[clients[at]] + c[at]))

        return norm

    def round(self, clients: np.ndarray, c: np.ndarray) -> Verdict:
        verdict = self.guard.judge(
            clients, np.linalg.norm(c, axis=1), self.exact(clients, c) if self.remembers else None
        )
        good = np.setdiff1d(np.arange(len(clients)), list(verdict.refused))
        self.g[clients[good]] += c[good]
        assert verdict.clients.tolist() == clients[good].tolist()
        self.guard.commit(verdict)
        return verdict


@given(seed=st.integers(0, 2**32), limit=st.floats(0.5, 20))
@settings(max_examples=50, deadline=None)
def test_a_message_is_refused_if_and_only_if_it_leads_beyond_the_limit(seed: int, limit: float) -> None:
    world, rng = World(Limits(norm=limit, times_median=0)), np.random.default_rng(seed)
    for _ in range(20):
        clients = np.sort(rng.permutation(N)[:4])
        c = rng.standard_normal((4, D)) * 10 ** rng.uniform(-2, 1, (4, 1))
        too_far = np.linalg.norm(world.g[clients] + c, axis=1) > limit
        assert sorted(world.round(clients, c).refused) == np.flatnonzero(too_far).tolist()
        assert (np.linalg.norm(world.g, axis=1) <= world.guard.bound * (1 + 1e-12)).all()


def test_clients_a_thousand_times_as_long_as_others_are_no_reason() -> None:
    world, rng = World(Limits()), np.random.default_rng(0)
    for _ in range(300):
        c = rng.standard_normal((N, D)) * 10.0 ** np.linspace(-3, 3, N)[:, None]
        assert not world.round(EVERYBODY, c).refused


def test_one_huge_increment_is_refused_and_changes_nothing() -> None:
    world = World(Limits())
    world.round(EVERYBODY, np.ones((N, D)))
    before, c = world.g.copy(), np.ones((N, D))
    c[2] *= 1e6
    refused = world.round(EVERYBODY, c).refused
    assert list(refused) == [2] and refused[2].reason == "norm" and "client 2" in refused[2].detail
    assert (world.g[2] == before[2]).all() and world.guard.bound[2] == np.linalg.norm(before[2])


def test_small_steps_lead_no_further_than_a_large_one() -> None:
    world, c = World(Limits(times_median=50)), np.zeros((N, D))
    world.round(EVERYBODY, np.ones((N, D)))
    c[1] = 10
    stopped = [bool(world.round(EVERYBODY, c).refused) for _ in range(20)]
    assert stopped == [False] * 4 + [True] * 16 and np.linalg.norm(world.g[1]) <= 50 * 2


def test_who_walks_back_and_forth_is_measured_and_let_pass() -> None:
    world = World(Limits(times_median=50))
    world.round(EVERYBODY, np.ones((N, D)))
    world.asked = 0
    for round in range(500):
        assert not world.round(EVERYBODY, np.full((N, D), (-1.0) ** round)).refused
    assert world.asked <= 2 * N * 500 / 45  # once in as many rounds as the bound takes to pass the limit


def test_where_everybody_grows_nobody_is_to_blame() -> None:
    world = World(Limits(times_median=100))
    for round in range(40):
        assert not world.round(EVERYBODY, np.full((N, D), 3.0**round)).refused
    assert world.guard.typical is not None and world.guard.typical > 1e6


def test_of_many_only_some_are_measured() -> None:
    n = 20 * SAMPLE
    world, c = World(Limits(), n), np.ones((n, D))
    world.round(np.arange(n), c)
    assert world.asked == 0
    c[7] = 1e9
    assert list(world.round(np.arange(n), c).refused) == [7] and world.asked <= SAMPLE + 1


def test_where_the_median_is_zero_there_is_no_limit() -> None:
    world, c = World(Limits()), np.zeros((N, D))
    c[0] = 5
    assert not world.round(EVERYBODY, c).refused and not world.round(EVERYBODY, 1e9 * c).refused


def test_a_method_that_remembers_nothing_is_judged_by_the_message() -> None:
    world, c = World(Limits(norm=10.0, times_median=0), remembers=False), np.full((N, D), 4.0)
    for _ in range(5):
        assert not world.round(EVERYBODY, c).refused
    assert len(world.round(EVERYBODY, 2 * c).refused) == N


def test_so_many_strikes_and_a_client_is_out() -> None:
    guard = Guard(Limits(strikes=3), N)
    assert [guard.strike(4) for _ in range(4)] == [False, False, True, False]
    assert guard.out.tolist() == [i == 4 for i in range(N)]


def test_an_image_goes_on_as_the_original() -> None:
    world, other = World(Limits(times_median=50)), Guard(Limits(times_median=50), N)
    world.round(EVERYBODY, np.ones((N, D)))
    world.guard.strike(3)
    tensors, note = world.guard.image()
    other.restore(tensors, note)
    world.guard.strike(3)
    assert other.strikes[3] == 1
    c = np.full((N, D), 30.0)
    norms, exact = np.linalg.norm(c, axis=1), world.exact(EVERYBODY, c)
    one, same = (guard.judge(EVERYBODY, norms, exact) for guard in (world.guard, other))
    assert one.typical == same.typical and (one.after == same.after).all()
