"""Every order of messages and faults, for few rounds: nothing breaks the sum, and whoever was lost comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.protocol import explorer, mutants
from tests.protocol.explorer import Explorer, answered, asking, hearing, held, takes_part


@pytest.fixture(autouse=True)
def nothing_is_known_yet() -> Iterator[None]:
    """What was worked out under a mutant holds for it alone."""
    yield
    for known in (answered, asking, hearing, held):
        known.cache_clear()


@pytest.mark.parametrize(("rounds", "faults"), [(2, 2), (3, 2), pytest.param(2, 3, marks=pytest.mark.nightly)])
def test_no_order_of_messages_and_faults_breaks_the_sum(rounds: int, faults: int) -> None:
    search = Explorer(rounds, faults)
    assert search.run() == ""
    assert search.states > 1_000  # it went somewhere
    assert any(len(server.committed) == rounds for server in search.servers.values)


def test_whatever_became_of_a_client_it_takes_part_again() -> None:
    search = Explorer(2, 2)
    search.run()
    together = {(server, disk) for server, disks, *_ in search.seen for disk in disks}
    assert len(together) > 100
    for server, disk in together:
        assert takes_part(search.servers.values[server], search.disks.values[disk])


def test_it_finds_a_protocol_without_a_hash_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.no_hash_chain(monkeypatch)
    assert "has another g" in Explorer(3, 1).run()


def test_it_explores_what_the_server_really_does() -> None:
    """The points of a server are those of the ledger of a strategy."""
    assert explorer.Server().point == explorer.STRATEGY.ledger.points[0]
