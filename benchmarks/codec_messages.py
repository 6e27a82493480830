"""Messages to encode: uniform supports with Laplace's tails, and v - g of EF21-SGDM clients.

The real ones are made on the spot by this project's problems and method: softmax regression (d = 7,850), an MLP
(101,770) and a CNN (1,663,370), four label-sorted clients, eta = 0.1, batch 32, after `ROUNDS` rounds of TopK with
1 %; then 0.1, 1 and 10 % of the same v - g are sent. Images are MNIST's where its folder is given, else scikit-learn's
digits enlarged to 20 x 20 in the middle of 28 x 28, as MNIST's are. Inputs that are always zero at the border ("dead
inputs") make supports easy to code, so both are measured: images as they are, and centred with noise in every pixel
("live inputs").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clients.ef21 import EF21SGDM
from fl_ef21 import problems
from fl_ef21.compressors.topk import TopK
from fl_ef21.data import Dataset, load
from fl_ef21.data.base import Raw, build
from fl_ef21.messages import Compressed, Floats, Indices

UNIFORM = [
    (7850, 78), (7850, 785), (10**5, 100), (10**5, 1000), (10**5, 5000),
    (10**6, 1000), (10**6, 10_000), (10**6, 100_000), (10**7, 100_000),
]  # fmt: skip
FRACTIONS = (0.001, 0.01, 0.1)
CLIENTS, BATCH, ROUNDS, ETA, GAMMA = 4, 32, 40, 0.1, 0.05
SAMPLES = 8000  # of MNIST: the first ones
NOISE = 0.3  # standard deviation, pixels lying in [0, 1]


@dataclass(frozen=True)
class Message:
    """One round's messages of a few clients that all send k numbers, in float32.

    Attributes:
      threshold: where the values are threshold + Exp(1) with a sign; None where their law is not known.
      shapes: the named parameter tensors that lie in the vector; empty where there are none.
    """

    name: str
    c: Compressed
    threshold: float | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def k(self) -> int:
        return int(self.c.counts[0])


def uniform(d: int, k: int, clients: int = 0, seed: int = 0) -> Message:
    """Uniform supports; values as TopK leaves them of Laplace's law.

    As many clients as make 5,000 entries, or as given.
    """
    rng = np.random.default_rng((seed, d, k))
    n = clients or max(1, 5000 // k)
    index = np.concatenate([np.sort(rng.choice(d, k, replace=False, shuffle=False)) for _ in range(n)])
    return _message(f"uniform {d:,} {k:,}", d, k, index, rng)


def many(d: int, k: int, clients: int, seed: int = 0) -> Message:
    """As `uniform`, in a time that does not grow with d: k sorted numbers below d - k + 1, and 0 .. k - 1 added.

    Not quite uniform over subsets, which gives gaps a slightly longer tail: for speed, not for sizes.
    """
    rng = np.random.default_rng((seed, d, k))
    index = np.sort(rng.integers(0, d - k + 1, (clients, k), dtype=np.int64), axis=1) + np.arange(k)
    return _message(f"{clients:,} x {d:,} {k:,}", d, k, index.reshape(-1), rng)


def _message(name: str, d: int, k: int, index: np.ndarray, rng: np.random.Generator) -> Message:
    threshold = math.log(d / k)
    size = threshold + rng.standard_exponential(len(index), dtype=np.float32)
    x = np.where(rng.random(len(index), dtype=np.float32) < 0.5, size, -size).astype(np.float32)
    counts = torch.full((len(index) // k,), k)
    c = Compressed(d, counts, Indices(torch.from_numpy(index.astype(np.int64))), Floats(torch.from_numpy(x)))
    return Message(name, c, threshold)


class Network(nn.Module):
    """Two 5 x 5 convolutions of 32 and 64 filters, 512 hidden units: 1,663,370 parameters on 28 x 28 images.

    Reference: McMahan et al. Communication-efficient learning of deep networks. AISTATS 2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Linear(512, 10),
        )  # fmt: skip

    def forward(self, a: Tensor) -> Tensor:
        """Scores (N, 10) of images (N, 1, 28, 28)."""
        out: Tensor = self.layers(a)
        return out


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "logreg": ("logistic", {"bias": True}),
    "mlp": ("mlp", {"hidden": [128], "per_client": "loop"}),
    "cnn": (f"{__name__}:Network", {"per_client": "loop"}),
}


def images(mnist: Path | None, live: bool) -> Dataset:
    """28 x 28 images, some of whose pixels are always zero, or none."""
    if mnist is None:
        found = load("digits", test_fraction=0.0)
        large = nn.functional.interpolate(torch.from_numpy(found.features), size=(20, 20), mode="bilinear")
        x = nn.functional.pad(large, (4, 4, 4, 4)).numpy()
    else:
        found = load("mnist", path=mnist)
        x = found.features[:SAMPLES]
    if live:
        x = x - x.mean(axis=0) + NOISE * np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32)
    name = f"{'digits' if mnist is None else found.name}, {'live' if live else 'dead'} inputs"
    return build(name, Raw("data", name, x, found.labels[: len(x)]))


def real(data: Dataset, model: str, rounds: int = ROUNDS) -> Iterator[Message]:
    """What the clients would send after so many rounds of TopK with 1 %, for each of FRACTIONS."""
    name, options = MODELS[model]
    parts = np.array_split(np.argsort(data.labels, kind="stable"), CLIENTS)
    problem = problems.build(
        name, clients=CLIENTS, data=data, parts=parts, options=options, batch_size=BATCH, weights="equal", seed=0,
        dtype=torch.float32,
    )  # fmt: skip
    keys, everybody, x = torch.zeros(CLIENTS, dtype=torch.int64), torch.arange(CLIENTS), problem.x0()

    def C(u: Tensor, fraction: float = 0.01) -> Compressed:
        return TopK(max(1, round(fraction * problem.dim)))(u, keys)

    method, last = EF21SGDM(ETA), list[Tensor]()

    def remembering(u: Tensor) -> Compressed:
        last[:] = [u]
        return C(u)

    state = method.start(problem.gradients(x, everybody, 0))
    for t in range(1, rounds + 1):
        x = x - GAMMA * state.g.mean(dim=0)
        state, _ = method.step(state, problem.gradients(x, everybody, t), remembering)
    for fraction in FRACTIONS:
        yield Message(f"{model} {100 * fraction:g} %", C(last[0], fraction), None, problem.shapes)


def uniform_messages(quick: bool) -> Iterator[Message]:
    """The shapes of the study."""
    for d, k in UNIFORM[:7] if quick else UNIFORM:
        yield uniform(d, k)


def real_messages(mnist: Path | None, live: bool, quick: bool) -> Iterator[tuple[str, Message]]:
    """The data's name and a message, for each model and fraction."""
    data = images(mnist, live)
    for model in ("logreg", "mlp") if quick else MODELS:
        for message in real(data, model):
            yield data.name, message
