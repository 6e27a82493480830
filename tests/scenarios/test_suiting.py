"""A method that does not suit its scenario says so before anything starts, and says what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import clients
from clients.ef21 import EF21SGDM
from fl_ef21.errors import InputError
from fl_ef21.facts import facts_of
from scenarios.setup import prepare
from tests.small import SPARSE, scenario


@dataclass(frozen=True)
class Sample(EF21SGDM):
    """EF21-SGDM under other claims."""

    beta: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise InputError("beta", self.beta, "must lie in [0, 1)")


@dataclass(frozen=True)
class Hearing(Sample):
    hears: ClassVar[str] = "g"


@dataclass(frozen=True)
class Unbiased(Sample):
    needs: ClassVar[str] = "unbiased"
    local: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in {"t:sample": Sample, "t:hearing": Hearing, "t:unbiased": Unbiased}.items():
        monkeypatch.setitem(clients.METHODS, name, kind)


def told(method: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        prepare(scenario(method=[{"gamma": 0.1} | SPARSE | method], **changes))
    return str(caught.value)


def test_a_hyperparameter_that_is_not_known_is_told_the_nearest() -> None:
    message = told({"name": "t:sample", "hyper": {"betta": 0.2}})
    assert message == "method[0].hyper.betta = 0.2: is not known; did you mean 'beta'?"


def test_a_method_without_hyperparameters_says_so() -> None:
    message = told({"name": "ef21-sgdm", "hyper": {"beta": 0.2}})
    assert message == "method[0].hyper.beta = 0.2: ef21-sgdm has no further hyperparameters"


def test_a_hyperparameter_out_of_range_is_named() -> None:
    assert told({"name": "t:sample", "hyper": {"beta": 1.0}}) == "method[0].hyper.beta = 1.0: must lie in [0, 1)"


def test_hyperparameters_reach_the_half_in_every_round_and_may_fall() -> None:
    falling = {"value": 0.8, "power": 1.0}
    setup = prepare(scenario(method=[{"name": "t:sample", "gamma": 0.1, "hyper": {"beta": falling}} | SPARSE]))
    halves = [setup.plans[0].half(Sample, round) for round in (1, 2, 4)]
    assert [half.beta for half in halves] == [0.8, 0.4, 0.2]


def test_how_much_of_a_message_is_remembered_may_not_fall() -> None:
    falling = {"value": 0.8, "power": 1.0}
    message = told({"name": "ef-bv", "hyper": {"lam": falling}})
    assert message.startswith("method[0].hyper.lam") and message.endswith("which both sides count on: give a number")
    prepare(scenario(method=[{"name": "ef-bv", "gamma": 0.1, "hyper": {"nu": falling}} | SPARSE]))


def test_a_compressor_that_a_method_is_not_defined_for_is_refused() -> None:
    message = told({"name": "t:unbiased"})
    assert message.startswith("method[0].compressor = 'topk': t:unbiased needs an unbiased compressor, such as 'qsgd'")


def test_local_steps_that_a_method_does_not_know_are_refused() -> None:
    randk = {"name": "t:unbiased", "compressor": "randk", "k": 5, "scaled": True, "values": "exact"}
    message = told(randk, train={"local_steps": 2, "local_rate": 0.1})
    assert message == "train.local_steps = 2: t:unbiased knows but one; remove it"


def test_who_hears_a_second_vector_has_no_compressed_downlink() -> None:
    message = told({"name": "t:hearing", "downlink": "topk:0.1"})
    assert message.startswith("method[0].downlink = 'topk:0.1': t:hearing hears a second vector")


@pytest.mark.parametrize(("name", "value"), [("needs", "unbiassed"), ("message", "full"), ("hears", "x")])
def test_a_half_that_claims_what_there_is_not_is_told_what_there_is(name: str, value: str) -> None:
    with pytest.raises(TypeError, match=f"Wrong.{name} = '{value}': must be one of"):
        facts_of(type("Wrong", (EF21SGDM,), {name: value}))
