"""RayGrid is an ordinary Flower Grid."""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg

from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.blocks import split
from fl_ef21.errors import InputError

HERE = Settings(actors=0)


def plain_app() -> ClientApp:
    """Moves the model a step towards the client's number, and counts its calls in the context."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        x = message.content.array_records["arrays"]["x"].numpy()
        seen = int(context.state.metric_records["seen"]["n"]) if "seen" in context.state else 0
        context.state["seen"] = MetricRecord({"n": seen + 1})
        x = x + 0.5 * (int(context.node_config["partition-id"]) - x)
        metrics = MetricRecord({"num-examples": 10, "seen": seen + 1})
        return Message(RecordDict({"arrays": ArrayRecord({"x": Array(x)}), "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        x = message.content.array_records["arrays"]["x"].numpy()
        metrics = MetricRecord({"num-examples": 10, "loss": float(np.square(x).sum())})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def start() -> ArrayRecord:
    return ArrayRecord({"x": Array(np.zeros(3))})


@pytest.mark.parametrize("actors", [0, pytest.param(2, marks=pytest.mark.system)])
def test_fedavg_runs_unchanged_with_state_in_the_context(actors: int) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with RayGrid(5, app=plain_app(), settings=Settings(actors=actors)) as grid:
        result = FedAvg(min_available_nodes=5).start(grid, start(), num_rounds=4)
    x = 0.0
    for _ in range(4):
        x = x + 0.5 * (2.0 - x)
    assert np.allclose(result.arrays["x"].numpy(), x)
    assert result.train_metrics_clientapp[4]["seen"] == 4
    assert np.isclose(result.evaluate_metrics_clientapp[4]["loss"], 3 * x * x)


def test_fedadam_runs_unchanged() -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with RayGrid(4, app=plain_app(), settings=HERE) as grid:
        result = FedAdam(min_available_nodes=4).start(grid, start(), num_rounds=3)
    assert np.isfinite(result.arrays["x"].numpy()).all() and (result.arrays["x"].numpy() > 0).all()


def hello(node: int, kind: str = "train") -> Message:
    content = RecordDict({"arrays": start(), "config": ConfigRecord({})})
    return Message(content, node, kind, group_id="g")


def test_push_then_pull_gives_each_reply_once() -> None:
    with RayGrid(3, app=plain_app(), settings=HERE) as grid:
        names = list(grid.push_messages([hello(1), hello(3)]))
        replies = list(grid.pull_messages(names))
        assert sorted(reply.metadata.src_node_id for reply in replies) == [1, 3]
        assert {reply.metadata.reply_to_message_id for reply in replies} == set(names)
        assert list(grid.pull_messages(names)) == []


def test_a_client_that_raises_answers_with_an_error_that_says_why() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == 1:
            raise RuntimeError("no battery")
        return Message(RecordDict(), reply_to=message)

    with RayGrid(3, app=app, settings=HERE) as grid:
        replies = list(grid.send_and_receive([hello(node) for node in (1, 2, 3)]))
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert "RuntimeError: no battery" in replies[1].error.reason


def test_a_message_to_nobody_is_refused() -> None:
    with RayGrid(3, app=plain_app(), settings=HERE) as grid, pytest.raises(ValueError, match="no node 9"):
        grid.send_and_receive([hello(9)])


def test_blocks_are_whole_tiles_and_cover_everybody() -> None:
    for clients, shards, tile in [(100, 2, 16), (5, 2, 1), (10, 5, 4), (3, 8, 1), (1, 1, 64), (1000, 7, 25)]:
        blocks = split(clients, shards, tile)
        assert [i for block in blocks for i in block] == list(range(clients))
        assert all(block.start % tile == 0 and len(block) > 0 for block in blocks)


@pytest.mark.system
def test_a_share_of_a_gpu_that_is_not_there_is_refused_before_anything_starts() -> None:
    import ray

    with pytest.raises(InputError, match=r"engine.gpus_per_actor = 64"):
        RayGrid(3, app=plain_app(), settings=Settings(actors=2, gpus_per_actor=64))
    assert not ray.is_initialized()


@pytest.mark.system
def test_a_killed_actor_is_told_as_an_error_for_its_clients_alone() -> None:
    import ray

    with RayGrid(4, app=plain_app(), settings=Settings(actors=2, cpus_per_actor=0.5)) as grid:
        ray.kill(grid._pool._actors[0])  # type: ignore[attr-defined]
        replies = list(grid.send_and_receive([hello(node) for node in range(1, 5)]))
    assert [reply.has_error() for reply in replies] == [True, True, False, False]
    assert "actor has died" in replies[0].error.reason


def telling_app() -> ClientApp:
    """As `plain_app`, and tells the process it runs in."""
    app, plain = ClientApp(), plain_app()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        reply = plain(message, context)
        reply.content["told"] = ConfigRecord({"pid": os.getpid()})
        return reply

    return app


@pytest.mark.system
def test_fedavg_goes_on_with_everybody_when_an_actor_dies() -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    heard = list[int]()

    class Killing(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            replies = list(replies)
            good = [reply for reply in replies if not reply.has_error()]
            heard.append(len(good))
            if server_round == 1:
                os.kill(int(good[0].content.config_records["told"]["pid"]), signal.SIGKILL)
            for reply in good:
                del reply.content["told"]
            return super().aggregate_train(server_round, replies)

    with RayGrid(4, app=telling_app(), settings=Settings(2, cpus_per_actor=0.5)) as grid:
        strategy = Killing(min_available_nodes=4, fraction_evaluate=0.0)
        strategy.start(grid, start(), num_rounds=4)
    assert heard == [4, 2, 4, 4]


@pytest.mark.system
def test_clients_that_cost_much_move_to_shards_with_little_to_do_and_keep_their_contexts() -> None:
    """Seconds are counted, not measured: clients 0 to 3, all in the first shard, cost 4, the others 1."""
    moved = list[tuple[int, int, list[int]]]()
    with RayGrid(8, app=telling_app(), settings=Settings(2, cpus_per_actor=0.5)) as grid:
        pool: Any = grid._pool
        note, moves = pool._balance.note, pool._balance.moves

        def counted(spent: Sequence[Mapping[int, tuple[int, float]]]) -> None:
            note([{c: (n, n * (4.0 if c < 4 else 1.0)) for c, (n, _) in one.items()} for one in spent])

        def kept(living: Sequence[int]) -> Any:
            now = moves(living)
            moved.extend((a, b, clients) for (a, b), clients in now.items())
            return now

        pool._balance.note, pool._balance.moves = counted, kept
        where = list[list[int]]()
        for round in range(1, 9):
            replies = list(grid.send_and_receive([hello(node) for node in range(1, 9)]))
            seen = [reply.content.metric_records["metrics"]["seen"] for reply in replies]
            assert seen == [round] * 8  # no context was lost, and none doubled
            x = [reply.content.array_records["arrays"]["x"].numpy()[0] for reply in replies]
            assert np.allclose(x, 0.5 * np.arange(8))
            where.append([int(reply.content.config_records["told"]["pid"]) for reply in replies])  # type: ignore[arg-type]
    assert where[0][:4] == [where[0][0]] * 4 and where[0][0] != where[0][4]
    ((a, b, clients),) = moved  # once, and then it is even enough
    assert (a, b) == (0, 1) and set(clients) < {0, 1, 2, 3}
    assert {c for c in range(8) if where[-1][c] != where[0][c]} == set(clients)


def test_costs_that_the_caller_knows_decide_where_blocks_are_cut() -> None:
    with pytest.raises(InputError, match=r"costs = \(2,\): must be one number for each of the 3 clients"):
        RayGrid(3, app=plain_app(), settings=HERE, costs=lambda: [1.0, 2.0])
    with RayGrid(3, app=plain_app(), settings=HERE, costs=lambda: None) as grid:
        assert len(list(grid.send_and_receive([hello(1)]))) == 1
