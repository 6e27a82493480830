"""Estimators become the method they should where a parameter, the noise or the compressor is special."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from clients.beer import BEER
from clients.econtrol import EControl
from clients.ef14 import EF14, EF14Momentum
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_abs import EF21SGD2MAbs, EF21SGDAbs, EF21SGDMAbs
from clients.ef21_ideal import EF21SGDIdeal, EF21SGDMIdeal
from clients.ef21_mvr import EF21MVR
from clients.ef21_page import EF21PAGE
from clients.ef21_plus import EF21Plus
from clients.ef21_pp import EF21PP
from clients.ef21_sgd2m import EF21SGD2M
from clients.neolithic import Neolithic
from clients.sgdm import SGDM
from fl_ef21.compressors.hard_threshold import HardThreshold
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from tests.clients.asking import Asked, exact, moments, noiseless, path
from tests.clients.test_closed_forms import D, N, gradients, zero
from tests.loop import topk

STEPS = 60
TOP2 = topk(2)
STARTS = pytest.mark.parametrize("start", ["gradient", "zero"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in an actor, and without threads that wait for one another over tiny vectors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def close(a: Tensor, b: Tensor, within: float = 1e-12) -> bool:
    return float((a - b).abs().max()) <= within


def cut(u: Tensor) -> Compressed:
    return HardThreshold(threshold=0.1)(u, torch.zeros(len(u), dtype=torch.int64))


@STARTS
def test_mvr_that_forgets_all_is_ef21_sgd(start: str) -> None:
    assert close(path(EF21MVR(eta=1.0), STEPS, TOP2, start=start), path(EF21SGD(), STEPS, TOP2, start=start))


def test_mvr_without_noise_is_ef21_whatever_it_forgets() -> None:
    ours = path(EF21MVR(eta=0.1), STEPS, TOP2, draws=noiseless)
    assert close(ours, path(EF21SGD(), STEPS, TOP2, draws=noiseless))


def test_mvr_averages_the_noise_alone_on_quadratics() -> None:
    """There q(x) - q(x_old) has no noise, so that moving adds no error."""
    error = gradients(zero(), 1) - exact(zero())
    for t, m in enumerate(moments(EF21MVR(eta=0.1), STEPS, TOP2), 1):
        error = 0.9 * error + 0.1 * (gradients(m.x, t) - exact(m.x))
        assert close(m.state.v - exact(m.x), error)


@STARTS
def test_page_that_always_takes_all_samples_is_ef21(start: str) -> None:
    assert torch.equal(path(EF21PAGE(p=1.0), STEPS, TOP2, start=start), path(EF21PP(), STEPS, TOP2, start=start))


def test_page_without_noise_is_ef21_whatever_the_coin_says() -> None:
    assert close(path(EF21PAGE(p=0.2), STEPS, TOP2, draws=noiseless), path(EF21PP(), STEPS, TOP2))


def test_page_knows_the_gradient_of_a_client_whose_coin_showed() -> None:
    for t, m in enumerate(moments(EF21PAGE(p=0.4), 20, TOP2, start="zero"), 1):
        shown = Asked(m.x, m.g, t).coin(0.4)[:, 0]
        right = (m.state.v - exact(m.x)).abs().amax(dim=1) == 0
        assert torch.equal(right, shown)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (EF21SGDMAbs(eta=0.2, gamma=0.1), EF21SGDM(eta=0.2)),
        (EF21SGDAbs(gamma=0.1), EF21SGD()),
        (EF21SGD2MAbs(eta=0.2, gamma=0.1), EF21SGD2M(eta=0.2)),
    ],
    ids=["one momentum", "none", "two"],
)
@STARTS
def test_absolute_forms_with_a_scale_free_compressor_are_the_methods_themselves(
    ours: Any, theirs: Any, start: str
) -> None:
    assert close(path(ours, STEPS, TOP2, start=start), path(theirs, STEPS, TOP2, start=start))
    assert not close(path(ours, STEPS, cut, start=start), path(theirs, STEPS, cut, start=start), 1e-3)


@pytest.mark.parametrize("half", [EF21SGDMAbs(eta=1.0, gamma=0.1), EF21SGD2MAbs(eta=1.0, gamma=0.1)], ids=repr)
def test_absolute_forms_with_eta_one_are_ef21_sgd_abs(half: Any) -> None:
    assert torch.equal(path(half, STEPS, cut), path(EF21SGDAbs(gamma=0.1), STEPS, cut))


@pytest.mark.parametrize("gamma", [0.1, 0.01])
def test_the_error_of_an_absolute_form_stays_below_gamma_delta(gamma: float) -> None:
    delta = math.sqrt(HardThreshold(threshold=0.1).absolute(D) or 0)
    errors = [
        float((m.state.g - m.state.v).norm(dim=1).max())
        for m in moments(EF21SGDMAbs(eta=0.2, gamma=gamma), STEPS, cut, gamma=gamma)
    ]
    assert 0 < max(errors) <= gamma * delta


def test_ideal_methods_without_compression_are_sgd_and_sgd_on_less_noise() -> None:
    assert close(path(EF21SGDIdeal(), STEPS), path(EF21SGD(), STEPS))
    fainter = path(EF21SGD(), STEPS, draws=lambda y, t: exact(y) + 0.3 * (gradients(y, t) - exact(y)))
    assert close(path(EF21SGDMIdeal(eta=0.3), STEPS), fainter)


def test_ideal_methods_without_noise_are_gradient_descent_whatever_the_compressor() -> None:
    descent = path(EF21SGD(), STEPS, draws=noiseless)
    assert close(path(EF21SGDIdeal(), STEPS, TOP2, draws=noiseless), descent)
    assert close(path(EF21SGDMIdeal(eta=0.3), STEPS, TOP2, draws=noiseless), descent)


@pytest.mark.parametrize("half", [EF21SGDIdeal(), EF21SGDMIdeal(eta=1.0), EF21SGDMIdeal(eta=0.25)], ids=repr)
def test_theorem_1s_noise_biases_an_ideal_method_by_sigma_over_root_30_times_eta(half: Any) -> None:
    sigma, x = 2.0, torch.tensor([0.3, -0.7], dtype=torch.float64)
    noise = torch.tensor([[2, 0], [0, 1], [-2, -1]], dtype=torch.float64) * math.sqrt(3 * sigma**2 / 10)

    class Drawn(Asked):
        def exact(self, y: Tensor) -> Tensor:
            return y.expand(3, -1)

    o: Any = Drawn(x, x, 1, lambda y, t: y + noise)  # client i draws outcome i
    _, c = half.step(half.start(o), o, topk(1))
    bias = torch.tensor([0.0, getattr(half, "eta", 1.0) * sigma / math.sqrt(30)], dtype=torch.float64)
    assert close(c.dense().mean(dim=0), x + bias, 1e-15)


def test_ef14_with_momentum_is_ef14_for_eta_one_and_sgdm_without_compression() -> None:
    assert torch.equal(path(EF14Momentum(gamma=0.1, eta=1.0), STEPS, TOP2), path(EF14(gamma=0.1), STEPS, TOP2))
    assert close(path(EF14Momentum(gamma=0.1, eta=0.2), STEPS), path(SGDM(eta=0.2), STEPS, start="zero"))


@pytest.mark.parametrize("rounds, k", [(1, 2), (3, 2), (2, 4)])
def test_neolithic_is_ef14_with_as_much_sent_at_once(rounds: int, k: int) -> None:
    ours = path(Neolithic(gamma=0.1, R=rounds), STEPS, topk(k))
    assert close(ours, path(EF14(gamma=0.1), STEPS, topk(rounds * k)))


def test_econtrol_without_the_old_error_is_ef21_sgd() -> None:
    assert torch.equal(path(EControl(eta=0.0), STEPS, TOP2), path(EF21SGD(), STEPS, TOP2))


@STARTS
def test_econtrols_error_is_the_sum_of_what_the_server_did_not_see(start: str) -> None:
    unseen = torch.zeros(N, D, dtype=torch.float64)
    for t, m in enumerate(moments(EControl(eta=0.05), STEPS, TOP2, start=start), 1):
        unseen = unseen + gradients(m.x, t) - m.state.g
        assert close(m.state.e, unseen)


def test_ef21_pp_is_ef21_sgd_without_noise() -> None:
    assert torch.equal(path(EF21PP(), STEPS, TOP2), path(EF21SGD(), STEPS, TOP2, draws=noiseless))


def test_ef21_plus_takes_the_nearer_of_both_and_takes_each_at_times() -> None:
    taken, before = set(), None
    for t, m in enumerate(moments(EF21Plus(), STEPS, TOP2), 1):
        q = gradients(m.x, t)
        if before is not None:
            both = [(q - TOP2(q).dense()).norm(dim=1), (q - before - TOP2(q - before).dense()).norm(dim=1)]
            assert close((q - m.state.g).norm(dim=1), torch.minimum(*both))
            taken |= set((both[0] < both[1]).tolist())
        before = m.state.g
    assert taken == {False, True}


def test_ef21_plus_says_only_what_changes() -> None:
    half = EF21Plus()
    q = gradients(zero(), 1)
    s = half.start(torch.zeros_like(q))
    s, c = half.step(s, q, TOP2)
    assert c.counts.tolist() == [2] * N
    again, c = half.step(s, s.g, TOP2)
    assert c.counts.tolist() == [0] * N and torch.equal(again.g, s.g)


@STARTS
def test_beer_that_does_not_mix_is_ef21_sgd(start: str) -> None:
    assert close(path(BEER(mix=0.0), STEPS, TOP2, start=start), path(EF21SGD(), STEPS, TOP2, start=start))


@pytest.mark.parametrize("half", [BEER(mix=0.5), EF21Plus()], ids=repr)
@STARTS
def test_without_compression_it_is_sgd_however_it_estimates(half: Any, start: str) -> None:
    assert close(path(half, STEPS, start=start), path(EF21SGD(), STEPS, start=start))


def test_beers_estimates_add_up_to_the_gradients_and_meet_though_clients_differ() -> None:
    last = None
    for m in moments(BEER(mix=0.3), 300, TOP2, draws=noiseless, gamma=0.3):
        assert close(m.state.v.mean(dim=0), exact(m.x).mean(dim=0))
        last = m
    assert last is not None and exact(last.x).norm(dim=1).max() > 1
    assert float((last.state.v - last.g).norm(dim=1).max()) < 0.01


@pytest.mark.parametrize(
    "kind, value",
    [(EF21PAGE, {"p": 0.0}), (EF21PAGE, {"p": 1.5}), (BEER, {"mix": -0.1}), (BEER, {"mix": math.nan}),
     (Neolithic, {"gamma": 0.1, "R": 0}), (Neolithic, {"gamma": 0.1, "R": 1.5})],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_named(kind: Any, value: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^(p|mix|R) = .*must"):
        kind(**value)


HALVES = [
    EF21MVR(eta=0.3), EF21PAGE(p=0.4), EF21SGDMAbs(eta=0.3, gamma=0.1), EF21SGDAbs(gamma=0.1),
    EF21SGD2MAbs(eta=0.3, gamma=0.1), EF21SGDIdeal(), EF21SGDMIdeal(eta=0.3), EF14Momentum(gamma=0.1, eta=0.3),
    Neolithic(gamma=0.1, R=3), EControl(eta=0.1), EF21PP(), EF21Plus(), BEER(mix=0.4),
]  # fmt: skip


@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_a_step_leaves_its_inputs_alone_and_adds_its_message_to_g(half: Any) -> None:
    *_, m = moments(half, 3, TOP2)
    kept = {name: value.clone() for name, value in vars(m.state).items()}
    o = Asked(m.x + 0.1, m.g.clone(), 4)
    q = o.q
    after, c = half.step(m.state, o if getattr(half, "asks", False) else q, TOP2)
    assert all(torch.equal(kept[name], value) for name, value in vars(m.state).items())
    assert torch.equal(o.q, q) and torch.equal(o.heard, m.g)
    if "g" in kept:
        assert torch.equal(after.g, kept["g"] + c)
