"""Final models: what is in their files, and that programs made of them compute what the run's model computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

import scenarios
from fl_ef21.errors import InputError
from fl_ef21.problems.sampled import Sampled
from scenarios import exporting
from scenarios.cli import app
from scenarios.model_files import named, path_of, read
from scenarios.schema import Scenario
from scenarios.setup import prepare
from tests.small import ALL_METHODS, scenario

METHOD = ALL_METHODS[4] | {"label": "ours"}
NETWORK: dict[str, Any] = {"bias": None}
MODELS: dict[str, dict[str, Any]] = {
    "logistic": {"name": "logistic", "bias": True},
    "logistic without bias": {"name": "logistic-nonconvex", "bias": None},
    "mlp": {"name": "mlp", "hidden": [8]} | NETWORK,
    "cnn": {"name": "cnn", "channels": 4} | NETWORK,
    "of one's own": {"name": "tests.scenarios.test_models_out:Scaled", "args": {"width": 10}} | NETWORK,
    "branching": {"name": "tests.scenarios.test_models_out:Branching", "per_client": "loop"} | NETWORK,
}
SLOW = ("mlp", "cnn", "logistic without bias")  # exporting takes seconds
EXPORTED = [pytest.param(one, marks=pytest.mark.nightly if one in SLOW else ()) for one in MODELS if one != "branching"]


class Scaled(nn.Module):
    """A network with a buffer, and a parameter that is not trained, both drawn as it is made."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.fixed = nn.Parameter(torch.randn(width), requires_grad=False)
        self.register_buffer("shift", torch.randn(width))
        self.last = nn.Linear(width, 10, bias=False)

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.first(a.flatten(1)) * self.fixed + self.shift))
        return out


class Branching(nn.Module):
    """What it computes depends on what the samples are, which a traced program cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.layer(a.flatten(1))
        return out if float(out.detach().sum()) > 0 else 2 * out


def run(folder: Path, **changes: Any) -> Scenario:
    wanted = scenario(**{"method": [METHOD], "rounds": 2, **changes})
    scenarios.run(wanted, out=folder)
    return wanted


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "run"
    run(folder)
    return folder


def test_a_run_leaves_its_model_with_names_shapes_and_where_it_is_from(finished: Path) -> None:
    path = finished / "models" / "ours.safetensors"
    saved, tensors = read(path), load_file(path)
    assert (saved.scenario, saved.method, saved.round, saved.classes) == ("small", "ours", 2, 10)
    assert saved.inputs == (1, 8, 8)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {"W": (10, 64), "b": (10,)}
    assert all(torch.equal(saved.tensors[name], tensors[name]) for name in tensors)
    setup = prepare(scenario(method=[METHOD], rounds=2))
    x = torch.cat([tensors[name].flatten() for name, _ in setup.problem.shapes])
    loss, _ = setup.problem.objective(x)
    assert loss == scenarios.Result.load(finished).rounds["train_loss"].iloc[-1]


@pytest.mark.parametrize("model", EXPORTED)
def test_a_program_computes_what_the_runs_model_computes(model: str, tmp_path: Path) -> None:
    wanted = run(tmp_path / "run", model=MODELS[model], train={"dtype": "float64"})
    (done,) = exporting.export(tmp_path / "run")
    assert done.why == "" and done.path == tmp_path / "run" / "models" / "ours.pt2"
    program, problem = torch.export.load(done.path).module(), prepare(wanted).problem
    assert isinstance(problem, Sampled)
    tensors = read(done.path.with_suffix(".safetensors")).tensors
    x = torch.cat([tensors[name].flatten() for name, _ in problem.shapes])
    for features in (problem.test[0], problem.features[:1]):
        outputs = program(features)
        assert outputs.shape == (len(features), 10)
        assert torch.equal(outputs.argmax(dim=1), problem.model.predict(x, features))
    with torch.no_grad():
        losses = nn.functional.cross_entropy(program(problem.features), problem.labels, reduction="none")
    means = torch.stack([part.mean() for part in losses.split(problem.sizes.tolist())])
    told = scenarios.Result.load(tmp_path / "run").rounds["train_loss"].iloc[-1]
    penalty = 0.0 if problem.regularizer is None else float(problem.regularizer.value(x))
    assert float(means @ problem.weights) + penalty == pytest.approx(told, rel=1e-12)


def test_onnx_computes_it_too_or_says_what_is_missing(finished: Path) -> None:
    done = {one.format: one for one in exporting.export(finished, onnx=True)}
    assert done["pt2"].why == "" and done["pt2"].path.is_file()
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        assert "not installed: pip install 'fl-ef21[onnx]'" in done["onnx"].why
        assert not done["onnx"].path.exists()
    else:
        assert done["onnx"].why == "" and done["onnx"].path.is_file()


def test_what_no_program_can_hold_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a", model=MODELS["branching"])
    run(tmp_path / "b", model={"name": "quadratic", "dim": 6, "bias": None})
    assert {name: tuple(t.shape) for name, t in read(tmp_path / "b" / "models" / "ours.safetensors").tensors.items()}
    for folder, words in (("a", "ata-dependent"), ("b", "quadratic has no samples for inputs")):
        (done,) = exporting.export(tmp_path / folder)
        assert words in done.why, done.why
        assert [path.name for path in (tmp_path / folder / "models").iterdir()] == ["ours.safetensors"]


def test_the_run_folder_is_enough(tmp_path: Path, finished: Path) -> None:
    """Moved elsewhere, and its data gone."""
    shutil.copytree(finished, tmp_path / "moved")
    text = (tmp_path / "moved" / "scenario.toml").read_text()
    gone = text.replace('source = "digits"', 'source = "mnist"\npath = "/nowhere"')
    assert gone != text
    (tmp_path / "moved" / "scenario.toml").write_text(gone)
    assert [one.why for one in exporting.export(tmp_path / "moved")] == [""]


def test_a_damaged_model_is_refused(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "models" / "ours.safetensors"
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.write_bytes(body)
    with pytest.raises(InputError, match="is damaged: its digest"):
        exporting.export(tmp_path / "run")
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        exporting.export(tmp_path / "run")
    path.unlink()
    with pytest.raises(InputError, match=r"holds no models/\*\.safetensors"):
        exporting.export(tmp_path / "run")


def test_a_class_that_has_changed_since_is_named(tmp_path: Path) -> None:
    run(tmp_path / "run", model=MODELS["of one's own"])
    text = (tmp_path / "run" / "scenario.toml").read_text()
    (tmp_path / "run" / "scenario.toml").write_text(text.replace("width = 10", "width = 12"))
    (done,) = exporting.export(tmp_path / "run")
    assert "its class has changed since" in done.why and "(12, 64)" in done.why


def test_methods_whose_labels_look_alike_have_files_of_their_own(tmp_path: Path) -> None:
    labels = ["a b", "a/b", "c"]
    names = [path_of(tmp_path, labels, number).name for number in range(3)]
    assert names == ["a-b.safetensors", "a-b-1.safetensors", "c.safetensors"]
    methods = [METHOD | {"label": label, "gamma": 0.1 + at} for at, label in enumerate(labels)]
    run(tmp_path / "run", method=methods)
    assert [read(path_of(tmp_path / "run", labels, number)).method for number in range(3)] == labels
    (one,) = exporting.export(tmp_path / "run", method="a/b")
    assert one.path.name == "a-b-1.pt2" and one.why == ""
    with pytest.raises(InputError, match="did you mean 'a/b'"):
        exporting.export(tmp_path / "run", method="a-b")


def test_parameters_lie_in_x_in_their_order() -> None:
    parts = named(torch.arange(7.0), (("p", (2, 2)), ("q", (3,))))
    assert parts["p"].tolist() == [[0, 1], [2, 3]] and parts["q"].tolist() == [4, 5, 6]


def test_the_command_prints_what_it_wrote_and_fails_where_it_could_not(tmp_path: Path) -> None:
    run(tmp_path / "run", model={"name": "quadratic", "dim": 6, "bias": None})
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--format", "json"])
    assert done.exit_code == 5 and "ours: no pt2: quadratic has no samples" in done.stderr
    (told,) = json.loads(done.stdout)
    assert told["method"] == "ours" and told["format"] == "pt2" and told["why"]
    assert CliRunner().invoke(app, ["export", str(tmp_path)]).exit_code == 3
