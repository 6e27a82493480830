"""Methods with another server, or another way down: what each is in the limit, on the engine in float64."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_ef21.engine import RayGrid, Settings
from fl_ef21.store import Memory
from scenarios.setup import prepare
from tests.small import scenario

N, ROUNDS = 6, 10
DOWN = {"downlink": "topk:0.2"}
SPARSE = {"compressor": "topk", "k": 5}


@pytest.fixture(autouse=True, scope="module")
def what_is_loaded_is_not_collected_again() -> Iterator[None]:
    """A grid collects garbage when it is made, which is half the time of a run as short as these."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def trajectory(method: dict[str, Any], **train: Any) -> NDArray[np.float64]:
    """The iterates on quadratics with noise."""
    made = scenario(
        method=[{"gamma": 0.1} | method], partition={"clients": N, "scheme": "iid"},
        model={"name": "quadratic", "dim": 30, "bias": None, "sigma": 0.1}, train={"dtype": "float64"} | train,
    )  # fmt: skip
    setup = prepare(made)
    strategy, xs = setup.strategy(0, b"run"), [setup.problem.x0().numpy().copy()]
    grid = RayGrid(
        N, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(0), tile=N, heal=False
    )
    with grid:
        strategy.nodes.enrol(grid)
        xs += [strategy.descent.x.numpy().copy() for _ in strategy.rounds(grid, ROUNDS)]
    return np.array(xs)


def alike(*methods: dict[str, Any], atol: float = 1e-12, **train: Any) -> bool:
    first, *others = (trajectory(method, **train) for method in methods)
    assert np.isfinite(first).all() and np.abs(first[-1] - first[0]).max() > 1e-3
    return all(np.allclose(other, first, rtol=0, atol=atol) for other in others)


SGD = {"name": "ef21-sgd"} | SPARSE
SGDM = {"name": "ef21-sgdm", "eta": 0.3} | SPARSE
sampled = pytest.mark.parametrize("participation", [1.0, 0.5])


@sampled
def test_a_heavy_ball_without_momentum_is_ef21_sgd(participation: float) -> None:
    hb = SGD | {"name": "ef21-hb", "hyper": {"beta": 0.0}}
    assert alike(SGD, hb, atol=0, participation=participation)


def test_a_heavy_ball_is_ef21_sgd_with_torchs_momentum() -> None:
    theirs = SGD | {"optimizer": "sgd", "optimizer_args": {"momentum": 0.8}}
    assert alike(theirs, SGD | {"name": "ef21-hb", "hyper": {"beta": 0.8}}) and not alike(theirs, SGD)


@sampled
def test_normalised_methods_are_one_where_nothing_old_is_kept(participation: float) -> None:
    every = [{"name": name, "eta": 1.0} | SPARSE for name in ("ef21-sgdm-norm", "ef21-igt-norm", "ef21-mvr-norm")]
    assert alike(*every, participation=participation)


def test_on_quadratics_with_additive_noise_igt_is_storm_and_neither_is_the_heavy_ball() -> None:
    heavy, igt, storm = (
        {"name": name, "eta": 0.3} | SPARSE for name in ("ef21-sgdm-norm", "ef21-igt-norm", "ef21-mvr-norm")
    )
    assert alike(igt, storm, atol=1e-9) and not alike(igt, heavy, atol=1e-3)


def test_igt_and_storm_follow_the_gradient_itself_where_gradients_are_linear() -> None:
    """On quadratics with exact gradients v is grad f_i(x) at every round, whatever eta: both look where v should be."""
    every = [{"name": name, "eta": 0.2} | SPARSE for name in ("ef21-igt-norm", "ef21-mvr-norm")]
    exact = {"name": "ef21-sgdm-norm", "eta": 1.0} | SPARSE
    assert alike(exact, *every, atol=1e-9, batch_size="full")


@pytest.mark.parametrize("word", ["box:1e6", "ball:1e6"])
def test_a_constraint_that_never_binds_changes_nothing(word: str) -> None:
    assert alike(SGD, SGD | {"name": "ef21-prox", "prox": word}, atol=0)


def test_a_prox_of_l2_is_a_step_that_shrinks() -> None:
    """prox of lam / 2 |x|^2 is x / (1 + gamma lam): written out with the identity as compressor and exact gradients."""
    xs = trajectory({"name": "ef21-prox", "prox": "l2:0.5"}, batch_size="full")
    plain = trajectory({"name": "ef21-sgd"}, batch_size="full")
    assert np.allclose(xs[1], plain[1] / (1 + 0.1 * 0.5), rtol=0, atol=1e-12)
    assert np.abs(xs[-1]).max() < np.abs(plain[-1]).max()


def test_ef21_p_is_ef21_sgdm_under_that_downlink() -> None:
    assert alike(SGDM | DOWN, SGDM | DOWN | {"name": "ef21-p"}, atol=0)


@sampled
def test_ef21_bc_is_ef21_sgd_where_nothing_is_left_out_on_the_way_down(participation: float) -> None:
    bc = SGD | {"name": "ef21-bc", "downlink": "identity"}
    assert alike(SGD, bc, participation=participation)


def test_where_all_clients_are_as_smooth_ef21_w_is_ef21_sgd() -> None:
    assert alike(SGD, SGD | {"name": "ef21-w"})


def test_muon_on_a_model_of_one_vector_is_sign_descent_however_g_is_scaled() -> None:
    """A model that is no matrix: everything is in the ball of the largest entry, and `rest` is its radius."""
    ours = {"name": "ef21-muon", "eta": 1.0, "compressor": "identity"}
    assert alike(ours | {"gamma": 0.02}, ours | {"gamma": 0.01, "hyper": {"rest": 2.0}})
