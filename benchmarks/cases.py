"""What is measured: scenarios, and the same arithmetic for the rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.schema import Scenario

BATCH, ETA, GAMMA, FRACTION = 20, 0.1, 0.05, 0.01
Gradient = Callable[[Tensor, int, int], Tensor]  # x, client, round -> (d,)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
      scenario: what the resident engine runs.
      rounds: timed rounds; `flower_rounds` for Flower's simulation, which is slower.
    """

    name: str
    scenario: Scenario
    rounds: int
    flower_rounds: int


def _scenario(clients: int, model: dict[str, object], data: dict[str, object], rounds: int) -> Scenario:
    return Scenario.model_validate({
        "name": "benchmark", "rounds": rounds, "data": data, "model": model,
        "partition": {"clients": clients, "scheme": "iid"}, "train": {"batch_size": BATCH, "start": "zero"},
        "method": [{"name": "ef21-sgdm", "eta": ETA, "gamma": GAMMA, "compressor": "topk", "fraction": FRACTION}],
        "evaluate": {"every": 10**6, "audit": False}, "engine": {"actors": 2},
    })  # fmt: skip


def cases(quick: bool) -> list[Case]:
    """The table's rows: logistic regression, a small CNN, and a long vector."""

    def logistic(clients: int, rounds: int, flower_rounds: int) -> Case:
        data: dict[str, object] = {"source": "synthetic", "samples": 30 * clients, "features": 784, "classes": 10,
                                   "test_fraction": 0.1}  # fmt: skip
        model: dict[str, object] = {"name": "logistic", "bias": True}
        return Case(f"logistic_{clients}", _scenario(clients, model, data, rounds), rounds, flower_rounds)

    few = 4 if quick else 1
    cnn = _scenario(100, {"name": "cnn"}, {"source": "digits"}, 8)
    long = _scenario(50, {"name": "quadratic", "dim": 1_000_000}, {"source": "digits"}, 10)
    return [
        logistic(100, 200 // few, 8 // min(few, 2)),
        logistic(1000, 40 // few, 3),
        Case("cnn_100", cnn, 8 // min(few, 2), 3),
        Case("d1e6_50", long, 12 // min(few, 2), 3),
    ]


def simple_gradient(case: Case) -> tuple[int, Gradient]:
    """d, and one client's stochastic gradient in plain torch, as a user of Flower would write it."""
    from scenarios.setup import prepare

    setup = prepare(case.scenario)
    problem = setup.problem

    def gradient(x: Tensor, client: int, round: int) -> Tensor:
        return problem.gradients(x, torch.tensor([client]), round)[0]

    return problem.dim, gradient
