"""The example on which plain compression diverges, against its closed form."""

import pytest

import scenarios
from scenarios.papers import reading


def test_plain_compression_grows_by_1_and_11_sixths_of_gamma_a_round() -> None:
    scenario = reading.find("divergence").source("closed-form").scenario({"rounds": 30, "engine.actors": 0})
    told = scenarios.run(scenario).rounds["train_loss"].iloc[-1]
    assert told == pytest.approx(1.75 * (1 + 11 * 0.01 / 6) ** 60, rel=1e-10)
