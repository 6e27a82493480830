"""The suite for methods finds each broken promise of a half, on the engine too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from clients import METHODS
from clients.ef21 import EF21SGD, EF21SGDM, MemoryState, State
from fl_ef21.checking.claims import Broken
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from fl_ef21.threads import computing_with
from fl_ef21.types import Compress, Vector
from scenarios.checking import halves, methods
from scenarios.checking.small import Subject, rule_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("fl_ef21.engine.grid.gc.collect", lambda: 0)
    with computing_with(1):
        yield


@dataclass(frozen=True)
class InPlace(EF21SGDM):
    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        s.v.mul_(1 - self.eta).add_(self.eta * q)
        c = C(s.v - s.g)
        return State(s.v, s.g + c), c


@dataclass(frozen=True)
class OnItsWay(EF21SGD):
    """Changes the gradient that it was given."""

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(q.sub_(s.g))
        return MemoryState(s.g + c), c


@dataclass(frozen=True)
class Sociable(EF21SGD):
    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(q - s.g - q.mean(dim=0))
        return MemoryState(s.g + c), c


@dataclass(frozen=True)
class Chancy(EF21SGD):
    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(q - s.g + 1e-3 * torch.randn_like(q))
        return MemoryState(s.g + c), c


@dataclass(frozen=True)
class Forgetful(EF21SGD):
    """Its g is not what the server has been told."""

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(q - s.g)
        return MemoryState(s.g + 1.01 * c.dense()), c


@dataclass(frozen=True)
class Wordy(EF21SGD):
    """Sends whole vectors and says that it compresses."""

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        from fl_ef21.messages import whole

        return MemoryState(q), whole(q - s.g)


@dataclass(frozen=True)
class Counting(EF21SGD):
    """A state that is no vector."""

    def start(self, q: Vector) -> Any:
        return replace(super().start(q), g=q[:, 0])


@dataclass
class Thawed(EF21SGD.__mro__[-1]):  # type: ignore[misc]
    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True


BROKEN: list[tuple[type[Any], Any, str]] = [
    (InPlace, halves.leaves_its_inputs_alone, r"step changed state\.v in place"),
    (OnItsWay, halves.leaves_its_inputs_alone, "step changed what it was given in place"),
    (Sociable, halves.clients_are_alone, "the message of client 0 is another one where it is computed alone"),
    (Chancy, halves.answers_alike_twice, "gave two messages"),
    (Forgetful, methods.keeps_the_sum, r"\|g - sum_i w_i g_i\| / \|g\| = \d"),
    (Forgetful, methods.keeps_the_sum_in_float32, r"\|g - sum_i w_i g_i\| / \|g\| = \d"),
    (Wordy, halves.messages_are_what_it_says, "message = 'compressed' is not what it sends"),
    (Wordy, methods.keeps_the_sum, "its messages are refused"),
    (Counting, halves.says_what_it_must, r"state\.g is \(5,\) torch.float64; every field is an \(n, d\) tensor"),
    (Thawed, halves.says_what_it_must, "Thawed must be a frozen dataclass"),
]


@pytest.mark.parametrize(("half", "holds", "told"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_found_and_told(
    half: type[Any], holds: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, half.__name__, half)
    monkeypatch.setattr("scenarios.schema_words.METHODS", [half.__name__])
    with pytest.raises(Broken, match=told):
        holds(Subject(half.__name__))


@pytest.mark.parametrize("name", ["ef21-sgdm", "ef14", "sgdm", "marina"])
def test_nothing_is_found_in_the_halves_of_ours(name: str) -> None:
    for holds in (
        halves.says_what_it_must, halves.leaves_its_inputs_alone, halves.answers_alike_twice, halves.clients_are_alone,
        halves.messages_are_what_it_says,
    ):  # fmt: skip
        holds(Subject(name))


@pytest.mark.nightly
@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_found_in_ours(name: str) -> None:
    needed = {
        "ef21-prox": "method.prox=l1:0.001",
        "ef21-bc": "method.downlink=topk:2",
        "ef21-p": "method.downlink=topk:2",
    }
    subject = Subject(name, (needed[name],) if name in needed else ())
    assert [finding.told for finding in methods.suite(subject) if not finding.holds] == []


def test_a_method_is_held_beside_another_one() -> None:
    assert methods.equals(Subject("ef21-sgdm", ("method.eta=1.0",)), "ef21-sgd")
    with pytest.raises(Broken, match="iterates differ by up to"):
        methods.equals(Subject("ef21-sgdm"), "ef21-sgd")


def test_it_is_told_what_a_method_is_without_compression() -> None:
    assert methods.is_sgd_without_compression(Subject("ef21-sgd2m")) == "it is SGD"
    assert "it is not SGD" in (methods.is_sgd_without_compression(Subject("ef21-hb")) or "")


@pytest.mark.parametrize("word", ["nowhere.py", "rule", "given.py:none"])
def test_an_oracle_that_is_not_there_is_named(word: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--oracle"):
        rule_of(word)
