"""Real SuperNodes with a file of samples each, beside a SuperLink that has none: the run is the one that is simulated
from a folder of these files, and what its evaluations cost is what a proxy counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import scenarios
from scenarios.loading import parse
from scenarios.results import Result
from tests.counting_proxy import CountingProxy
from tests.own_files import digits_in_files
from tests.system.plain import deploy, of_messages
from tests.system.test_flwr_run import stop

pytestmark = [pytest.mark.system, pytest.mark.nightly]  # minutes: Flower starts a process for every message

NODES = 2
SCENARIO = f"""
name = "own"
rounds = 2
seed = 3
data = {{ source = "files", shape = [1, 8, 8], classes = 10, test_fraction = 0.2 }}
partition = {{ clients = {NODES} }}
train = {{ batch_size = 4 }}
evaluate = {{ every = 2, audit = false }}
engine = {{ actors = 0 }}
method = [{{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 5 }}]
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, CountingProxy]]:
    """The folder of a finished deployment, and what the proxy saw."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: a process that stays alive could not be found and stopped")
    folder = tmp_path_factory.mktemp("own")
    files = enumerate(digits_in_files(folder / "data", NODES))
    told = [f'partition-id={i} data-path="{file}" state-dir="{folder / f"state-{i}"}"' for i, file in files]
    try:
        yield folder, deploy(folder, SCENARIO, told, time.monotonic() + 600)
    finally:
        stop(folder / "home")


def test_the_run_is_the_one_that_is_simulated_from_a_folder(deployed: tuple[Path, CountingProxy]) -> None:
    folder, _ = deployed
    got = Result.load(folder / "run")
    want = scenarios.run(parse(SCENARIO, [f"data.path={folder / 'data'}"]))
    assert got.summary["status"] == "finished" and got.summary["problem"]["samples"] is None
    for column in ("round", "test_accuracy", "uplink_bytes", "downlink_bytes", "participants", "rejected"):
        assert list(got.rounds[column]) == list(want.rounds[column]), column
    np.testing.assert_allclose(got.rounds["train_loss"], want.rounds["train_loss"], rtol=1e-6)
    assert list(got.rounds["evaluated"]) == [NODES] * len(got.rounds) and got.rounds["grad_norm_sq"].isna().all()


def test_what_evaluations_cost_is_in_the_account_within_one_percent(deployed: tuple[Path, CountingProxy]) -> None:
    folder, proxy = deployed
    messages = of_messages(proxy)
    told = Result.load(folder / "run").summary["methods"][0]["traffic"]
    for way, seen in (("uplink", sum(one.up for one in messages)), ("downlink", sum(one.down for one in messages))):
        said = told[way]["wire_bytes"] + told["asides"][f"{way}_wire_bytes"]
        assert said == pytest.approx(seen, rel=0.01), way
