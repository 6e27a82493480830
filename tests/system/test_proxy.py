"""What we say a run costs on the wire is what a proxy between real SuperNodes and a real SuperLink counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_ef21 import flower_traffic
from scenarios.results import Result
from tests.counting_proxy import CountingProxy
from tests.system.plain import deploy, is_poll, of_messages
from tests.system.test_flwr_run import stop

pytestmark = [pytest.mark.system, pytest.mark.nightly]  # minutes: Flower starts a process for every message

NODES = 2
# d = 7,850: first a dense gradient of 31 kB, then 78 numbers
SCENARIO = f"""
name = "proxy"
rounds = 2
seed = 3
data = {{ source = "synthetic", samples = 200, features = 784, classes = 10 }}
partition = {{ clients = {NODES} }}
model = {{ name = "logistic", bias = true }}
train = {{ batch_size = 2 }}
evaluate = {{ every = 2, audit = false, traffic = "clients" }}
engine = {{ actors = 0 }}
method = [{{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 78 }}]
"""
OF_NODES = ("register-node", "activate-node", "deactivate-node", "unregister-node", "get-run", "get-fab")


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CountingProxy, Result]]:
    """A finished deployment: what the proxy saw, and what the run says."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: a process that stays alive could not be found and stopped")
    folder = tmp_path_factory.mktemp("deployment")
    told = [f'partition-id={client} state-dir="{folder / f"state-{client}"}"' for client in range(NODES)]
    try:
        proxy = deploy(folder, SCENARIO, told, time.monotonic() + 500)
        yield proxy, Result.load(folder / "run")
    finally:
        stop(folder / "home")


def test_the_wire_bytes_of_a_run_are_those_a_proxy_counts_within_one_percent(
    counted: tuple[CountingProxy, Result],
) -> None:
    proxy, run = counted
    messages = of_messages(proxy)
    replies = sum(one.path.endswith("/push-messages") for one in messages)
    assert NODES * 3 <= replies <= NODES * 4  # hello, two rounds; farewells are waited for a minute and no longer
    told = run.summary["methods"][0]["traffic"]
    for way, seen in (("uplink", sum(one.up for one in messages)), ("downlink", sum(one.down for one in messages))):
        said = told[way]["wire_bytes"] + told["asides"][f"{way}_wire_bytes"]
        assert said == pytest.approx(seen, rel=0.01), way


def test_messages_polls_and_what_nodes_say_of_themselves_are_all_bytes_there_are(
    counted: tuple[CountingProxy, Result],
) -> None:
    proxy, run = counted
    told, poll, beat = run.summary["methods"][0]["traffic"], flower_traffic.poll(), flower_traffic.heartbeat()
    polls = sum(map(is_poll, proxy.exchanges))
    beats = sum(one.path.endswith("/send-node-heartbeat") for one in proxy.exchanges)
    lives = [one for one in proxy.exchanges if one.path.rsplit("/", 1)[1] in OF_NODES]
    assert polls > 0 and beats > 0
    up = told["uplink"]["wire_bytes"] + told["asides"]["uplink_wire_bytes"] + polls * poll.up + beats * beat.up
    down = (
        told["downlink"]["wire_bytes"] + told["asides"]["downlink_wire_bytes"] + polls * poll.down + beats * beat.down
    )
    assert up + sum(one.up for one in lives) == pytest.approx(proxy.total_up, rel=0.01)
    assert down + sum(one.down for one in lives) == pytest.approx(proxy.total_down, rel=0.01)


def test_every_client_of_every_round_is_in_the_folder(counted: tuple[CountingProxy, Result]) -> None:
    _, run = counted
    rows = run.traffic(run.summary["methods"][0]["label"], each="message")
    assert list(rows["round"]) == [1] * NODES + [2] * NODES and rows["answered"].all()
    assert list(rows["uplink_algorithm_bits"]) == [32 * 7850] * NODES + [16 * 78] * NODES
    assert rows["uplink_payload_bytes"].sum() == run.rounds["uplink_bytes"].max()
