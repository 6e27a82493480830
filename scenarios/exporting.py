"""Final models for elsewhere: `torch.export` programs and ONNX graphs, from a run folder and nothing else.

What is written has been read again and has given the model's own outputs, on batches of several sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fl_ef21 import problems
from fl_ef21.data import Dataset
from fl_ef21.errors import InputError, nearest
from fl_ef21.problems.modules import Module
from fl_ef21.problems.sampled import Sampled
from fl_ef21.problems.softmax import Softmax
from scenarios.loading import load
from scenarios.model_files import MODELS, SUFFIX, Saved, read
from scenarios.schema import Scenario

TRIED = (2, 1, 5)  # samples of a batch, of which the first is shown to the exporter
CLOSE = {torch.float32: 1e-4, torch.float64: 1e-10}  # relative to the largest output, between runtimes


@dataclass(frozen=True)
class Exported:
    """One file of one method; `why` it is not there, "" where it is."""

    method: str
    format: str
    path: Path
    why: str


class Cannot(Exception):
    """A model that a format has no room for, in words."""


def export(folder: Path, *, onnx: bool = False, method: str | None = None) -> list[Exported]:
    """Write every method's model beside its safetensors file, as .pt2 and, if wanted, as .onnx.

    Raises: InputError where the folder holds no models, or none of this method, or a file is damaged.
    """
    scenario, models = load(folder / "scenario.toml"), folder / MODELS
    paths = sorted(models.glob(f"*{SUFFIX}"))
    if not paths:
        advice = "holds no models/*.safetensors: they are written as a method ends, by this version and later ones"
        raise InputError("DIR", str(folder), advice)
    saved = {path: read(path) for path in paths}
    known = [one.method for one in saved.values()]
    if method is not None and method not in known:
        raise InputError("--method", method, f"the run has no model of it; {nearest(method, known)}")
    formats = {"pt2": _pt2} | ({"onnx": _onnx} if onnx else {})
    return [
        _written(scenario, one, format, path.with_suffix(f".{format}"), write)
        for path, one in saved.items() if method in (None, one.method)
        for format, write in formats.items()
    ]  # fmt: skip


def network(scenario: Scenario, saved: Saved) -> nn.Module:
    """The model as a module in eval mode, from samples (N, *shape) to outputs. Raises: Cannot; InputError."""
    if saved.inputs is None:
        raise Cannot(f"{scenario.model.name} has no samples for inputs: it is a function of its parameters alone")
    empty = np.zeros((0, *saved.inputs), np.float32), np.zeros(0, np.int64)
    blank = np.zeros((2, *saved.inputs), np.float32), np.arange(2)
    data = Dataset("blank", *blank, tuple(map(str, range(saved.classes))), *empty)
    options = {key: value for key, value in scenario.model if value is not None and key not in ("name", "per_client")}
    dtype = next(iter(saved.tensors.values())).dtype
    problem = problems.build(
        scenario.model.name, clients=1, data=data, parts=[np.arange(2)], options=options, batch_size="full",
        weights="equal", seed=scenario.seed, dtype=dtype,
    )  # fmt: skip
    assert isinstance(problem, Sampled)
    made = _module(problem.model)
    _fill(made, saved.tensors)
    return made.eval()


class Regression(nn.Module):
    """Softmax regression: the classes' logits (N, classes) of samples that are flattened."""

    def __init__(self, model: Softmax) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(model.classes, model.features))
        self.b = nn.Parameter(torch.zeros(model.classes)) if model.bias else None

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.linear(a.flatten(1), self.W, self.b)


def _module(model: Any) -> nn.Module:
    if isinstance(model, Softmax):
        return Regression(model)
    assert isinstance(model, Module)
    return model.module


def _fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    mine = {name: p for name, p in module.named_parameters() if p.requires_grad}
    found, wanted = ({n: tuple(t.shape) for n, t in some.items()} for some in (tensors, mine))
    if found != wanted:
        raise Cannot(f"the scenario's model has parameters {wanted}, the file {found}: its class has changed since")
    dtype = next(iter(tensors.values())).dtype
    module.to(dtype)
    with torch.no_grad():
        for name, p in mine.items():
            p.copy_(tensors[name])


def _written(
    scenario: Scenario, saved: Saved, format: str, path: Path, write: Callable[[nn.Module, Tensor, Path], Any]
) -> Exported:
    """What became of one file; where it does not work nothing is left of it."""
    scratch = path.with_name(f".{path.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of exporters about themselves, and what the run has said already
            module, inputs = network(scenario, saved), _samples(saved, max(TRIED))
            again = write(module, inputs[: TRIED[0]], scratch)
            _compare(module, again, inputs)
        scratch.replace(path)
        return Exported(saved.method, format, path, "")
    except InputError:
        raise
    except ModuleNotFoundError as error:
        why = f"the package {error.name} is not installed: pip install 'fl-ef21[onnx]'"
    except Cannot as error:
        why = str(error)
    except Exception as error:  # exporters raise whatever the model runs into
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    finally:
        scratch.unlink(missing_ok=True)
    return Exported(saved.method, format, path, why)


def _samples(saved: Saved, count: int) -> Tensor:
    assert saved.inputs is not None
    drawn = torch.randn(count, *saved.inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return drawn.to(next(iter(saved.tensors.values())).dtype)


def _compare(module: nn.Module, again: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
    """Raises: Cannot where what was read again gives other outputs."""
    for count in TRIED:
        with torch.no_grad():
            ours, theirs = module(inputs[:count]), again(inputs[:count])
        if theirs.shape != ours.shape:
            raise Cannot(f"what was written gives outputs {tuple(theirs.shape)} for {tuple(ours.shape)}")
        gap, size = float((theirs - ours).abs().max()), float(ours.abs().max())
        if not torch.equal(theirs.isfinite(), ours.isfinite()) or gap > CLOSE[ours.dtype] * (1 + size):
            raise Cannot(f"what was written gives other outputs: off by {gap:.3g} of {size:.3g}")


def _pt2(module: nn.Module, inputs: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    from torch.export import Dim
    from torch.export import export as traced
    from torch.export import load as loaded
    from torch.export import save as saved

    with path.open("wb") as file:  # by name it would insist on the suffix
        saved(traced(module, (inputs,), dynamic_shapes=({0: Dim("samples")},)), file)
    with path.open("rb") as file:
        return loaded(file).module()


def _onnx(module: nn.Module, inputs: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    import onnx
    import onnxscript  # noqa: F401  # the exporter is written in it
    from onnx.reference import ReferenceEvaluator
    from torch.export import Dim

    made = torch.onnx.export(
        module, (inputs,), dynamo=True, dynamic_shapes=({0: Dim("samples")},), input_names=["samples"],
        output_names=["outputs"], verbose=False,
    )  # fmt: skip
    assert made is not None
    graph = made.model_proto
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())
    runs = ReferenceEvaluator(onnx.load_from_string(path.read_bytes()))
    return lambda a: torch.from_numpy(np.asarray(runs.run(None, {"samples": a.numpy()})[0]))
