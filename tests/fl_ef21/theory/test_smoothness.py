"""Smoothness constants against Hessians taken by autograd."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fl_ef21.data.base import Dataset
from fl_ef21.errors import InputError
from fl_ef21.problems import build
from fl_ef21.problems.exact import gradient
from fl_ef21.theory import smoothness as module
from fl_ef21.theory.lanczos import largest
from fl_ef21.theory.smoothness import smoothness
from fl_ef21.types import Problem

SIZES = (5, 9, 5, 2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two are slower on numbers this few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def problem(name: str = "logistic", classes: int = 3, width: int = 6, **changes: Any) -> Problem:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(sum(SIZES), width)).astype(np.float32) * rng.uniform(0.3, 2, width).astype(np.float32)
    labels = rng.integers(0, classes, sum(SIZES))
    names = tuple(str(c) for c in range(classes))
    data = Dataset("random", features, labels, names, features[:0], labels[:0])
    given: dict[str, Any] = {
        "clients": len(SIZES), "data": data, "parts": np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1]),
        "options": {}, "batch_size": 2, "weights": "samples", "seed": 3, "dtype": torch.float64,
    }  # fmt: skip
    return build(name, **(given | changes))


def hessian(p: Any, y: Tensor, client: int) -> Tensor:
    """Of f_i at y, by autograd of the loss written out."""
    first, size = int(p.first[client]), int(p.sizes[client])
    A, labels = p.features[first : first + size], p.labels[first : first + size]

    def loss(x: Tensor) -> Tensor:
        if p.model.bias:
            A1 = torch.cat([A, torch.ones(size, 1, dtype=A.dtype)], dim=1)
            W = torch.cat([x[: -p.model.classes].view(p.model.classes, -1), x[-p.model.classes :, None]], dim=1)
        else:
            A1, W = A, x.view(p.model.classes, -1)
        r = 0.0 if p.regularizer is None else p.regularizer.value(x)
        return F.cross_entropy(A1 @ W.T, labels) + r

    return torch.autograd.functional.hessian(loss, y)  # type: ignore[no-untyped-call,no-any-return]


def mixed(w: Tensor, H: list[Tensor]) -> Tensor:
    return (w[:, None, None] * torch.stack(H)).sum(dim=0)


def top(H: Tensor) -> float:
    return float(torch.linalg.eigvalsh(H).abs().max())


@pytest.mark.parametrize(
    ("name", "options"),
    [("logistic", {}), ("logistic", {"regularizer": 0.3, "bias": True}), ("logistic-nonconvex", {"regularizer": 0.2})],
)
def test_the_bounds_of_softmax_regression_hold_at_any_point(name: str, options: dict[str, Any]) -> None:
    p = problem(name, options=options)
    found = smoothness(p)
    w = p.weights
    for seed in range(3):
        y = 1.5 * seed * torch.randn(p.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        H = [hessian(p, y, i) for i in range(p.clients)]
        assert all(top(h) <= float(L) * (1 + 1e-12) for h, L in zip(H, found.each, strict=True))
        assert top(mixed(w, H)) <= found.L * (1 + 1e-12)
    assert found.kind == "bound"
    assert found.tilde >= found.L * (1 - 1e-12)
    assert found.tilde == pytest.approx(math.sqrt(float((w * found.each**2).sum())))


def test_for_two_classes_the_bound_is_reached_at_zero() -> None:
    p = problem("logistic-nonconvex", classes=2, options={"regularizer": 0.1, "bias": True})
    found, zero = smoothness(p), torch.zeros(p.dim, dtype=torch.float64)
    H = [hessian(p, zero, i) for i in range(p.clients)]
    assert found.each.tolist() == pytest.approx([top(h) for h in H], rel=1e-10)
    assert math.isclose(found.L, top(mixed(p.weights, H)), rel_tol=1e-10)


def test_wide_and_long_data_have_the_eigenvalues_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    small = smoothness(problem())
    monkeypatch.setattr(module, "_DENSE", 0)
    big = smoothness(problem())
    assert 1 - 1e-9 <= big.L / small.L <= 1 + 2e-3
    assert big.each.tolist() == pytest.approx(small.each.tolist(), rel=2e-3)


def test_a_quadratic_has_its_largest_eigenvalue_whatever_is_around_it() -> None:
    options = {"L": 3.0, "mu": 0.5, "dim": 7}
    p = problem("quadratic", options=options, weights="equal", data=None, parts=None, local_steps=2, local_rate=0.1)
    found = smoothness(p)
    assert (found.L, found.mean, found.kind) == (3.0, 3.0, "exact")
    assert found.tilde == pytest.approx(3.0)
    assert found.each.tolist() == [3.0] * p.clients


def test_a_network_is_told_the_curvature_at_the_point_it_is_asked_about() -> None:
    p: Any = problem("mlp", options={"hidden": [3], "regularizer": 0.01})
    y = p.x0() + 0.4 * torch.randn(p.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = smoothness(p, y)

    def slopes(i: int) -> Tensor:
        """Columns of the Hessian, by differences along every axis."""
        step = 1e-6 * torch.eye(p.dim, dtype=torch.float64)
        return torch.stack([(gradient(p, y + e, i) - gradient(p, y - e, i)) / 2e-6 for e in step])

    H = [slopes(i) for i in range(p.clients)]
    assert found.kind == "estimate" and found.seen == p.clients
    assert found.each.tolist() == pytest.approx([top((h + h.T) / 2) for h in H], rel=2e-2)
    assert math.isclose(found.L, top(mixed(p.weights, H)), rel_tol=2e-2)


def test_gradients_of_clients_add_up_to_that_of_the_objective() -> None:
    for p in (problem("logistic-nonconvex"), problem("quadratic", weights="equal", data=None, parts=None)):
        y = torch.randn(p.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        total = p.weights @ torch.stack([gradient(p, y, i) for i in range(p.clients)])
        assert torch.allclose(total, p.objective(y)[1], rtol=1e-12, atol=1e-14)


def test_samples_that_lie_elsewhere_are_asked_for_by_name() -> None:
    with pytest.raises(InputError, match=r"data\.source"):
        smoothness(problem().shard(range(2)))


@pytest.mark.parametrize("values", [[3.0, 1.0, 0.1], [-4.0, 2.0, 1.0], [1.0], [0.0, 0.0], [2.0, 2.0, 2.0]])
def test_lanczos_finds_the_largest_absolute_eigenvalue(values: list[float]) -> None:
    H = torch.tensor(values, dtype=torch.float64)
    assert largest(lambda v: H * v, len(values)) == pytest.approx(max(abs(v) for v in values), abs=1e-12, rel=1e-3)
