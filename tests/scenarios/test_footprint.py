"""What memory a run needs is told before it starts, and what cannot fit is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import scenarios
from fl_ef21.errors import InputError
from fl_ef21.store import Memory
from scenarios import footprint, places
from scenarios.progress import Silent
from scenarios.setup import Setup, prepare
from tests.small import ALL_METHODS, scenario

GiB = 2**30
VECTORS = {"sgdm": 2, "compressed-sgd": 0, "ef14": 2, "ef21-sgd": 2, "ef21-sgdm": 4, "ef21-sgd2m": 6}
LARGE = {"name": "quadratic", "bias": None, "dim": 20_000, "heterogeneity": 0.0}


def setup(**changes: Any) -> Setup:
    return prepare(scenario(**changes))


def large(**changes: Any) -> Setup:
    """200 clients with 4 x 20,000 float32 numbers each: 61 MiB of state."""
    base: dict[str, Any] = {"model": LARGE, "partition": {"clients": 200, "scheme": "iid"}}
    base |= {"train": {"start": "zero"}, "evaluate": {"audit": False}}
    return setup(**base | changes)


@pytest.mark.parametrize("method", ALL_METHODS, ids=lambda m: m["name"])
def test_state_is_two_slots_for_every_vector_of_the_method(method: dict[str, Any]) -> None:
    found = footprint.measure(setup(method=[method]), 20 * GiB)
    assert found.state.bytes == found.items["client state"] == 12 * 650 * 4 * VECTORS[method["name"]]


def test_methods_run_one_after_another_so_the_largest_counts() -> None:
    assert footprint.measure(setup(method=ALL_METHODS), 20 * GiB).state.bytes == 12 * 650 * 4 * 6


def test_bfloat16_halves_momenta_and_nothing_else() -> None:
    train = {"momentum_dtype": "bfloat16"}
    found = footprint.measure(setup(method=[ALL_METHODS[5]], train=train), 20 * GiB)
    assert found.state.bytes == 12 * 2 * 650 * (2 + 2 + 4)
    assert str(found.state) == "12 clients x 650 x (2 vectors x 4 B + 4 vectors x 2 B)"
    assert footprint.measure(setup(method=[ALL_METHODS[2]], train=train), 20 * GiB).state.bytes == 12 * 2 * 650 * 4


@pytest.mark.parametrize("clients", [200, 400])
def test_a_model_in_increments_takes_vectors_of_the_shards_and_the_server_but_none_of_a_client(clients: int) -> None:
    partition = {"clients": clients, "scheme": "iid"}
    plain, down = (
        footprint.measure(large(partition=partition, method=[ALL_METHODS[4] | {"downlink": word}]), 20 * GiB)
        for word in (None, "topk:0.01")
    )
    vectors = footprint.HELD + footprint.SHIFTED
    assert down.items["model"] - plain.items["model"] == vectors * 20_000 * 4
    assert down.items["client state"] == plain.items["client state"]


def test_the_sum_is_told_before_training_and_kept_in_the_summary() -> None:
    heard: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            heard.append(text)

    result = scenarios.run(scenario(rounds=1), listener=Listener())
    kept = result.summary["memory"]
    assert kept["needed_bytes"] == sum(kept["items"].values()) and kept["state"] == "host"
    state, memory = (line for line in heard if line.startswith(("client state", "memory")))
    assert state == "client state 122 KiB in host memory (12 clients x 650 x 4 vectors x 4 B)"
    assert memory.startswith("memory: ") and "GiB free" in memory and "loaded already" in memory


def test_state_goes_to_files_when_it_does_not_fit_memory(tmp_path: Path) -> None:
    free = footprint.measure(large(), 100 * GiB).needed
    assert footprint.measure(large(), int(1.1 * free)).kind == "host"
    found = footprint.measure(large(engine={"state_dir": str(tmp_path)}), int(0.95 * free))
    assert found.kind == "mapped" and found.needed <= 0.95 * free and found.budget is not None
    assert found.budget < found.state.bytes
    places_ = [found.place(clients) for clients in (120, 80)]
    assert {place.folder for place in places_} == {tmp_path}
    assert 0.99 * found.budget < sum(place.budget for place in places_) <= found.budget


def test_a_budget_for_state_is_kept_to_though_more_is_free(tmp_path: Path) -> None:
    engine = {"memory_gib": 0.03, "state_dir": str(tmp_path)}
    found = footprint.measure(large(engine=engine), 100 * GiB)
    assert found.kind == "mapped" and found.items["client state"] == int(0.03 * GiB)


def test_a_run_that_cannot_fit_is_refused_with_the_sum_and_the_ways_out() -> None:
    told = (
        r"engine\.memory_gib = 0\.03: client state takes 61 MiB \(200 clients x 20,000 x 4 vectors x 4 B\); "
        r"engine\.state = \"mapped\" .*bfloat16.*fewer clients"
    )
    with pytest.raises(InputError, match=told):
        footprint.measure(large(engine={"state": "host", "memory_gib": 0.03}), 100 * GiB)
    with pytest.raises(InputError, match=r"the run needs .* of memory \(client state 61 MiB, .*\) and 64 MiB are free"):
        footprint.measure(large(engine={"state": "host"}), 64 * 2**20)


def test_uncompressed_messages_are_named_where_they_are_what_does_not_fit() -> None:
    with pytest.raises(InputError, match=r'train\.start = "zero"'):
        footprint.measure(large(train={"start": "gradient"}), 100 * 2**20)


def test_what_cannot_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"engine\.memory_gib"):
        scenarios.run(scenario(engine={"state": "host", "memory_gib": 1e-6}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_budget_below_one_tile_is_a_mistake_of_its_own() -> None:
    with pytest.raises(
        InputError, match=r"memory_gib = 0\.001: is less than one tile .* each of 1 shards, 8 MiB in all"
    ):
        footprint.measure(large(engine={"memory_gib": 0.001}), 100 * GiB)


@pytest.mark.parametrize("state", ["auto", "mapped"])
def test_a_folder_that_cannot_take_the_state_is_named(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine(folder: Path) -> dict[str, Any]:
        return {"state": state, "memory_gib": 0.03, "state_dir": str(folder)}

    with pytest.raises(InputError, match=r"engine\.state_dir = '.*nowhere': is not a folder"):
        footprint.measure(large(engine=engine(tmp_path / "nowhere")), 100 * GiB)
    usage = shutil.disk_usage(tmp_path)._replace(free=10 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"state_dir = .*: has 10 MiB free and client state takes 61 MiB"):
        footprint.measure(large(engine=engine(tmp_path)), 100 * GiB)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"engine\.state_dir = .*: cannot be written to \(Permission denied\)"):
        places.check(tmp_path, 1)


def test_files_in_memory_count_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = {"state": "mapped", "memory_gib": 0.03, "state_dir": str(tmp_path)}
    monkeypatch.setattr(places, "in_memory", lambda _: True)
    with pytest.raises(InputError, match="client state takes 61 MiB"):
        footprint.measure(large(engine=engine), 100 * GiB)


def test_a_memory_file_system_is_known_by_its_mount() -> None:
    if not Path("/dev/shm").is_dir() or "tmpfs /dev/shm" not in Path("/proc/mounts").read_text():
        pytest.skip("no tmpfs at /dev/shm")
    assert places.in_memory(Path("/dev/shm")) and not places.in_memory(Path("/proc"))


def test_a_shard_of_everybody_shares_the_data_that_is_loaded() -> None:
    one = setup()
    assert one.program(range(12), Memory(range(12))).problem is one.problem
    assert footprint.measure(one, 20 * GiB).items["data"] == 0
    assert footprint.measure(setup(engine={"actors": 2}), 20 * GiB).items["data"] > 1437 * 64 * 4
