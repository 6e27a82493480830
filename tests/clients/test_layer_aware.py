"""Messages that leave out empty rows and columns: the same numbers in fewer bytes."""

from __future__ import annotations

import pytest

import scenarios
from tests.small import scenario


@pytest.mark.parametrize("actors", [0, 2])
def test_a_run_is_the_same_in_fewer_bytes(actors: int) -> None:
    method = {"name": "ef21-sgdm", "gamma": 0.2, "compressor": "topk", "fraction": 0.3}
    shadow = ["topk:0.3"]
    flat, layered = (
        scenarios.run(scenario(method=[method | more], engine={"actors": actors}, rounds=8, shadow=shadow))
        for more in ({}, {"layer_aware": True})
    )
    assert layered.rounds["train_loss"].tolist() == flat.rounds["train_loss"].tolist()
    assert layered.rounds["uplink_bytes"].iloc[-1] < flat.rounds["uplink_bytes"].iloc[-1]
    assert layered.rounds["rejected"].max() == 0
    own, told = (layered.shadow[layered.shadow["shadow"] == word] for word in ("own", "topk:0.3"))
    assert own["payload_bytes"].tolist() == told["payload_bytes"].tolist()
