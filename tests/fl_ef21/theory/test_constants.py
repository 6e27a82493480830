"""Noise, f* and all that theorems need, against samples drawn and minima written out."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21.data.base import Dataset
from fl_ef21.problems import build
from fl_ef21.problems.exact import gradient
from fl_ef21.theory import noise
from fl_ef21.theory.constants import constants
from fl_ef21.theory.infimum import infimum

SIZES = (5, 9, 3)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two are slower on numbers this few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def problem(name: str = "logistic", **changes: Any) -> Any:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(sum(SIZES), 4)).astype(np.float32)
    labels = rng.integers(0, 3, sum(SIZES))
    data = Dataset("random", features, labels, ("a", "b", "c"), features[:0], labels[:0])
    given: dict[str, Any] = {
        "clients": len(SIZES), "data": data, "parts": np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1]),
        "options": {}, "batch_size": 2, "weights": "equal", "seed": 3, "dtype": torch.float64,
    }  # fmt: skip
    if name == "quadratic":
        given |= {"data": None, "parts": None}
    return build(name, **(given | changes))


@pytest.mark.parametrize(
    ("name", "options"), [("logistic", {"bias": True, "regularizer": 0.1}), ("mlp", {"hidden": [3]}), ("quadratic", {})]
)
def test_the_variance_is_that_of_gradients_really_drawn(name: str, options: dict[str, Any]) -> None:
    p, rounds = problem(name, options=options), 60 if name == "mlp" else 300
    y = p.x0() + 0.5 * torch.randn(p.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = torch.stack([gradient(p, y, i) for i in range(p.clients)])
    draws = torch.stack([p.gradients(y, torch.arange(p.clients), t) for t in range(1, rounds)])
    spread = (draws - exact).square().sum(dim=2).mean(dim=0)
    found = noise.variance(p, [y])
    assert found.batch == pytest.approx(float((p.weights * spread).sum()), rel=0.25)
    assert found.single == pytest.approx(2 * found.batch)
    pooled = ((draws - exact) * p.weights[:, None]).sum(dim=1).square().sum(dim=1).mean()
    assert found.pooled == pytest.approx(float(pooled), rel=0.25)


def test_closed_form_and_single_samples_agree() -> None:
    p = problem("logistic-nonconvex", options={"bias": True})
    y = torch.randn(p.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    apart = [noise._apart(p, y, i) for i in range(p.clients)]
    assert [noise._softmax(p, p.model, y, i) for i in range(p.clients)] == pytest.approx(apart, rel=1e-9)


def test_full_batches_have_no_noise_and_several_sizes_are_dealt() -> None:
    y = problem().x0()
    assert noise.variance(problem(batch_size="full"), [y]).batch == 0
    one, mixed = noise.variance(problem(batch_size=1), [y]), noise.variance(problem(batch_size=[1, "full", 4]), [y])
    var = torch.tensor([noise._softmax(problem(), problem().model, y, i) for i in range(3)])
    assert one.batch == pytest.approx(float(var.mean()))
    assert mixed.batch == pytest.approx(float((var * torch.tensor([1, 0, 0.25])).mean()))
    assert mixed.single == pytest.approx(one.single)


def test_the_worst_point_of_the_path_counts() -> None:
    p = problem("logistic-nonconvex")
    points = [p.x0(), 3 * torch.randn(p.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)]
    alone = [noise.variance(p, [y]).single for y in points]
    assert noise.variance(p, points).single == max(alone)


def test_the_minimum_of_a_quadratic_is_exact() -> None:
    p = problem("quadratic", options={"dim": 5, "mu": 0.1, "heterogeneity": 2.0})
    found, at = infimum(p), p.b.mean(dim=0)
    value = float((0.5 * p.H * (at - p.b).square()).sum(dim=1).mean())
    assert found.kind == "exact" and math.isclose(found.value, value, rel_tol=1e-12)


def test_the_bound_of_a_strongly_convex_f_is_below_every_value_and_close() -> None:
    p = problem(options={"regularizer": 0.5})
    found, x = infimum(p), p.x0()
    for _ in range(100):
        x = x - 0.5 * p.objective(x)[1]
    reached = p.objective(x)[0]
    assert found.kind == "bound" and found.value <= reached + 1e-13 and reached - found.value < 1e-8


def test_what_is_not_convex_has_zero_below_it() -> None:
    assert infimum(problem("logistic-nonconvex")).value == 0 == infimum(problem("mlp", options={"hidden": [2]})).value
    assert infimum(problem()).kind == "reached"


def test_all_constants_of_a_problem() -> None:
    p = problem("quadratic", options={"dim": 5, "sigma": 3.0, "heterogeneity": 1.5}, batch_size=4)
    c = constants(p)
    f0, slope = p.objective(p.x0())
    assert (c.smooth.L, c.clients, c.dim) == (1.0, 3, 5)
    assert c.noise.single == 9 and c.sigma == pytest.approx(1.5) and c.noise.pooled == pytest.approx(9 / 4 / 3)
    assert c.delta == pytest.approx(f0 - infimum(p).value) and c.gradient_sq == pytest.approx(float(slope @ slope))
    apart = torch.stack([gradient(p, p.x0(), i) for i in range(3)]) - slope
    assert c.zeta_sq == pytest.approx(float(apart.square().sum(dim=1).mean()))
    assert c.largest >= math.sqrt(c.gradient_sq) * (1 - 1e-12)
    assert c.bound_on_gradients == pytest.approx(math.hypot(c.largest, 3.0))
