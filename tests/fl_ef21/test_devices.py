"""What a shard sends and moves: its own clients' data, to its own device."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import scenarios
from fl_ef21.errors import InputError
from fl_ef21.problems.devices import on
from fl_ef21.store import Memory
from scenarios.setup import prepare
from tests.small import scenario

NAMES = ["logistic", "mlp", "quadratic"]


def prepared(name: str, **changes: Any) -> Any:
    return prepare(scenario(model={"name": name, "bias": None} if name != "logistic" else {}, **changes))


def tensors(problem: Any) -> dict[str, torch.Tensor]:
    """Everything that clients compute from."""
    found = {key: value for key, value in vars(problem).items() if isinstance(value, torch.Tensor)}
    if (module := getattr(getattr(problem, "model", None), "module", None)) is not None:
        found |= dict(module.named_parameters()) | dict(problem.model.exact.named_parameters(prefix="exact"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_all_that_clients_compute_from_moves_and_what_the_server_holds_stays(name: str) -> None:
    problem = prepared(name).problem
    moved = on(problem, "meta")
    there = {key for key, value in tensors(moved).items() if value.device.type == "meta"}
    assert tensors(moved).keys() - there == tensors(problem).keys() & {"weights", "start"} and there
    assert moved.x0().device.type == moved.weights.device.type == "cpu"
    assert all(value.device.type == "cpu" for value in tensors(problem).values())  # the driver's own is left alone


@pytest.mark.parametrize("name", NAMES)
def test_moving_changes_no_number(name: str) -> None:
    problem = prepared(name).problem
    x, clients = problem.x0(), torch.arange(12)
    assert torch.equal(on(problem, "cpu").gradients(x, clients, 3), problem.gradients(x, clients, 3))


def test_something_that_cannot_be_moved_says_so() -> None:
    with pytest.raises(TypeError, match="int cannot be moved"):
        on(3, "cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["logistic", "quadratic"])
def test_programs_of_all_shards_together_travel_as_little_more_than_the_data(name: str) -> None:
    setup = prepared(name, partition={"clients": 100})
    size = sum(value.nbytes for value in tensors(setup.problem).values())
    blocks = [range(at, at + 20) for at in range(0, 100, 20)]
    sent = [len(pickle.dumps(setup.program(block, Memory(block)))) for block in blocks]
    assert sum(sent) < 1.2 * size + len(blocks) * 20_000


def test_a_gpu_that_only_the_cluster_has_is_left_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    share = {"gpus_per_actor": 0.5, "actors": 2}
    with pytest.raises(InputError, match=r"engine.gpus_per_actor = 0.5: this machine has no GPU"):
        prepared("cnn", engine=share)
    there: Any = prepared("cnn", engine=share | {"address": "auto"}).problem
    assert there.features.device.type == "cpu"
    assert there.model.way == "vmap"  # as suits where shards compute: nothing is measured here


def test_flowers_own_simulation_joins_no_cluster_and_says_so(tmp_path: Path) -> None:
    joined = scenario(engine={"address": "auto", "actors": 2})
    with pytest.raises(InputError, match=r"engine.address = 'auto': Flower's own simulation starts a Ray of its own"):
        scenarios.run(joined, runtime="flower", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_program_that_was_built_on_the_cpu_computes_on_the_gpu(name: str) -> None:
    problem = prepared(name).problem
    x, clients = problem.x0(), torch.arange(12)
    there = on(problem, "cuda").gradients(x, clients, 3)
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), problem.gradients(x, clients, 3), rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_actor_is_held_to_its_share_of_the_gpu() -> None:
    from fl_ef21.engine import memory

    total = memory.room().total
    try:
        memory.claim(0.1)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(int(0.2 * total), dtype=torch.uint8, device="cuda")
    finally:
        memory.claim(1.0)
