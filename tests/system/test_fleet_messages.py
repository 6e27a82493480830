"""Requests of a SuperNode that are lost, cut, repeated and overtaken on the way: one application, the same digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_proxy import Exchange, Fault, FaultyProxy
from tests.system import reference
from tests.system.fleet import Deployed, deployed, needs_processes
from tests.system.scenarios import CLIENTS, answer, small

pytestmark = [pytest.mark.system, pytest.mark.nightly]

ALL = list(range(CLIENTS))
OFFER, BRING, ASK = "push-messages", "push-object", "pull-messages"
ONCE, FIRST, THIRD = range(1, 60), answer(1), answer(3)
FAULTS = {
    "offers are lost": [Fault("lost", OFFER, (FIRST, THIRD))],
    "objects are lost": [Fault("lost", BRING, (7, 9, 14))],
    "answers to objects are cut after they were taken": [Fault("cut", BRING, (7, 9, 14))],
    "objects arrive twice": [Fault("twice", BRING, ONCE)],
    "offers of one round arrive again in the next": [Fault("replayed", OFFER, ONCE)],
    "looks for messages are lost": [Fault("lost", ASK, (2, 5, 6))],
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    needs_processes()
    with deployed(tmp_path_factory.mktemp("fleet"), seconds=1500) as fleet:
        yield fleet


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_of_the_network_changes_nothing(what: str, fleet: Deployed, tmp_path: Path) -> None:
    proxy = fleet.proxies[1]
    proxy.begin(FAULTS[what])
    result = fleet.run(small(4), tmp_path / "run")
    done = sum(proxy.done(word) for word in {fault.what for fault in FAULTS[what]})
    assert done >= 2, [one for one in proxy.exchanges if one.fault]
    assert reference.heard(tmp_path / "run") == [ALL] * 4
    assert reference.again(tmp_path / "run", tmp_path / "again") == reference.digests(tmp_path / "run")
    assert result.rounds["invariant_error"].max() < 1e-6


def test_an_offer_whose_answer_is_cut_is_lost_at_the_most(fleet: Deployed, tmp_path: Path) -> None:
    """Flower's SuperLink may have handed the offer on, and refuses it the second time: then its objects never come, and
    after minutes Flower says so."""
    proxy = fleet.proxies[1]
    proxy.begin([Fault("cut", OFFER, (answer(2),))])
    result = fleet.run(small(4), tmp_path / "run")
    heard = reference.heard(tmp_path / "run")
    assert proxy.done("cut") == 1
    assert heard[0] == heard[2] == heard[3] == ALL and heard[1] in (ALL, [0, 2])
    assert reference.again(tmp_path / "run", tmp_path / "again") == reference.digests(tmp_path / "run")
    assert result.rounds["invariant_error"].max() < 1e-6


def test_offers_that_arrive_twice_are_lost_at_the_most(fleet: Deployed, tmp_path: Path) -> None:
    """Where nobody has looked in between, Flower's SuperLink wants the objects for the second offer, and refuses those
    that the device brings for the first. Who says who it is is asked again after a while."""
    proxy = fleet.proxies[1]
    proxy.begin([Fault("twice", OFFER, range(1, answer(4) + 1))])
    result = fleet.run(small(4, timeout=20.0), tmp_path / "run")
    heard = reference.heard(tmp_path / "run")
    assert proxy.done("twice") >= 4
    assert len(heard) == 4 and all(one in (ALL, [0, 2]) for one in heard)
    assert reference.again(tmp_path / "run", tmp_path / "again") == reference.digests(tmp_path / "run")
    assert result.rounds["invariant_error"].max() < 1e-6


def test_an_answer_that_is_late_is_refused_and_the_next_one_taken(fleet: Deployed, tmp_path: Path) -> None:
    """The answer of round 2 arrives in round 3, before that of round 3."""
    proxy = fleet.proxies[1]
    proxy.begin([Fault("held", OFFER, (answer(2),))])
    running = fleet.start(small(5, timeout=20.0), tmp_path / "run")
    running.until(lambda: proxy.done("held"), "round 2")
    running.until(lambda: running.rounds() >= 2, "round 2 is over without client 1")
    proxy.release(arrives=True)
    result = running.result()
    heard = reference.heard(running.out)
    assert heard[1] == [0, 2] and heard[0] == heard[3] == heard[4] == ALL  # in round 3 it may still have been busy
    assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
    assert result.rounds["invariant_error"].max() < 1e-6


def test_answers_of_two_clients_overtake_one_another(fleet: Deployed, tmp_path: Path) -> None:
    """Client 0 is heard last in round 2 and first in round 3: sums are in client order, whoever comes first."""
    first, second = fleet.proxies[0], fleet.proxies[2]
    first.begin([Fault("held", OFFER, (answer(2),))])
    second.begin([Fault("held", OFFER, (answer(3),))])
    running = fleet.start(small(4), tmp_path / "run")
    running.until(lambda: first.done("held"), "round 2")
    running.until(lambda: len(offers(second)) >= answer(2), "client 2 answers first")
    first.release(arrives=True)
    running.until(lambda: second.done("held") and len(offers(first)) >= answer(3), "client 0 answers first")
    second.release(arrives=True)
    running.result()
    assert reference.heard(running.out) == [ALL] * 4
    assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)


def offers(proxy: FaultyProxy) -> list[Exchange]:
    """Those that were answered."""
    return [one for one in proxy.exchanges if one.path.endswith(OFFER) and one.status]
