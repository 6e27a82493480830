"""Rivals of the paper, as recurrences here, equal our methods where they must: METHODS section 7, A09 to A13."""

import math
from dataclasses import replace

import torch
from torch import Tensor

import tests.loop as loop
from clients.ef21 import EF21SGDM
from fl_ef21.compressors.hard_threshold import HardThreshold
from fl_ef21.messages import Compressed, Floats
from tests.clients.test_closed_forms import D, N, difference, gradients, zero

GAMMA, ETA, STEPS = 0.1, 0.2, 200


def test_a09_rounds_of_topk_on_the_residual_are_one_larger_topk() -> None:
    u, k, rounds = torch.sin(torch.arange(3 * 100, dtype=torch.float64) ** 2).reshape(3, 100), 5, 10
    sent = torch.zeros_like(u)
    for _ in range(rounds):
        sent = sent + loop.topk(k)(u - sent)
    assert torch.equal(sent, loop.topk(k * rounds)(u).dense())
    left = (u - sent).square().sum(dim=1) / u.square().sum(dim=1)
    assert bool((left <= (1 - k / 100) ** rounds).all())


def test_a10_econtrol_without_its_error_term_is_ef21_sgd() -> None:
    x, xs = zero(), [zero()]
    e, h, C = torch.zeros(N, D, dtype=torch.float64), torch.zeros(N, D, dtype=torch.float64), loop.topk(2)
    for t in range(1, STEPS + 1):
        q = gradients(x, t)
        delta = C(0.0 * e + q - h).dense()
        e, h = e + q - h - delta, h + delta
        x = x - GAMMA * h.mean(dim=0)
        xs.append(x)
    ours, _ = loop.run("ef21-sgd", gradients, zero(), N, STEPS, gamma=GAMMA, C=C, start="zero")
    assert difference(ours, xs) <= 1e-13


def test_a11_scafcom_with_one_local_step_and_everybody_is_ef21_sgdm() -> None:
    x, xs, lr = zero(), [zero()], 0.03
    v, c_i, c = torch.zeros(N, D, dtype=torch.float64), torch.zeros(N, D, dtype=torch.float64), zero()
    for t in range(1, STEPS + 1):
        y = x - lr * (gradients(x, t) - c_i + c)
        v = (1 - ETA) * v + ETA * ((x - y) / lr + c_i - c)
        delta = loop.topk(2)(v - c_i).dense()
        c_i = c_i + delta
        x = x - GAMMA * (delta.mean(dim=0) + c)
        c = c + delta.mean(dim=0)
        xs.append(x)
    ours, _ = loop.run("ef21-sgdm", gradients, zero(), N, STEPS, gamma=GAMMA, eta=ETA, C=loop.topk(2), start="zero")
    assert difference(ours, xs) <= 1e-9


def test_a12_clip21_sgd2m_that_never_clips_is_sgdm() -> None:
    x, xs, tau = zero(), [zero()], math.inf
    v, g_i, g = torch.zeros(N, D, dtype=torch.float64), torch.zeros(N, D, dtype=torch.float64), zero()
    for t in range(1, STEPS + 1):
        v = (1 - ETA) * v + ETA * gradients(x, t)
        u = v - g_i
        c = u * torch.clamp(tau / u.norm(dim=1, keepdim=True), max=1)
        g_i, g = g_i + c, g + c.mean(dim=0)
        x = x - GAMMA * g
        xs.append(x)
    ours, _ = loop.run("sgdm", gradients, zero(), N, STEPS, gamma=GAMMA, eta=ETA, start="zero")
    assert difference(ours, xs) <= 1e-12


def test_a13_with_an_absolute_compressor_the_error_stays_below_gamma_delta() -> None:
    H, half = HardThreshold(threshold=0.1), EF21SGDM(eta=ETA)
    bound = GAMMA * math.sqrt(H.absolute(D))

    def scaled(u: Tensor) -> Compressed:
        c = H(u / GAMMA, torch.zeros(len(u), dtype=torch.int64))
        return replace(c, values=Floats(GAMMA * c.values.real(c.counts)))

    x, s = zero(), half.start(gradients(zero(), 0))
    for t in range(1, STEPS + 1):
        x = x - GAMMA * s.g.mean(dim=0)
        s, _ = half.step(s, gradients(x, t), scaled)
        assert float((s.g - s.v).norm(dim=1).max()) <= bound
