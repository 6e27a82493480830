"""Methods with another server, or another way down: what each is in the limit, on the engine in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scenarios
from tests.small import SPARSE, scenario

DOWN = {"downlink": "topk:0.2"}
MEASURED = ["train_loss", "grad_norm_sq"]
QUADRATIC = {"partition": {"clients": 6, "scheme": "iid"}, "model": {"name": "quadratic", "dim": 30, "bias": None}}


def trajectories(*methods: dict[str, Any], train: dict[str, Any] | None = None, **changes: Any) -> list[np.ndarray]:
    """What each of these methods measures round after round, run side by side."""
    named = [{"gamma": 0.1} | method | {"label": f"{i}"} for i, method in enumerate(methods)]
    made = scenario(
        method=named, rounds=12, evaluate={"every": 1}, train={"dtype": "float64"} | (train or {}), **changes
    )
    rows = scenarios.run(made).rounds
    return [rows[rows.method == method["label"]][MEASURED].to_numpy(float) for method in named]


def alike(*methods: dict[str, Any], atol: float = 1e-12, **changes: Any) -> bool:
    first, *others = trajectories(*methods, **changes)
    assert np.isfinite(first).all() and first[0, 0] != first[-1, 0]
    return all(np.allclose(other, first, rtol=0, atol=atol) for other in others)


SGD = {"name": "ef21-sgd"} | SPARSE
SGDM = {"name": "ef21-sgdm", "eta": 0.3} | SPARSE
sampled = pytest.mark.parametrize("participation", [1.0, 0.5])


@sampled
def test_a_heavy_ball_without_momentum_is_ef21_sgd(participation: float) -> None:
    hb = SGD | {"name": "ef21-hb", "hyper": {"beta": 0.0}}
    assert alike(SGD, hb, atol=0, train={"participation": participation})
    assert not alike(SGD, SGD | {"name": "ef21-hb", "hyper": {"beta": 0.5}})


def test_a_heavy_ball_is_ef21_sgd_with_torchs_momentum() -> None:
    theirs = SGD | {"optimizer": "sgd", "optimizer_args": {"momentum": 0.8}}
    assert alike(theirs, SGD | {"name": "ef21-hb", "hyper": {"beta": 0.8}})


@sampled
def test_normalised_methods_are_one_where_nothing_old_is_kept(participation: float) -> None:
    every = [{"name": name, "eta": 1.0} | SPARSE for name in ("ef21-sgdm-norm", "ef21-igt-norm", "ef21-mvr-norm")]
    assert alike(*every, train={"participation": participation})
    first, igt, storm = trajectories(*[method | {"eta": 0.3} for method in every])
    assert not np.allclose(first, igt) and not np.allclose(first, storm) and not np.allclose(igt, storm)


def test_igt_and_storm_follow_the_gradient_itself_where_gradients_are_linear() -> None:
    """On quadratics with exact gradients v is grad f_i(x) at every round, whatever eta: both look where v should be."""
    every = [{"name": name, "eta": 0.2} | SPARSE for name in ("ef21-igt-norm", "ef21-mvr-norm")]
    exact = {"name": "ef21-sgdm-norm", "eta": 1.0} | SPARSE
    assert alike(exact, *every, atol=1e-9, train={"batch_size": "full"}, **QUADRATIC)


@sampled
@pytest.mark.parametrize("word", ["box:1e6", "ball:1e6"])
def test_a_constraint_that_never_binds_changes_nothing(word: str, participation: float) -> None:
    assert alike(SGD, SGD | {"name": "ef21-prox", "prox": word}, atol=0, train={"participation": participation})


def test_a_ridge_by_prox_ends_where_a_ridge_by_gradient_does() -> None:
    full = {"name": "ef21-prox", "gamma": 0.3, "prox": "l2:0.5"} | SPARSE
    rows = scenarios.run(
        scenario(method=[full], rounds=300, evaluate={"every": 300}, train={"batch_size": "full", "dtype": "float64"})
    ).rounds
    inside = scenario(
        method=[{"name": "ef21-sgd", "gamma": 0.3} | SPARSE], rounds=300, evaluate={"every": 300},
        train={"batch_size": "full", "dtype": "float64"}, model={"regularizer": "l2", "lam": 0.5},
    )  # fmt: skip
    theirs = scenarios.run(inside).rounds
    assert rows.train_loss.iloc[-1] == pytest.approx(theirs.train_loss.iloc[-1], rel=1e-9)
    assert rows.grad_norm_sq.iloc[-1] < 1e-12


def test_ef21_p_is_ef21_sgdm_under_that_downlink() -> None:
    assert alike(SGDM | DOWN, SGDM | DOWN | {"name": "ef21-p"}, atol=0)


@sampled
def test_ef21_bc_is_ef21_sgd_where_nothing_is_left_out_on_the_way_down(participation: float) -> None:
    bc = SGD | {"name": "ef21-bc", "downlink": "identity"}
    assert alike(SGD, bc, train={"participation": participation})
    assert not alike(SGD, bc | DOWN)


def test_ef21_bc_sends_less_down_and_still_trains() -> None:
    made = scenario(
        method=[SGD | {"gamma": 0.2}, SGD | {"name": "ef21-bc", "gamma": 0.2} | DOWN], rounds=40, evaluate={"every": 40}
    )
    rows = scenarios.run(made).rounds.set_index("method")
    plain, bc = rows.loc["ef21-sgd"], rows.loc["ef21-bc"]
    assert bc.train_loss.iloc[-1] < 0.8 * bc.train_loss.iloc[0]
    assert bc.downlink_bytes.iloc[-1] < plain.downlink_bytes.iloc[-1] / 3


def test_where_all_clients_are_as_smooth_ef21_w_is_ef21_sgd() -> None:
    assert alike(SGD, SGD | {"name": "ef21-w"}, **QUADRATIC)


def test_muon_on_a_model_of_one_vector_is_sign_descent_however_g_is_scaled() -> None:
    """A model that is no matrix: everything is in the ball of the largest entry, and `rest` is its radius."""
    ours = {"name": "ef21-muon", "eta": 1.0, "compressor": "identity"}
    assert alike(ours | {"gamma": 0.02}, ours | {"gamma": 0.01, "hyper": {"rest": 2.0}}, **QUADRATIC)
