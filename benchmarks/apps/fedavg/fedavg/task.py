"""Softmax regression on synthetic data: 784 features, 10 classes, d = 7,850."""

import numpy as np
from numpy.typing import NDArray

FEATURES, CLASSES, SAMPLES = 784, 10, 60
Vector = NDArray[np.float32]


def data(client: int) -> tuple[Vector, NDArray[np.int64]]:
    """A client's samples: its own classes are more likely than others."""
    rng = np.random.default_rng(client)
    centres = np.random.default_rng(10**6).standard_normal((CLASSES, FEATURES)).astype(np.float32)
    y = (rng.integers(0, 3, SAMPLES) + client) % CLASSES
    return centres[y] + 3 * rng.standard_normal((SAMPLES, FEATURES)).astype(np.float32), y


def start() -> tuple[Vector, Vector]:
    """Weights (784, 10) and biases (10,)."""
    return np.zeros((FEATURES, CLASSES), np.float32), np.zeros(CLASSES, np.float32)


def gradient(weight: Vector, bias: Vector, x: Vector, y: NDArray[np.int64]) -> tuple[Vector, Vector, float]:
    """Gradients of the mean cross entropy, and its value."""
    scores = x @ weight + bias
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = float(-np.log(p[rows, y] + 1e-12).mean())
    p[rows, y] -= 1
    p /= len(y)
    return x.T @ p, p.sum(axis=0), loss
