"""A server put back from an image, and rounds made again from what they changed, are what they were."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from fl_ef21.errors import Refused
from strategies.rounds import Commit
from tests.strategies.kept import EF14, SGDM, Run, setup_of

CASES: list[dict[str, Any]] = [
    SGDM,
    EF14,
    SGDM | {"downlink": "topk:2"},
    SGDM | {"optimizer": "adam"},
    SGDM | {"optimizer": "momentum"},
]
cases = pytest.mark.parametrize("method", CASES, ids=["ef21-sgdm", "ef14", "downlink", "adam", "momentum"])


def through_json(note: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(note))  # type: ignore[no-any-return]


@cases
def test_who_goes_on_from_an_image_goes_where_the_other_goes(method: dict[str, Any]) -> None:
    run = Run(setup_of(method))
    run.to(4)
    tensors, note = run.strategy.image()
    kept = {name: value.clone() for name, value in tensors.items()}
    first, second = run, Run(run.setup, run.store)
    second.strategy.restore(tensors, through_json(note))
    second.strategy.ledger.term = 2
    assert second.strategy.digest() == first.strategy.digest()
    second.to(8)  # on the clients of the first, who have not heard of a second term yet
    other = Run(run.setup)
    other.to(8)
    assert second.strategy.digest() == other.strategy.digest()
    assert second.strategy.last == other.strategy.last
    assert all(torch.equal(kept[name], tensors[name]) for name in kept)  # an image shares nothing with the server


@cases
def test_rounds_are_made_again_without_the_clients(method: dict[str, Any]) -> None:
    run, commits = Run(setup_of(method)), list[Commit]()
    for number in run.rounds(6):
        commits.append(run.strategy.commit())
        if number == 3 and run.strategy.server.remembers:
            run.strategy.leave(1)
        if number == 5:
            run.strategy.join(1)
    assert [commit.left for commit in commits] == [(), (), (), (1,) if run.strategy.server.remembers else (), (), ()]
    again = run.server()
    for commit in commits:
        again.redo(commit)
    assert again.digest() == run.strategy.digest()
    assert torch.equal(again.descent.x, run.strategy.descent.x)


def test_a_round_that_was_altered_is_told() -> None:
    run, again = Run(setup_of(SGDM)), None
    for number in run.rounds(2):
        commit = run.strategy.commit()
        again = again or run.server()
        if number == 1:
            again.redo(commit)
    assert again is not None
    swapped = replace(commit, clients=commit.clients[::-1].copy())
    with pytest.raises(Refused, match="round 2 of 'ef21-sgdm' does not come to what it came to then"):
        again.redo(swapped)


def test_an_image_of_another_method_or_an_altered_one_is_refused() -> None:
    run = Run(setup_of(SGDM))
    run.to(2)
    tensors, note = run.strategy.image()
    with pytest.raises(Refused, match="of 'ef21-sgdm' with"):
        Run(setup_of(EF14)).strategy.restore(tensors, note)
    tensors["descent:x"][0] += 1
    with pytest.raises(Refused, match="is not what was taken"):
        run.server().restore(tensors, note)


def test_a_server_of_an_older_term_is_not_followed_any_more() -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    run.to(3)
    second = Run(run.setup, run.store)
    second.strategy.restore(*run.strategy.image())
    second.strategy.ledger.term = 2
    second.to(4)
    assert second.strategy.last.participants == 5
    run.to(4)
    assert run.strategy.last.refused == {"stale": 5} and run.strategy.last.participants == 0
    second.to(5)
    assert second.strategy.last.participants == 5 and second.error() < 1e-14
