"""What is measured: populations of clients, and how many of them a round asks.

EF21-SGDM, TopK 1 %, batch 20, float32, start = "zero". Free of heavy imports: Flower's workers load it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from scenarios.schema import Scenario

BATCH, ETA, GAMMA = 20, 0.1, 0.05
CLASSES, HELD = 10, 27  # classes, and samples that each client holds
SIDE = 28  # height and width of the network's images


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
      asked: clients per round.
      rounds, flower_rounds: timed ones, of our engine and the loop, and of Flower's simulation, which is slower.
    """

    name: str
    asked: int
    rounds: int
    flower_rounds: int


@dataclass(frozen=True)
class World:
    """One population with its data and model; one process a side measures all its cases.

    Attributes:
      kind: softmax regression, the network of `benchmarks.network`, or a quadratic with exact gradients.
      dim: d, the number of parameters.
      features: numbers of a sample; 0 for the quadratic.
      fraction: k / d of TopK.
      actors: of the resident engine.
    """

    name: str
    kind: Literal["softmax", "network", "quadratic"]
    clients: int
    dim: int
    features: int
    cases: tuple[Case, ...]
    fraction: float = 0.01
    actors: int = 2

    @property
    def k(self) -> int:
        return max(1, round(self.fraction * self.dim))

    def scenario(self) -> Scenario:
        """What the resident engine runs."""
        from scenarios.schema import Scenario

        models: dict[str, dict[str, Any]] = {
            "softmax": {"name": "logistic", "bias": True},
            "network": {"name": "benchmarks.network:Net"},
            "quadratic": {"name": "quadratic", "dim": self.dim, "noise": "none"},
        }
        data: dict[str, Any] = {"source": "digits"}  # of which a quadratic takes none
        if self.features:
            data = {"source": "synthetic", "samples": HELD * self.clients, "features": self.features,
                    "classes": CLASSES, "test_fraction": 0.0}  # fmt: skip
        return Scenario.model_validate({
            "name": "benchmark", "rounds": 1, "data": data, "model": models[self.kind],
            "partition": {"clients": self.clients, "scheme": "iid"},
            "train": {"batch_size": BATCH, "start": "zero", "participation": self.cases[-1].asked / self.clients},
            "method": [{"name": "ef21-sgdm", "eta": ETA, "gamma": GAMMA, "compressor": "topk", "k": self.k,
                        "values": "exact"}],
            "evaluate": {"every": 10**6, "audit": False}, "engine": {"actors": self.actors},
        })  # fmt: skip


def softmax(name: str, clients: int, features: int, cases: Sequence[Case], **more: Any) -> World:
    """Softmax regression with a bias: d = 10 (features + 1)."""
    return World(name, "softmax", clients, CLASSES * (features + 1), features, tuple(cases), **more)


def quadratic(name: str, clients: int, dim: int, cases: Sequence[Case], **more: Any) -> World:
    """q = H (x - b_i), which costs next to nothing."""
    return World(name, "quadratic", clients, dim, 0, tuple(cases), **more)


def worlds(quick: bool) -> list[World]:
    """The table. Of one population, cases that ask fewer come first, so that their peak memory is their own."""
    many = [Case("logistic_100_of_1000", 100, 20 if quick else 100, 3 if quick else 5),
            Case("logistic_1000", 1000, 8 if quick else 30, 2 if quick else 5)]  # fmt: skip
    network = World("cnn_100", "network", 100, 50_186, SIDE * SIDE, (Case("cnn_100", 100, 3 if quick else 8, 2),))
    return [
        softmax("logistic_1000", 1000, 784, many),
        softmax("logistic_100", 100, 784, [Case("logistic_100", 100, 40 if quick else 200, 4 if quick else 8)]),
        network,
        quadratic("d1e6_50", 50, 10**6, [Case("d1e6_50", 50, 4 if quick else 12, 2 if quick else 4)]),
    ]


def names() -> list[str]:
    """The cases of the table, in its order."""
    return [case.name for world in worlds(True) for case in world.cases]
