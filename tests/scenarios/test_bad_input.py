"""What a person gets wrong is told before anything is done; what a client gets wrong does not end the server."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from fl_ef21.errors import InputError
from scenarios.runner import RunFailed
from tests.small import ALL_METHODS, SPARSE, scenario

TOPK: dict[str, Any] = {"name": "ef21-sgdm", "gamma": 0.1, "compressor": "topk"}


@pytest.mark.parametrize("fraction", [0.0, 2.0, -0.1])
def test_a_fraction_outside_zero_to_one_names_its_method(fraction: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"method\[1\]\.fraction = {fraction}"):
        scenarios.run(scenario(method=[ALL_METHODS[0], TOPK | {"fraction": fraction}]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_entries_than_coordinates_are_refused() -> None:
    with pytest.raises(InputError, match=r"method\[0\]\.k = 651"):
        scenarios.run(scenario(method=[TOPK | {"k": 651}]))


def test_more_clients_than_samples_are_refused() -> None:
    with pytest.raises(InputError, match=r"partition.clients = 5000.*1437"):
        scenarios.run(scenario(partition={"clients": 5000}))


def test_a_missing_data_folder_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.path = '/nowhere'"):
        scenarios.run(scenario(data={"source": "mnist", "path": "/nowhere"}))


def test_a_malformed_libsvm_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.txt"
    file.write_text("1 1:0.5 2:1\n2 1:0.5\n1 2:\n")
    with pytest.raises(InputError, match=r"broken\.txt.*line 3"):
        scenarios.run(scenario(data={"source": "libsvm", "path": str(file)}, partition={"clients": 2}))


def test_nan_in_data_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nan.txt"
    file.write_text("1 1:0.5 2:1\n2 1:nan 2:3\n")
    with pytest.raises(InputError, match=r"nan\.txt"):
        scenarios.run(scenario(data={"source": "libsvm", "path": str(file)}, partition={"clients": 2}))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    scenarios.run(scenario(rounds=1), out=out)
    before = contents(out)
    with pytest.raises(InputError, match=r"out = .*already holds a run"):
        scenarios.run(scenario(rounds=1), out=out)
    assert before == contents(out)


def test_an_unknown_runtime_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'flower'"):
        scenarios.run(scenario(), runtime="flwr")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    (tmp_path / "broken_model.py").write_text(
        "import torch\n"
        "class Broken(torch.nn.Module):\n"
        "    calls = 0\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear = torch.nn.Linear(64, 10)\n"
        "    def forward(self, a):\n"
        "        Broken.calls += 1\n"
        "        if Broken.calls > 20:\n"
        "            raise RuntimeError('shapes were never checked')\n"
        "        return self.linear(a.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "broken_model:Broken"


def test_a_client_module_that_raises_ends_the_run_with_its_own_words(broken: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises((RunFailed, RuntimeError, InputError), match="shapes were never checked"):
        scenarios.run(scenario(model={"name": broken, "bias": None, "per_client": "loop"}, rounds=50), out=out)


def test_a_method_that_blows_up_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    wild = {"name": "sgdm", "gamma": 1e30, "eta": 1.0, "label": "wild"}
    quadratic = {"name": "quadratic", "bias": None, "dim": 5}
    out = tmp_path / "run"
    result = scenarios.run(scenario(method=[wild, ALL_METHODS[4] | {"k": 2}], model=quadratic, rounds=20), out=out)
    assert [method["status"] for method in result.summary["methods"]] == ["diverged", "finished"]
    assert np.isfinite(result.rounds["train_loss"]).all() and (out / "report.html").exists()


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "muon"])
def test_optimizers_work_by_name(optimizer: str) -> None:
    method = {"name": "ef21-sgdm", "gamma": 0.02, "optimizer": optimizer} | SPARSE
    result = scenarios.run(scenario(method=[method], rounds=40, evaluate={"every": 20}))
    losses = list(result.rounds["train_loss"])
    assert losses[-1] < 0.9 * losses[0]


def test_steps_that_decay_end_smaller() -> None:
    method = ALL_METHODS[4] | {"gamma": {"value": 0.2, "power": 0.5, "tau": 2}, "eta": {"value": 0.5, "power": 0.5}}
    slow = scenarios.run(scenario(method=[method], rounds=30)).rounds["train_loss"].iloc[-1]
    fast = scenarios.run(scenario(method=[ALL_METHODS[4]], rounds=30)).rounds["train_loss"].iloc[-1]
    assert fast < slow < np.log(10)


@pytest.mark.parametrize(
    ("stop", "word"),
    [
        ({"uplink_bytes": 40_000}, "uplink_bytes"),
        ({"target_accuracy": 0.3}, "target_accuracy"),
        ({"grad_norm_sq": 0.05}, "grad_norm_sq"),
        ({"wall_seconds": 1e-6}, "wall_seconds"),
    ],
)
def test_stop_rules_end_a_method_early(stop: dict[str, float], word: str) -> None:
    ended = scenarios.run(scenario(stop=stop, rounds=500)).summary["methods"][0]
    assert ended["status"] == "stopped" and ended["reason"].startswith(word) and ended["rounds"] < 500


def test_the_interrupted_run_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    from scenarios.progress import Progress, Silent

    class Impatient(Silent):
        def round(self, progress: Progress) -> None:
            if progress.round == 5:
                os.kill(os.getpid(), signal.SIGINT)

    result = scenarios.run(scenario(rounds=500, method=ALL_METHODS), out=tmp_path / "run", listener=Impatient())
    assert result.summary["status"] == "interrupted" and len(result.summary["methods"]) == 1
    assert result.rounds["round"].iloc[-1] == 5 and (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("actors", [0, 2])
def test_a_share_of_a_gpu_on_a_machine_without_one_leaves_nothing_behind(actors: int, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=r"engine\.gpus_per_actor = 0\.25.*use 0"):
        scenarios.run(scenario(engine={"actors": actors, "gpus_per_actor": 0.25}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
