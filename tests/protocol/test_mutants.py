"""The harness finds a protocol that lacks one of its rules, or the rule is one that another makes needless."""

from __future__ import annotations

import pytest

from tests.protocol import mutants
from tests.protocol.mutants import Mutant
from tests.protocol.play import play
from tests.protocol.replay import fault
from tests.protocol.schedule import Schedule, drawn

WITHIN = 500  # schedules
FOUND = [
    mutants.no_hash_chain, mutants.no_fencing, mutants.no_fencing_of_clients, mutants.no_duplicate_check,
    mutants.commit_on_send_for_good, mutants.no_base_check, mutants.float32_sum,
]  # fmt: skip
NEEDLESS = {
    # a reply names the sequence number that is open, the instruction with this number named the point, and a client
    # that is not there says so: the point in a reply tells nothing new. Looking at it costs nothing.
    mutants.no_base_check_of_the_server: "fencing",
    # a client that committed what the server does not hold is at another point, says that it lacks something and is
    # repaired: hash chain and history are the safety. Staging is for efficiency, as a test below measures.
    mutants.commit_on_send: "repair",
}


def caught(mutant: Mutant, patch: pytest.MonkeyPatch, within: int) -> int | None:
    """The first seed whose schedule breaks it."""
    mutant(patch)
    return next((seed for seed in range(within) if fault(drawn(seed))), None)


@pytest.mark.parametrize("mutant", FOUND, ids=lambda m: m.__name__)
def test_a_protocol_without_one_of_its_rules_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caught(mutant, monkeypatch, WITHIN) is not None


def quiet() -> Schedule:
    return drawn(0).undisturbed


@pytest.mark.parametrize("mutant", [m for m in FOUND if m is not mutants.float32_sum], ids=lambda m: m.__name__)
def test_where_nothing_fails_nobody_would_know(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert fault(quiet()) == ""


@pytest.mark.parametrize("within", [20, pytest.param(WITHIN, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("mutant", NEEDLESS, ids=lambda m: m.__name__)
def test_a_rule_that_another_makes_needless_may_go(
    mutant: Mutant, within: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caught(mutant, monkeypatch, within) is None


def test_staging_spares_repairs_and_rounds_without_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def committed() -> int:
        return sum(play(drawn(seed)).updates for seed in range(40))

    staged = committed()
    mutants.commit_on_send(monkeypatch)
    assert committed() < staged
