"""Blocks, places, balance and losses of shards: all that can be told without Ray."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord
from hypothesis import given
from hypothesis import strategies as st

from fl_ef21.engine import cluster, placement
from fl_ef21.engine.balance import Balance
from fl_ef21.engine.blocks import split
from fl_ef21.engine.losses import advice, told
from fl_ef21.engine.memory import Room, lacking, tiles
from fl_ef21.engine.placement import Node
from fl_ef21.engine.residents import Residents
from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError

costs = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9)


def loads(blocks: list[range], c: list[float]) -> list[float]:
    return [sum(c[block.start : block.stop]) for block in blocks]


@given(costs, st.integers(1, 5))
def test_no_contiguous_cut_has_a_lighter_heaviest_block_than_a_split_by_cost(c: list[float], shards: int) -> None:
    heaviest = max(loads(split(len(c), shards, 1, c), c))
    inner = range(1, len(c))
    for cuts in combinations(inner, min(shards, len(c)) - 1):
        blocks = [range(a, b) for a, b in pairwise([0, *cuts, len(c)])]
        assert heaviest <= max(loads(blocks, c)) * (1 + 1e-6)


@given(costs, st.integers(1, 12), st.integers(1, 4))
def test_a_split_by_cost_covers_everybody_in_order_with_whole_tiles(c: list[float], shards: int, tile: int) -> None:
    blocks = split(len(c), shards, tile, c)
    assert [i for block in blocks for i in block] == list(range(len(c)))
    assert len(blocks) <= shards and all(block.start % tile == 0 and len(block) > 0 for block in blocks)


def test_slow_clients_share_no_shard_where_fast_ones_can_take_their_place() -> None:
    slow = [8.0] * 4 + [1.0] * 32
    assert loads(split(36, 2, 1, slow), slow) == [32, 32]
    assert [len(block) for block in split(36, 2, 1)] == [18, 18]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1.0, 2.0], r"costs = \(2,\): must be one number for each of the 3 clients"),
        ([1.0, 0.0, 2.0], r"costs\[1\] = 0.0: must be a finite number > 0"),
        ([1.0, 2.0, float("nan")], r"costs\[2\] = nan: must be a finite number > 0"),
    ],
)
def test_costs_that_are_not_positive_numbers_are_refused(given: list[float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        split(3, 2, 1, given)


@pytest.mark.parametrize(
    ("cpus", "gpus", "fit"),
    [
        (1, 0, 4),
        (0.1, 0, 40),
        (0.3, 0, 13),
        (3, 0, 1),
        (5, 0, 0),
        (0.1, 0.3, 6),
        (0.1, 0.5, 4),
        (0.1, 1, 2),
        (1, 0.1, 4),
    ],
)
def test_a_node_of_four_cpus_and_two_gpus_holds_whole_actors_and_no_share_spans_two_gpus(
    cpus: float, gpus: float, fit: int
) -> None:
    assert Node("a", 4, 2).holds(cpus, gpus) == fit


TWO = [Node("a", 2, 1), Node("b", 2, 1), Node("head", 0, 0)]
HAVE = r"the nodes have 2 x \(2 CPUs, 1 GPU\), so "


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            Settings(5),
            rf"engine.actors = 5: an actor takes 1 CPU; {HAVE}4 fit; use fewer actors",
        ),
        # three CPUs in all would do for one actor, but no node has them
        (
            Settings(1, 3.0),
            rf"engine.cpus_per_actor = 3.0: an actor takes 3 CPUs; {HAVE}no node holds one; use at most 2",
        ),
        (
            Settings(7, 0.1, 0.3),
            rf"engine.gpus_per_actor = 0.3: an actor takes 0.1 CPUs and 0.3 GPUs; {HAVE}6 of 7 actors fit",
        ),
    ],
)
def test_actors_that_find_no_room_are_told_what_there_is_and_what_fits(settings: Settings, told: str) -> None:
    assert settings.actors is not None
    with pytest.raises(InputError, match=told):
        placement.check(TWO, settings, settings.actors)


def test_gpus_that_are_nowhere_are_told() -> None:
    with pytest.raises(InputError, match=r"engine.gpus_per_actor = 0.5: .* none fits; .* or 0 to compute on the CPU"):
        placement.check([Node("a", 4, 0)], Settings(2, 1.0, 0.5), 2)


def test_a_cluster_without_any_node_is_told() -> None:
    with pytest.raises(InputError, match="the nodes have neither CPUs nor GPUs, so no node holds one"):
        placement.check([], Settings(1), 1)


def test_as_many_actors_as_fit_are_allowed_and_nodes_that_have_died_do_not_count() -> None:
    found = [
        {"Alive": True, "NodeManagerAddress": "a", "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "NodeManagerAddress": "b", "Resources": {"CPU": 64.0}},
        {"Alive": True, "NodeManagerAddress": "c", "Resources": {}},
    ]
    there, settings = cluster.nodes(found), Settings(None, 1.0, 0.5, "auto")
    assert placement.capacity(there, settings) == 2
    placement.check(there, settings, 2)
    with pytest.raises(InputError):
        placement.check(there, settings, 3)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"actors": -1}, "engine.actors = -1"),
        ({"actors": None}, "engine.actors = None"),
        ({"cpus_per_actor": 0}, "engine.cpus_per_actor = 0"),
        ({"cpus_per_actor": float("nan")}, "engine.cpus_per_actor = nan"),
        ({"gpus_per_actor": -0.1}, "engine.gpus_per_actor = -0.1"),
        ({"gpus_per_actor": 1.5}, "engine.gpus_per_actor = 1.5: .* for more GPUs, use more actors"),
        ({"actors": 0, "address": "auto"}, "engine.address = 'auto': goes with actors"),
        ({"address": "10.0.0.1"}, "engine.address = '10.0.0.1': write it as 'auto', 'host:port'"),
        ({"address": "http://a:1"}, "engine.address = 'http://a:1': write it as"),
        ({"address": ""}, "engine.address = ''"),
    ],
)
def test_settings_that_no_machine_could_offer_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Settings(**wrong)


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """An address where something listens, and says `answer` to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as s:
                s.recv(64)
                if answer is not None:
                    s.sendall(answer)
                else:
                    done.wait(10)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        (bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
        (None, False),
    ],
    ids=["HTTP/2", "a web server", "nothing", "silence"],
)
def test_only_what_speaks_like_ray_counts_as_an_answer(answer: bytes | None, fits: bool) -> None:
    with listener(answer) as address:
        assert cluster.answers(address, seconds=0.2) == fits


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_address_that_does_not_answer_is_told_with_what_to_do() -> None:
    pytest.importorskip("ray")
    for scheme in ("", "ray://"):
        address = f"{scheme}127.0.0.1:{closed_port()}"
        with pytest.raises(InputError, match="no Ray answers there; start one: `ray start --head`"):
            cluster.connect(Settings(2, address=address))


def test_auto_without_a_cluster_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services = pytest.importorskip("ray._private.services")
    monkeypatch.setattr(services, "find_gcs_addresses", set)  # other clusters of this machine
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match=r"engine.address = 'auto': no Ray cluster runs here; start one: `ray start"):
        cluster.connect(Settings(2, address="auto"))


def test_what_ray_refuses_is_told_with_what_to_do() -> None:
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1\n"
        "This process on node 10.0.0.2:6379 was started with:\n    Ray: 2.55.1\n    Python: 3.11.9\n"
    )
    told = cluster.refusal(said, "10.0.0.1:6379")
    assert "try once more" in cluster.refusal("Starting Ray client server failed. See ray", "ray://10.0.0.1:10001")
    assert "`ray start --address=10.0.0.1:6379` makes it one" in cluster.refusal("no node", "10.0.0.1:6379")
    assert told.startswith("the cluster runs Ray 2.40.0 on Python 3.12.1, this process Ray 2.55.1 on Python 3.11.9")


def test_modules_of_the_current_folder_travel_and_installed_ones_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mymodel.py").write_text("")
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import mymodel  # type: ignore[import-not-found]
    import mypackage  # type: ignore[import-not-found]

    loaded: dict[str, ModuleType] = {"mymodel": mymodel, "mypackage": mypackage, "numpy": np, "socket": socket}
    loaded |= {"__main__": mymodel, "fl_ef21": sys.modules["fl_ef21"]}
    ours = Path(str(sys.modules["fl_ef21"].__file__)).parent.resolve()
    assert set(cluster.modules(loaded)) == {tmp_path / "mymodel.py", tmp_path / "mypackage", ours}


def spent(balance: Balance, seconds: list[float]) -> None:
    """One measurement of one message to everybody."""
    shards: list[dict[int, tuple[int, float]]] = [{} for _ in range(balance.shards)]
    for client, shard in enumerate(balance.home):
        shards[shard][client] = (1, seconds[client])
    balance.note(shards)


def test_clients_move_when_shards_are_uneven_several_times_in_a_row_and_then_stay() -> None:
    seconds = [4.0, 4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0]
    balance = Balance([0, 0, 0, 0, 1, 1, 1, 1], 2)
    for _ in range(2):
        spent(balance, seconds)
        assert balance.moves([0, 1]) == {}
    spent(balance, seconds)
    moves = balance.moves([0, 1])
    moved = [client for clients in moves.values() for client in clients]
    assert len(moved) == len(set(moved)) > 0
    for (a, b), clients in moves.items():
        assert all(balance.home[client] == a for client in clients)
        for client in clients:
            balance.home[client] = b
    loads = balance.loads(np.array(seconds))
    assert loads.max() <= 1.2 * loads.mean()
    for _ in range(9):
        spent(balance, seconds)
        assert balance.moves([0, 1]) == {}


@pytest.mark.parametrize(
    "seconds",
    [[1.0, 1.0, 1.2, 1.2], [0.001, 0.001, 1e-6, 1e-6], [9.0, 0.01, 0.01, 0.01]],
    ids=["nearly even", "not worth it", "one client is the load"],
)
def test_clients_stay_where_moving_gains_nothing(seconds: list[float]) -> None:
    balance = Balance([0, 0, 1, 1], 2)
    for _ in range(9):
        spent(balance, seconds)
        moved = balance.moves([0, 1])
        assert sum(map(len, moved.values())) <= (seconds[0] == 9.0)  # its neighbour may leave, once
        for (_, b), clients in moved.items():
            for client in clients:
                balance.home[client] = b


def test_one_slow_round_moves_nobody() -> None:
    balance = Balance([0, 0, 1, 1], 2)
    spent(balance, [50.0, 1, 1, 1])
    for _ in range(9):
        spent(balance, [1.0, 1, 1, 1])
    assert balance.moves([0, 1]) == {}


def test_nobody_moves_to_or_from_a_shard_that_is_lost() -> None:
    balance = Balance([0, 0, 1, 1, 2, 2], 3)
    for _ in range(3):
        spent(balance, [5.0, 5, 3, 3, 1e-3, 1e-3])
    assert all(set(pair) <= {0, 1} for pair in balance.moves([0, 1]))


def test_seconds_of_a_client_are_counted_also_where_it_raises_and_told_once() -> None:
    ticks = iter([0.0, 2.0, 10.0, 10.5, 20.0, 23.0])
    residents = Residents(range(2), {}, 2, clock=lambda: next(ticks))
    with residents.busy(0):
        pass
    with pytest.raises(RuntimeError), residents.busy(1):
        raise RuntimeError
    with residents.busy(0):
        pass
    assert residents.spent() == {0: (2, 5.0), 1: (1, 0.5)}
    assert residents.spent() == {}


def test_a_context_that_moves_keeps_its_state_and_leaves_nothing_behind() -> None:
    a, b = Residents(range(2), {"lr": 1}, 4), Residents(range(2, 4), {"lr": 1}, 4)
    with a.busy(1) as context:
        context.state["mark"] = ConfigRecord({"n": 7})
    b.give(a.take([1]))
    assert a.take([1]) == []
    with b.busy(1) as context:
        assert context.state["mark"] == ConfigRecord({"n": 7}) and context.node_config["partition-id"] == 1
    with a.busy(1) as context:  # as after the loss of b
        assert list(context.state) == [] and context.run_config == {"lr": 1}


GiB = 2**30


@pytest.mark.parametrize(
    ("room", "share", "missing"),
    [
        (Room(70 * GiB, 80 * GiB, GiB), 0.5, 0),
        (Room(30 * GiB, 80 * GiB, 6 * GiB), 0.5, 0),
        (Room(30 * GiB, 80 * GiB, 2 * GiB), 0.5, 4 * GiB),
        (Room(79 * GiB, 80 * GiB, 0), 1.0, 0),  # what CUDA itself takes is not missed
    ],
)
def test_a_share_of_a_gpu_that_others_hold_is_missed(room: Room, share: float, missing: int) -> None:
    assert lacking(room, share) == missing


@pytest.mark.parametrize(("free", "tile", "at_once"), [(8_000, 100, 10), (8_000, 1_000, 1), (10, 1_000, 1)])
def test_a_gpu_computes_as_many_tiles_as_an_eighth_of_what_is_free_holds(free: int, tile: int, at_once: int) -> None:
    assert tiles(free, tile) == at_once


def test_what_is_said_of_memory_comes_with_advice() -> None:
    assert "larger engine.gpus_per_actor" in advice("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")
    assert "fewer actors on a node" in advice("Task was killed due to the node running low on memory.")
    assert "if memory was short" in advice("causes include: (1) the process was killed by the OOM killer")
    assert advice("The actor was killed by ray.kill") == ""


def test_an_actor_that_ray_ends_for_want_of_memory_is_told_in_one_line_with_advice() -> None:
    said = (
        "1 worker(s) were killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.2) was "
        "4.81GB / 23.54GB (0.204286), which exceeds the memory usage threshold of 0.204000;\n" + "more\n" * 99
    )
    line = told(RuntimeError(said))
    assert line.startswith("Ray ended it because the node was running low on memory (4.81GB / 23.54GB); ")
    assert 'engine.state = "mapped"' in line and len(line) < 500
    died = "The actor died.\n\tclass_name: Shard\n\tactor_id: 92ba\n\tpid: 7\nThe process has died."
    assert told(RuntimeError(died)) == "The actor died. The process has died"
