"""The suite for compressors finds each broken promise, and nothing where none is broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.checking.card import row
from fl_ef21.checking.suite import suite
from fl_ef21.checking.tiles import draw, keys, shapes
from fl_ef21.compressors.short import named
from fl_ef21.compressors.topk import TopK
from fl_ef21.messages import Compressed, Floats, Indices, whole

D = 30


@dataclass(frozen=True)
class Top(TopK):
    """TopK with three coordinates, to be broken."""

    k: int = 3


@dataclass(frozen=True)
class Boasting(Top):
    def alpha(self, dim: int) -> float:
        return 0.5


@dataclass(frozen=True)
class Halfhearted(Top):
    @property
    def contractive(self) -> bool:
        return False


@dataclass(frozen=True)
class Rounding(Top):
    """Rounds what it says, and sends it exactly."""

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        c = super().__call__(u, keys)
        return Said(c.dim, c.counts, c.support, c.values)


class Said(Compressed):
    def dense(self) -> Tensor:
        return super().dense().to(torch.float16).to(torch.float64)


@dataclass(frozen=True)
class Sociable(Top):
    """The largest of all rows say which coordinates are sent."""

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        n, d = u.shape
        at = u.abs().sum(dim=0).topk(self.k).indices.sort().values.expand(n, -1)
        return Compressed(d, torch.full((n,), self.k), Indices(at.flatten()), Floats(u.gather(1, at).flatten()))


@dataclass(frozen=True)
class Aliasing(Top):
    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        c = whole(u)
        return replace(c, values=Floats(u.view(-1)))


@dataclass(frozen=True)
class Greedy(Top):
    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        return super().__call__(u + 1e-3, keys)


@dataclass(frozen=True)
class Chancy(Top):
    """Draws from torch's own stream."""

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        return super().__call__(u * (1 - 1e-9 * torch.rand(1, dtype=u.dtype)), keys)


@dataclass(frozen=True)
class Hiding(Top):
    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        return super().__call__(u.nan_to_num(0.0, 0.0, 0.0), keys)


class Unfrozen(Top):
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


BROKEN: list[tuple[Any, str, str]] = [
    (Boasting(), "it contracts as it claims", "alpha = 0.5 claimed"),
    (Halfhearted(), "its figures belong together", "contractive is False, alpha(30) is 0.1"),
    (Rounding(), "a decoder sees exactly what was compressed", "round inside the compressor"),
    (Sociable(), "a row does not depend on its tile", "where it is alone"),
    (Aliasing(), "a message outlives its vector", "shares memory with its vector"),
    (Greedy(), "nothing in is nothing out", "zeros are not sent as zeros"),
    (Chancy(), "the same keys give the same message", "gave another message"),
    (Hiding(), "a number that is none is refused or sent on", "nan in, only finite numbers out"),
    (Unfrozen(), "it is a short value that travels", "make it a frozen dataclass"),
]


@pytest.mark.parametrize(("C", "says", "told"), BROKEN, ids=lambda value: type(value).__name__)
def test_a_broken_promise_is_found_and_told(C: Any, says: str, told: str) -> None:
    found = {finding.says: finding.told for finding in suite(C, D) if not finding.holds}
    assert told in found[says]


@pytest.mark.parametrize("word", ["topk:k=3", "randk:k=5,scaled=true,values=exact", "natural"])
def test_nothing_is_found_in_ours(word: str) -> None:
    found = list(suite(named(word, dim=D, shapes=shapes(D)), D))
    assert len(found) >= 14 and all(finding.holds for finding in found)


def test_what_somebody_raises_breaks_the_promise_and_says_where() -> None:
    @dataclass(frozen=True)
    class Raising(Top):
        def bits(self, dim: int) -> float:
            raise KeyError("b")

    found = {finding.says: finding.told for finding in suite(Raising(), D)}
    assert found["its figures belong together"].startswith("KeyError: 'b' at test_suite.py:")


@pytest.mark.parametrize(("word", "kept"), [("topk:k=10", 0.1), ("randk:k=25,values=exact", 0.25), ("identity", 1.0)])
def test_a_card_measures_what_is_claimed(word: str, kept: float) -> None:
    C = named(word, dim=100, shapes=shapes(100))
    card = row(C, 100)
    assert card.alpha == kept and card.worst == pytest.approx(kept, abs=0.1) and card.kept >= kept - 0.03
    assert card.bits == pytest.approx(32 * kept) and card.compress > 0 and card.encode > 0


def test_a_card_counts_the_bytes_of_real_messages() -> None:
    C = named("topk:k=10", dim=100, shapes=shapes(100))
    payloads = wire.encode(C(draw(7, 8, 100).float(), keys(8)))
    assert row(C, 100).sent == sum(map(len, payloads)) * 8 / 800
