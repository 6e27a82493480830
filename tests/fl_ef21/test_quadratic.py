"""Quadratics: their closed forms, the moments of their noise, and the constants of Theorem 1."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.errors import InputError
from fl_ef21.problems import build
from fl_ef21.problems.noise import Gaussian, Noise, ThreePoint
from fl_ef21.problems.quadratic import Quadratic


def problem(name: str = "quadratic", **changes: Any) -> Quadratic:
    given: dict[str, Any] = {
        "clients": 5, "data": None, "parts": None, "batch_size": 1, "weights": "equal", "seed": 3,
        "dtype": torch.float64, "options": {},
    }  # fmt: skip
    made = build(name, **(given | changes))
    assert isinstance(made, Quadratic)
    return made


def point(p: Quadratic) -> Tensor:
    return torch.randn(p.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_eigenvalues_are_spaced_geometrically_from_mu_to_L() -> None:
    H = problem(options={"L": 8.0, "mu": 1.0, "dim": 4}).H
    assert torch.allclose(H, torch.tensor([1.0, 2, 4, 8], dtype=torch.float64), rtol=1e-14)
    assert problem(options={"L": 3.0, "dim": 1}).H.tolist() == [3.0]


def test_full_gradients_and_the_objective_are_the_formula() -> None:
    p = problem(batch_size="full", options={"dim": 6, "heterogeneity": 2.0})
    x = point(p).requires_grad_()
    losses = [0.5 * ((x - b) * p.H * (x - b)).sum() for b in p.b]
    for i, loss in enumerate(losses):
        (g,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert torch.allclose(p.gradients(x.detach(), torch.tensor([i]), 1)[0], g, rtol=1e-13)
    value, gradient = p.objective(x.detach())
    mean = torch.stack(losses).mean()
    assert value == pytest.approx(float(mean.detach()), rel=1e-13)
    assert torch.allclose(gradient, torch.autograd.grad(mean, x)[0], rtol=1e-12)
    assert p.accuracy(x) is None


def test_centres_spread_as_heterogeneity_says() -> None:
    p = problem(clients=2000, options={"dim": 20, "heterogeneity": 3.0})
    assert p.b.square().mean() == pytest.approx(9, rel=0.05)
    assert not problem(options={"heterogeneity": 0}).b.any()
    few = problem(clients=7, options={"dim": 20, "heterogeneity": 3.0})
    assert torch.equal(few.b, p.b[:7])


@pytest.mark.parametrize("noise", [Gaussian(2.0), ThreePoint(2.0)])
@pytest.mark.parametrize("B", [1, 5])
def test_noise_has_mean_zero_and_variance_sigma_squared_over_the_batch(noise: Noise, B: int) -> None:
    n, d = 40_000, 4
    xi = noise.mean(randomness.keys(0, "test", torch.arange(n), 0), B, d)
    assert xi.square().sum(dim=1).mean() == pytest.approx(4 / B, rel=0.03)
    assert bool((xi.mean(dim=0).abs() < 5 * 2 / (n * B) ** 0.5).all())


def test_gradients_are_exact_plus_the_noise_of_this_client_and_round() -> None:
    p, exact = problem(batch_size=3), problem(batch_size="full")
    x, ids = point(p), torch.tensor([4, 1])
    q = p.gradients(x, ids, 7)
    assert torch.equal(q, p.gradients(x, torch.arange(5), 7)[ids])
    assert not torch.equal(q, p.gradients(x, ids, 8))
    noise = [problem(batch_size=B).gradients(x, ids, 7) - exact.gradients(x, ids, 7) for B in (1, 4)]
    assert torch.allclose(noise[0], 2 * noise[1], rtol=1e-9)


@pytest.mark.parametrize("options", [{"noise": "none"}, {"noise": 0}, {"sigma": 0.0}])
def test_without_noise_any_batch_is_the_full_gradient(options: dict[str, Any]) -> None:
    p, full = problem(options=options), problem(batch_size="full")
    assert torch.equal(p.gradients(point(p), torch.arange(5), 1), full.gradients(point(p), torch.arange(5), 1))


def test_a_number_for_noise_is_its_sigma() -> None:
    one, other = problem(options={"noise": 0.5}), problem(options={"noise": "gaussian", "sigma": 0.5})
    assert torch.equal(one.gradients(point(one), torch.arange(5), 1), other.gradients(point(one), torch.arange(5), 1))


def test_a_shard_keeps_ids_and_its_objectives_add_up() -> None:
    p = problem(options={"dim": 6})
    x, pieces = point(p), []
    for held in (range(2), range(2, 5)):
        shard = pickle.loads(pickle.dumps(p.shard(held)))
        assert len(shard.b) == len(held) and shard.clients == 5
        ids = torch.tensor(held)
        assert torch.equal(shard.gradients(x, ids, 3), p.gradients(x, ids, 3))
        pieces.append(shard.objective(x))
    assert sum(f for f, _ in pieces) == pytest.approx(p.objective(x)[0], rel=1e-12)
    assert torch.allclose(pieces[0][1] + pieces[1][1], p.objective(x)[1], rtol=1e-12)
    with pytest.raises(IndexError, match=r"\[4\]"):
        p.shard(range(1, 4, 2)).gradients(x, torch.tensor([1, 4]), 1)


def test_the_start_is_a_number_or_a_list() -> None:
    assert problem(options={"dim": 3, "x0": 2}).x0().tolist() == [2, 2, 2]
    assert problem(options={"dim": 3, "x0": [1, 2, 3]}, dtype=torch.float32).x0().dtype == torch.float32


def test_theorem1_has_the_papers_constants() -> None:
    L, sigma, n = 2.0, 3.0, 30_000
    p = problem("theorem1", clients=n, options={"L": L, "sigma": sigma})
    assert p.x0().tolist() == [0, -1]
    x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    assert p.objective(x)[0] == pytest.approx(L / 2 * 4.25)
    assert p.objective(x)[1].tolist() == pytest.approx([L * 0.5, -L * 2])
    xi = p.gradients(x, torch.arange(n), 1) - L * x
    scale = (3 * sigma**2 / 10) ** 0.5
    points, counts = torch.unique((xi / scale).round(decimals=6), dim=0, return_counts=True)
    assert points.tolist() == [[-2, -1], [0, 1], [2, 0]]
    assert counts / n == pytest.approx([1 / 3] * 3, abs=0.02)
    top1 = torch.where(xi.abs() == xi.abs().max(dim=1, keepdim=True).values, xi, 0.0)
    assert top1.mean(dim=0).tolist() == pytest.approx([0, sigma / 30**0.5], abs=0.05)


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("quadratic", {"L": 0}, "model.L"),
        ("quadratic", {"L": float("inf")}, "model.L"),
        ("quadratic", {"mu": -0.1}, "model.mu"),
        ("quadratic", {"mu": 2.0}, "model.mu"),
        ("quadratic", {"dim": 0}, "model.dim"),
        ("quadratic", {"dim": 2.5}, "model.dim"),
        ("quadratic", {"sigma": -1}, "model.sigma"),
        ("quadratic", {"noise": "gausian"}, "model.noise"),
        ("quadratic", {"noise": -1.0}, "model.noise"),
        ("quadratic", {"noise": True}, "model.noise"),
        ("quadratic", {"noise": 1.0, "sigma": 1.0}, "model.sigma"),
        ("quadratic", {"noise": "none", "sigma": 1.0}, "model.sigma"),
        ("quadratic", {"noise": "three-point", "dim": 1}, "model.noise"),
        ("quadratic", {"x0": [1.0, 2.0]}, "model.x0"),
        ("quadratic", {"x0": [0.0] * 99 + ["a"]}, "model.x0[99]"),
        ("quadratic", {"heterogeneity": -1}, "model.heterogeneity"),
        ("quadratic", {"bias": True}, "model.bias"),
        ("theorem1", {"L": -1}, "model.L"),
        ("theorem1", {"sigma": "a"}, "model.sigma"),
        ("theorem1", {"x0": [0, 1, 2]}, "model.x0"),
        ("theorem1", {"mu": 0.1}, "model.mu"),
    ],
)
def test_options_that_cannot_work_are_named(name: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        problem(name, options=options)
    assert caught.value.field == field


def test_weights_by_samples_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match=r"train\.weights"):
        problem(weights="samples")
