"""Final models in the run folder: safetensors, with named tensors in the model's shapes and where they come from."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.files import digest
from scenarios.folder import folder_name, place

if TYPE_CHECKING:
    from scenarios.setup import Setup

MODELS, SUFFIX = "models", ".safetensors"
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Saved:
    """A model as its file has it.

    Attributes:
      inputs: shape of a sample, None for a problem without samples.
      classes: of the labels, 0 without samples.
    """

    tensors: Tensors
    scenario: str
    method: str
    round: int
    inputs: tuple[int, ...] | None
    classes: int


def write(folder: Path, setup: Setup, number: int, x: Tensor, round: int) -> Path:
    """The model x (d,) of a method after so many rounds, there as a whole or not at all."""
    labels = [plan.label for plan in setup.plans]
    tensors, data = named(x, setup.problem.shapes), setup.dataset
    told = {
        "format": "pt", "scenario": setup.scenario.name, "method": labels[number], "round": str(round),
        "digest": _digest(tensors), "inputs": json.dumps(None if data is None else data.shape),
        "classes": str(0 if data is None else len(data.classes)),
    }  # fmt: skip
    path = path_of(folder, labels, number)
    path.parent.mkdir(exist_ok=True)
    place(path, save(tensors, metadata=told))
    return path


def read(path: Path) -> Saved:
    """Raises: InputError where it is no model of a run, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError("model", str(path), f"cannot be read: {error}") from None
    try:
        inputs = json.loads(told["inputs"])
        shape = None if inputs is None else tuple(int(side) for side in inputs)
        saved = Saved(tensors, told["scenario"], told["method"], int(told["round"]), shape, int(told["classes"]))
        expected = told["digest"]
    except (KeyError, ValueError, TypeError):
        raise InputError("model", str(path), "is not a model that a run wrote: its notes are missing") from None
    if _digest(tensors) != expected:
        raise InputError("model", str(path), "is damaged: its digest does not match")
    return saved


def path_of(folder: Path, labels: Sequence[str], number: int) -> Path:
    """The file of a method; of labels that look alike as file names, the later ones carry their number."""
    names = [folder_name(label) for label in labels]
    name = names[number]
    return folder / MODELS / f"{name if names.index(name) == number else f'{name}-{number}'}{SUFFIX}"


def named(x: Tensor, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> Tensors:
    """The parameters in x (d,), by name."""
    parts = torch.split(x.detach().cpu(), [math.prod(shape) for _, shape in shapes])
    return {name: part.reshape(shape).clone() for (name, shape), part in zip(shapes, parts, strict=True)}


def _digest(tensors: Tensors) -> str:
    """Over names, types, shapes and values."""
    told: list[Any] = [(name, str(t.dtype), list(t.shape)) for name, t in sorted(tensors.items())]
    values = b"".join(
        t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for _, t in sorted(tensors.items())
    )
    return digest(json.dumps(told).encode() + values).hex()
