"""What the federated rivals must equal in special cases, and what each is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from clients.dasha import DASHA, DASHAMVR
from clients.dasha_pp import DASHAPP
from clients.diana import DIANA, EFBV
from clients.fedavg import FedProx
from clients.marina import MARINA
from clients.scafcom import SCAFCOM, SCALLION
from fl_ef21.compressors.randk import RandK
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from strategies.ef_bv import EFBV as ServerEFBV
from tests import loop
from tests.quadratic_loop import CURVES, ROOTS, D, N, difference, minimiser, run

STEPS, K_OF_D = 40, 3
OMEGA = D / K_OF_D - 1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Vectors are so short that threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def topk(t: int) -> loop.Compress:
    return loop.topk(K_OF_D)


def randk(t: int) -> Callable[[Tensor], Compressed]:
    """Unbiased; every client and round with its own key."""
    return lambda u: RandK(K_OF_D, scaled=True)(u, 1000 * t + torch.arange(len(u)))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return difference(a, b) <= 1e-12


def sgd(**more: Any) -> list[Tensor]:
    return run("sgdm", STEPS, eta=1.0, **more)


@pytest.mark.parametrize("lam", [1.0, 0.3])
@pytest.mark.parametrize("method", ["diana", "ef-bv"])
def test_without_compression_diana_and_ef_bv_are_sgd(method: str, lam: float) -> None:
    assert same(run(method, STEPS, alpha=1.0, omega=0.0, lam=lam), sgd())


@pytest.mark.parametrize("sample", [N, 2])
def test_ef_bv_that_keeps_all_of_a_message_is_ef21_sgd(sample: int) -> None:
    ours = run("ef-bv", STEPS, C=topk, alpha=K_OF_D / D, omega=None, sample=sample)
    assert same(ours, run("ef21-sgd", STEPS, C=topk, start="zero", sample=sample))


def test_ef_bv_with_an_unbiased_compressor_is_diana() -> None:
    assert same(run("ef-bv", STEPS, C=randk, alpha=None, omega=OMEGA), run("diana", STEPS, C=randk, omega=OMEGA))


def test_diana_with_sampled_clients_steps_by_the_mean_of_those() -> None:
    """Without compression that is what SGD does, once the shifts are what they stay."""
    ours = run("diana", STEPS, omega=0.0, sample=1, noise=0.0, gamma=1e-9)
    x, mean = ours[-2] - ours[-1], (CURVES * -ROOTS).mean(dim=0)
    assert torch.allclose(x / 1e-9, mean, atol=1e-6)


def test_diana_finds_the_minimiser_where_compression_alone_does_not() -> None:
    diana = run("diana", 250, C=randk, omega=OMEGA, noise=0.0, gamma=0.3)
    bare = run("compressed-sgd", 250, C=randk, noise=0.0, gamma=0.3)
    assert (diana[-1] - minimiser()).norm() < 1e-8 and (bare[-1] - minimiser()).norm() > 1e-2


@pytest.mark.parametrize("p", [1.0, 0.2])
def test_without_compression_or_noise_marina_is_gradient_descent(p: float) -> None:
    assert same(run("marina", STEPS, omega=0.0, p=p, noise=0.0), sgd(noise=0.0))


def test_marina_with_whole_gradients_in_every_round_is_gradient_descent_whatever_the_noise() -> None:
    assert same(run("marina", STEPS, C=randk, omega=OMEGA, p=1.0), sgd(noise=0.0))


def test_marina_finds_the_minimiser() -> None:
    assert (run("marina", 250, C=randk, omega=OMEGA, noise=0.0, gamma=0.3)[-1] - minimiser()).norm() < 1e-8


def test_without_compression_dasha_is_gradient_descent() -> None:
    assert same(run("dasha", STEPS, omega=0.0), sgd(noise=0.0))


def test_dasha_that_draws_the_whole_error_in_is_ef21() -> None:
    assert same(run("dasha", STEPS, C=topk, omega=0.0, a=1.0), run("ef21-sgd", STEPS, C=topk, noise=0.0))


def test_dasha_mvr_with_eta_one_and_the_whole_error_is_ef21_sgd() -> None:
    ours = run("dasha-mvr", STEPS, C=topk, omega=0.0, a=1.0, eta=1.0)
    assert same(ours, run("ef21-sgd", STEPS, C=topk))


def test_dasha_mvr_with_the_whole_error_is_ef21_mvr() -> None:
    ours = run("dasha-mvr", STEPS, C=topk, omega=0.0, a=1.0, eta=0.2)
    assert same(ours, run("ef21-mvr", STEPS, C=topk, eta=0.2))


def test_without_noise_dasha_mvr_is_dasha_whatever_eta() -> None:
    ours = run("dasha-mvr", STEPS, C=randk, omega=OMEGA, eta=0.1, noise=0.0)
    assert same(ours, run("dasha", STEPS, C=randk, omega=OMEGA))


def test_with_everybody_dasha_pp_is_dasha() -> None:
    assert same(run("dasha-pp", STEPS, C=randk, omega=OMEGA), run("dasha", STEPS, C=randk, omega=OMEGA))


def test_with_everybody_dasha_pp_mvr_is_dasha_mvr() -> None:
    ours = run("dasha-pp-mvr", STEPS, C=randk, omega=OMEGA, b=0.2)
    assert same(ours, run("dasha-mvr", STEPS, C=randk, omega=OMEGA, eta=0.2))


@pytest.mark.parametrize("method", ["dasha", "dasha-pp"])
def test_the_dasha_family_finds_the_minimiser(method: str) -> None:
    xs = run(method, 500, C=randk, omega=OMEGA, gamma=0.2, sample=N if method == "dasha" else 3)
    assert (xs[-1] - minimiser()).norm() < 1e-8


@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_scafcom_with_one_local_step_and_everybody_is_ef21_sgdm(start: str) -> None:
    ours = run("scafcom", STEPS, C=topk, eta=0.2, start=start)
    assert same(ours, run("ef21-sgdm", STEPS, C=topk, eta=0.2, start=start))


@pytest.mark.parametrize("sample", [N, 2])
@pytest.mark.parametrize("method", ["scafcom", "scallion"])
def test_without_compression_and_eta_one_they_are_scaffold(method: str, sample: int) -> None:
    ours = run(method, STEPS, eta=1.0, K=4, sample=sample)
    assert same(ours, run("scaffold", STEPS, K=4, sample=sample))


def test_scallion_with_one_local_step_and_no_compression_is_sgdm() -> None:
    assert same(run("scallion", STEPS, eta=0.2, start="zero"), run("sgdm", STEPS, eta=0.2, start="zero"))


def test_scaffold_finds_the_minimiser_from_which_local_steps_of_fedavg_drift() -> None:
    with_control = run("scaffold", 200, K=4, rate=0.3, noise=0.0, gamma=0.3, sample=3)
    without = run("fedavg", 200, K=4, rate=0.3, noise=0.0, gamma=0.3)
    assert (with_control[-1] - minimiser()).norm() < 1e-8 and (without[-1] - minimiser()).norm() > 1e-2


def test_fed_ef_with_one_local_step_is_ef14() -> None:
    assert same(run("fed-ef", STEPS, C=topk), run("ef14", STEPS, C=topk))


@pytest.mark.parametrize("sample", [N, 2])
def test_without_compression_fed_ef_is_fedavg(sample: int) -> None:
    assert same(run("fed-ef", STEPS, K=4, sample=sample), run("fedavg", STEPS, K=4, sample=sample))


def test_fedavg_is_the_mean_of_the_clients_models() -> None:
    K, rate = 3, 0.05
    xs = run("fedavg", 2, K=K, rate=rate, gamma=K * rate, noise=0.0)
    y = xs[1].expand(N, -1)
    for _ in range(K):
        y = y - rate * CURVES * (y - ROOTS)
    assert torch.allclose(xs[2], y.mean(dim=0), rtol=0, atol=1e-14)


def test_fedprox_without_its_term_or_with_one_step_is_fedavg() -> None:
    assert same(run("fedprox", STEPS, mu=0.0, K=4), run("fedavg", STEPS, K=4))
    assert same(run("fedprox", STEPS, mu=5.0), run("fedavg", STEPS))


def test_fedprox_drifts_less_the_stronger_it_is() -> None:
    ends = [run("fedprox", 150, mu=mu, K=4, rate=0.3, noise=0.0, gamma=0.3)[-1] for mu in (0.0, 0.5, 2.0)]
    drifts = [float((x - minimiser()).norm()) for x in ends]
    assert drifts == sorted(drifts, reverse=True) and drifts[-1] < 0.85 * drifts[0]


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: DIANA(omega=1.0, lam=0.0), "lam"),
        (lambda: EFBV(alpha=0.5, omega=None, lam=1.5), "lam"),
        (lambda: EFBV(alpha=None, omega=None), "lam"),
        (lambda: ServerEFBV(omega=None, nu=0.0), "nu"),
        (lambda: MARINA(omega=1.0, p=float("nan")), "p"),
        (lambda: DASHA(omega=1.0, a=2.0), "a"),
        (lambda: DASHAMVR(eta=0.1, omega=1.0, a=0.0), "a"),
        (lambda: DASHAPP(omega=1.0, participation=0.5, b=0.0), "b"),
        (lambda: SCAFCOM(eta=0.0), "eta"),
        (lambda: SCALLION(eta=1.1), "eta"),
        (lambda: FedProx(mu=-1.0), "mu"),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused_by_name(made: Callable[[], object], field: str) -> None:
    with pytest.raises(InputError, match=field):
        made()
