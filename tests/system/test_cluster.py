"""The engine on a Ray cluster of three nodes on this machine, whose nodes know nothing of our code."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import scenarios
import scenarios.runner as runner
from fl_ef21.engine import RayGrid, Settings, healing, reservation
from fl_ef21.errors import InputError
from scenarios.progress import Silent
from tests.small import scenario

pytestmark = pytest.mark.system
ray = pytest.importorskip("ray")


def parent(process: Path) -> int:
    """The parent of a process under /proc, 0 where it has ended."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@dataclass
class Three:
    """A head without CPUs and two nodes of one CPU each."""

    cluster: Any
    nodes: list[Any]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def fill(self) -> None:
        """Two nodes, whatever died before."""
        self.nodes += [self.cluster.add_node(num_cpus=1) for _ in range(2 - len(self.nodes))]

    def kill(self, node: Any) -> None:
        """Its Ray and all that works there at once, as when a machine loses its power."""
        raylet = node.all_processes["raylet"][0].process.pid
        with_it = [int(pid.name) for pid in Path("/proc").glob("[0-9]*") if parent(pid) == raylet]
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        for process in with_it:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Three]:
    """Started in an empty folder without PYTHONPATH; Ray's note of the newest cluster is kept from others."""
    from ray.cluster_utils import Cluster

    home, empty = Path(tempfile.mkdtemp(prefix="ray")), Path(tempfile.mkdtemp())  # short: sockets lie there
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(home))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("PYTHONPATH", raising=False)
        patch.chdir(empty)
        three = Three(Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}), [])
        try:
            yield three
        finally:
            ray.shutdown()
            nodes = three.cluster.list_all_nodes()
            started = [one.process for node in nodes for kind in node.all_processes.values() for one in kind]
            three.cluster.shutdown()
            assert all(process.poll() is not None for process in started)
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(empty, ignore_errors=True)


@pytest.fixture
def three(cluster: Three) -> Three:
    cluster.fill()
    return cluster


def counting_app() -> ClientApp:
    """Answers where and how often this client was asked, and moves x towards the client's number."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        import fl_ef21

        seen = int(context.state.config_records["seen"]["n"]) + 1 if "seen" in context.state else 1  # type: ignore[arg-type]
        context.state["seen"] = ConfigRecord({"n": seen})
        x = message.content.array_records["arrays"]["x"].numpy()
        x = x + 0.5 * (int(context.node_config["partition-id"]) - x)
        metrics = MetricRecord({"num-examples": 1, "seen": seen})
        told = ConfigRecord({"pid": os.getpid(), "code": str(fl_ef21.__file__)})
        content = RecordDict({"arrays": ArrayRecord({"x": Array(x)}), "metrics": metrics, "told": told})
        return Message(content, reply_to=message)

    return app


def ask(grid: RayGrid) -> list[Message]:
    content = RecordDict({"arrays": ArrayRecord({"x": Array(np.zeros(2))}), "config": ConfigRecord({})})
    messages = [Message(content, node, "train", group_id="g") for node in grid.get_node_ids()]
    return list(grid.send_and_receive(messages))


def told(reply: Message, key: str) -> Any:
    return reply.content.config_records["told"][key]


def seen(replies: list[Message]) -> list[int]:
    return [0 if r.has_error() else int(r.content.metric_records["metrics"]["seen"]) for r in replies]  # type: ignore[arg-type]


@pytest.mark.nightly
def test_a_cluster_gives_the_same_numbers_bitwise_and_is_there_afterwards(three: Three) -> None:
    changes: dict[str, Any] = {"partition": {"clients": 40}, "train": {"participation": 0.6}}
    alone = scenarios.run(scenario(rounds=4, **changes)).rounds.drop(columns="wall_seconds")
    joined = scenario(rounds=4, **changes).model_dump(exclude={"engine"}) | {"engine": {"address": "auto"}}
    result = scenarios.run(scenarios.Scenario.model_validate(joined))
    assert result.rounds.drop(columns="wall_seconds").equals(alone)
    assert not ray.is_initialized() and len(three.cluster.list_all_nodes()) == 3
    assert all(node.any_processes_alive() for node in three.cluster.list_all_nodes())


def test_shards_lie_on_different_nodes_run_our_code_and_outlive_a_killed_actor_and_a_killed_node(
    three: Three, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(None, address=three.address)  # as many as the cluster holds
    with RayGrid(4, app=counting_app(), settings=settings) as grid:
        first = ask(grid)
        assert len(set(grid._pool.nodes())) == 2  # type: ignore[attr-defined]
        assert len({told(reply, "pid") for reply in first}) == 2
        assert all("runtime_resources" in told(reply, "code") for reply in first)  # not what is installed here
        assert seen(first) == [1, 1, 1, 1]

        with pytest.raises(InputError, match=r"engine.actors = 3: .* 2 x \(1 CPU, 0 GPUs\), so 2 fit"):
            RayGrid(4, app=counting_app(), settings=Settings(3, address=three.address))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reservation, "PATIENCE", 0.5)
            with pytest.raises(InputError, match=r"were not free within 0.5 s; .* of which 0 CPUs are free now"):
                RayGrid(4, app=counting_app(), settings=Settings(1, address=three.address))

        os.kill(int(told(first[0], "pid")), signal.SIGKILL)
        second = ask(grid)
        assert [reply.has_error() for reply in second] == [True, True, False, False]
        assert "shard 0 (clients 0 to 1): a Ray actor has died" in second[0].error.reason
        assert seen(ask(grid)) == [1, 1, 3, 3]  # started again, with fresh contexts
        assert sum("is lost" in record.message for record in caplog.records) == 1

        where = grid._pool.nodes()[0]  # type: ignore[attr-defined]
        (socket,) = [node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == where]
        three.kill(next(node for node in three.nodes if node.raylet_socket_name == socket))
        assert [reply.has_error() for reply in ask(grid)] == [True, True, False, False]
        after = ask(grid)  # clients of the dead node live on with the others
        assert seen(after)[:2] == [1, 1] and len({told(reply, "pid") for reply in after}) == 1


def joined(three: Three, **changes: Any) -> scenarios.Scenario:
    setting = scenario(rounds=8, partition={"clients": 40}, evaluate={"every": 1}, **changes)
    return scenarios.Scenario.model_validate(
        setting.model_dump(exclude={"engine"}) | {"engine": {"address": three.address}}
    )


class Killing(Silent):
    """Kills a node after round 3, and adds one if it should."""

    def __init__(self, three: Three, replace: bool) -> None:
        self.three, self.replace, self.killed = three, replace, False

    def round(self, progress: Any) -> None:
        if progress.round == 3 and not self.killed:
            self.killed = True
            self.three.kill(self.three.nodes[0])
            if self.replace:
                self.three.fill()


def test_the_batched_form_loses_nothing_with_a_node_if_there_is_another_one(
    three: Three, caplog: pytest.LogCaptureFixture
) -> None:
    alone = scenarios.run(scenario(rounds=8, partition={"clients": 40}, evaluate={"every": 1}))
    result = runner.run(joined(three), listener=Killing(three, replace=True))
    assert result.rounds.drop(columns="wall_seconds").equals(alone.rounds.drop(columns="wall_seconds"))
    assert sum("with its clients' state" in record.message for record in caplog.records) >= 1


def test_the_batched_form_goes_on_without_the_clients_of_a_node_that_nothing_replaces(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "STARTING", 3.0)
    result = runner.run(joined(three), listener=Killing(three, replace=False))
    rows = result.rounds
    assert result.summary["methods"][0]["status"] == "finished" and len(rows) == 9
    assert rows["participants"].iloc[3] == 40 and 0 < rows["participants"].iloc[-1] < 40
    assert rows["rejected"].iloc[-1] > 0
