"""kill -9 of a SuperNode, of the ServerApp and of the SuperLink, each in the middle of a round.

It is the middle, because the proxy holds the answer of one device when that has computed and kept its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scenarios.auditing import audit
from tests.faulty_proxy import Fault, FaultyProxy
from tests.system import reference
from tests.system.fleet import Deployed, Running, deployed, needs_processes
from tests.system.scenarios import CLIENTS, answer, small

pytestmark = [pytest.mark.system, pytest.mark.nightly]

VICTIM, ROLE = 1, "node-1"
ALL = list(range(CLIENTS))
OTHERS = [0, 2]
OFFER = "push-messages"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    needs_processes()
    with deployed(tmp_path_factory.mktemp("fleet"), seconds=1500) as fleet:
        yield fleet


def held_in(fleet: Deployed, rounds: int, at: int, out: Path) -> Running:
    """A run in whose round `at` the victim has computed, and has not been heard."""
    fleet.proxies[0].begin([Fault("held", OFFER, (answer(at + 1),))])
    fleet.proxies[VICTIM].begin([Fault("held", OFFER, (answer(at),))])
    running = fleet.start(small(rounds), out)
    running.until(lambda: fleet.proxies[VICTIM].done("held"), f"client {VICTIM} answers round {at}")
    return running


def states(fleet: Deployed) -> Path:
    return fleet.fleet.node(VICTIM) / "state"


def sound(out: Path) -> None:
    """Nothing is lost of what was committed, and g is the sum of what the clients hold."""
    checks = audit(out)
    assert checks and all(check.good for check in checks), checks


def restart(fleet: Deployed, running: Running, meanwhile: Callable[[], object] = lambda: None) -> None:
    """The victim dies, something happens to its disk, and it comes back; what it had said is lost.

    The SuperLink takes it for alive, and does not let it in, until it has not been heard for a minute. Client 0 holds
    the next round up until then.
    """
    fleet.kill(ROLE)
    fleet.proxies[VICTIM].release(arrives=False)
    meanwhile()
    fleet.up()
    running.until(lambda: fleet.proxies[0].done("held"), "the next round")
    running.until(lambda: let_in(fleet.proxies[VICTIM]), "client 1 is back")
    fleet.proxies[0].release(arrives=True)


def let_in(proxy: FaultyProxy) -> bool:
    return any(one.path.endswith("/activate-node") and one.status == 200 for one in proxy.exchanges)


def test_a_supernode_that_is_killed_and_keeps_its_state_misses_rounds_and_nothing_else(
    fleet: Deployed, tmp_path: Path
) -> None:
    running = held_in(fleet, rounds=5, at=2, out=tmp_path / "run")
    restart(fleet, running)
    result = running.result()
    heard = reference.heard(running.out)
    assert heard[0] == heard[3] == heard[4] == ALL and heard[1] in (ALL, OTHERS)
    assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
    assert result.rounds["invariant_error"].max() < 1e-6
    sound(running.out)


def test_a_supernode_that_lost_its_state_is_repaired(fleet: Deployed, tmp_path: Path) -> None:
    def lost(round: int, disk: Path) -> None:
        if round == 2:
            reference.forget(disk, VICTIM)

    running = held_in(fleet, rounds=6, at=2, out=tmp_path / "run")
    restart(fleet, running, lambda: reference.forget(states(fleet), VICTIM))
    result = running.result()
    heard = reference.heard(running.out)
    assert heard[0] == heard[4] == heard[5] == ALL and heard[1] == OTHERS
    assert reference.again(running.out, tmp_path / "again", lost) == reference.digests(running.out)
    assert result.summary["methods"][0]["rejected_reasons"] == {"lacks": 1}
    assert result.rounds["invariant_error"].max() < 1e-6
    sound(running.out)


def test_a_supernode_that_comes_back_with_a_copy_five_rounds_old_is_repaired(fleet: Deployed, tmp_path: Path) -> None:
    backup = tmp_path / "backup"

    def old(round: int, disk: Path) -> None:
        if round == 3:
            reference.copy(disk, VICTIM, tmp_path / "reference")
        if round == 7:
            reference.restore(disk, VICTIM, tmp_path / "reference")

    proxy = fleet.proxies[VICTIM]
    fleet.proxies[0].begin([Fault("held", OFFER, (answer(8),))])
    proxy.begin([Fault("held", OFFER, (answer(2), answer(7)))])
    running = fleet.start(small(11), tmp_path / "run")
    running.until(lambda: proxy.done("held") == 1, "round 2")
    reference.copy(states(fleet), VICTIM, backup)
    proxy.release(arrives=True)
    running.until(lambda: proxy.done("held") == 2, "round 7")
    restart(fleet, running, lambda: reference.restore(states(fleet), VICTIM, backup))
    result = running.result()
    heard = reference.heard(running.out)
    assert heard[:6] == [ALL] * 6 and heard[6] == OTHERS and heard[9:] == [ALL] * 2
    assert result.summary["methods"][0]["rejected_reasons"] == {"lacks": 1}
    assert reference.again(running.out, tmp_path / "again", old) == reference.digests(running.out)
    assert result.rounds["invariant_error"].max() < 1e-6
    sound(running.out)


def test_a_server_app_that_is_killed_goes_on_as_if_it_had_not_been(fleet: Deployed, tmp_path: Path) -> None:
    running = held_in(fleet, rounds=4, at=2, out=tmp_path / "run")
    running.kill_server_app()
    for proxy in (fleet.proxies[0], fleet.proxies[VICTIM]):
        proxy.release(arrives=True)
    result = running.result()
    assert reference.heard(running.out) == [ALL] * 4
    assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
    assert len(running.starts) == 2 and result.rounds["invariant_error"].max() < 1e-6
    sound(running.out)


def test_a_superlink_that_is_killed_goes_on_as_if_it_had_not_been(fleet: Deployed, tmp_path: Path) -> None:
    running = held_in(fleet, rounds=4, at=2, out=tmp_path / "run")
    fleet.kill("superlink")
    for proxy in (fleet.proxies[0], fleet.proxies[VICTIM]):
        proxy.release(arrives=True)
    running.until(lambda: len(running.starts) == 2, "it goes on")
    fleet.up()  # SuperNodes that gave up are started again, as systemd would
    result = running.result()
    assert reference.heard(running.out) == [ALL] * 4
    assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
    assert result.rounds["invariant_error"].max() < 1e-6
    sound(running.out)
