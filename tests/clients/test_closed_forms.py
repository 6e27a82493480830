"""What the methods must equal in special cases: METHODS section 7, ids as there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import tests.loop as loop
from clients.ef21 import EF21SGDM, State
from clients.ef21_sgd2m import EF21SGD2M
from clients.ef21_sgd2m import State as DoubleState
from fl_ef21.messages import Compressed, Floats, Indices, whole
from tests import oracle

N, D = 5, 12
ROOTS = torch.linspace(-1, 1, N * D, dtype=torch.float64).reshape(N, D).roll(3, 1)
CURVES = torch.linspace(0.2, 1.0, D, dtype=torch.float64)


def gradients(x: Tensor, t: int) -> Tensor:
    """Noisy gradients of quadratics; the noise depends on the step and the client alone."""
    noise = torch.sin(torch.arange(N * D, dtype=torch.float64).reshape(N, D) * 12.9898 + 78.233 * t)
    return CURVES * (x - ROOTS) + 0.3 * noise


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


def zero() -> Tensor:
    return torch.zeros(D, dtype=torch.float64)


def test_a01_without_compression_and_momentum_it_is_distributed_sgd() -> None:
    xs, _ = loop.run("ef21-sgdm", gradients, zero(), N, 200, gamma=0.1, eta=1.0)
    x, sgd = zero(), [zero()]
    for t in range(1, 201):
        x = x - 0.1 * gradients(x, t).mean(dim=0)
        sgd.append(x)
    assert difference(xs, sgd) <= 1e-12


@pytest.mark.parametrize("eta", [0.05, 0.1, 0.7, 1.0])
def test_without_compression_it_is_sgdm(eta: float) -> None:
    ours, _ = loop.run("ef21-sgdm", gradients, zero(), N, 200, gamma=0.1, eta=eta)
    sgdm, _ = loop.run("sgdm", gradients, zero(), N, 200, gamma=0.1, eta=eta)
    assert difference(ours, sgdm) <= 1e-12


def test_a02_without_compression_it_is_heavy_ball() -> None:
    xs, _ = loop.run("ef21-sgdm", gradients, zero(), N, 100, gamma=0.1, eta=0.1)
    for t in range(2, 100):
        q = gradients(xs[t - 1], t).mean(dim=0)
        step = 0.1 * 0.1 * q
        assert torch.allclose(xs[t], xs[t - 1] - step + 0.9 * (xs[t - 1] - xs[t - 2]), rtol=0, atol=1e-12)


def test_a03_the_server_holds_the_mean_of_what_clients_hold() -> None:
    half, C = EF21SGDM(eta=0.1), loop.topk(2)
    x, state, g = zero(), half.start(gradients(zero(), 0)), gradients(zero(), 0).mean(dim=0)
    for t in range(1, 5001):
        x = x - 0.1 * g
        state, c = half.step(state, gradients(x, t), C)
        g = g + c.total(torch.full((N,), 1 / N, dtype=torch.float64))
        assert float((g - state.g.mean(dim=0)).abs().max()) <= 1e-12


@pytest.mark.parametrize("method", ["ef21-sgdm", "ef21-sgd2m"])
def test_a04_with_eta_one_the_family_is_ef21_sgd_bitwise(method: str) -> None:
    ours, _ = loop.run(method, gradients, zero(), N, 100, gamma=0.1, eta=1.0, C=loop.topk(3))
    plain, _ = loop.run("ef21-sgd", gradients, zero(), N, 100, gamma=0.1, C=loop.topk(3))
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_a05_the_golden_trace_by_hand() -> None:
    def v(*rows: list[float]) -> Tensor:
        return torch.tensor(rows, dtype=torch.float64)

    q = [
        v([4, 2, 0], [0, -8, 2]),
        v([2, 6, -2], [4, 0, 2]),
        v([-2, 2, 6], [0, 4, -6]),
        v([0, 0, 0], [0, 0, 0]),
    ]
    half, C, w = EF21SGDM(eta=0.5), loop.topk(1), torch.tensor([0.5, 0.5], dtype=torch.float64)
    s, g, x = State(v=q[0], g=torch.zeros(2, 3, dtype=torch.float64)), zero()[:3], zero()[:3]
    want_v = [v([3, 4, -1], [2, -4, 2]), v([0.5, 3, 2.5], [1, 0, -2]), v([0.25, 1.5, 1.25], [0.5, 0, -1])]
    want_gi = [v([0, 4, 0], [0, -4, 0]), v([0, 4, 2.5], [0, 0, 0]), v([0, 1.5, 2.5], [0, 0, -1])]
    want_g = [v([0, 0, 0]), v([0, 2, 1.25]), v([0, 0.75, 0.75])]
    want_x = [v([0, 0, 0]), v([0, 0, 0]), v([0, -0.2, -0.125])]
    for t in range(3):
        x = x - 0.1 * g
        assert torch.equal(x, want_x[t][0])
        s, c = half.step(s, q[t + 1], C)
        g = g + c.total(w)
        assert torch.equal(s.v, want_v[t]) and torch.equal(s.g, want_gi[t]) and torch.equal(g, want_g[t][0])


def test_a06_double_momentum_uses_the_new_v() -> None:
    q = torch.ones(1, 4, dtype=torch.float64)
    nothing = torch.zeros_like(q)
    s, _ = EF21SGD2M(eta=0.3).step(DoubleState(nothing, nothing, nothing), q, whole)
    assert torch.allclose(s.v, 0.3 * q) and torch.allclose(s.u, 0.09 * q) and torch.allclose(s.g, 0.09 * q)


def scaled(u: Tensor) -> Compressed:
    c = whole(0.3 * u)
    return c


def test_a07_ef14_is_ef21_for_a_linear_compressor_and_not_for_topk() -> None:
    def both(C: loop.Compress) -> float:
        new, _ = loop.run("ef21-sgd", gradients, zero(), N, 100, gamma=0.1, C=C, start="zero")
        old, _ = loop.run("ef14", gradients, zero(), N, 100, gamma=0.1, C=C)
        return difference(new, old)

    assert both(scaled) <= 1e-12
    assert both(loop.topk(2)) > 1e-3


def test_a08_ef14_minus_its_mean_error_makes_exact_sgd_steps() -> None:
    from clients.ef14 import EF14

    half, C, gamma = EF14(gamma=0.1), loop.topk(2), 0.1
    x, s = zero(), EF14(gamma=0.1).start(gradients(zero(), 0))
    for t in range(1, 100):
        q = gradients(x, t)
        before = x - s.e.mean(dim=0)
        s, c = half.step(s, q, C)
        x = x - c.total(torch.full((N,), 1 / N, dtype=torch.float64))
        after = x - s.e.mean(dim=0)
        assert torch.allclose(after, before - gamma * q.mean(dim=0), rtol=0, atol=1e-13)


def test_h01_compression_without_feedback_diverges_at_the_known_rate() -> None:
    a = torch.tensor([[-3.0, 2, 2], [2, -3, 2], [2, 2, -3]], dtype=torch.float64)

    def steep(x: Tensor, t: int) -> Tensor:
        return 2 * (a @ x)[:, None] * a + x / 2

    xs, _ = loop.run("compressed-sgd", steep, torch.ones(3, dtype=torch.float64), 3, 100, gamma=0.01, C=loop.topk(1))
    want = (1 + 11 * 0.01 / 6) ** 100
    assert torch.allclose(xs[-1], torch.full((3,), want, dtype=torch.float64), rtol=1e-10)


@pytest.mark.parametrize("method", ["ef21-sgd", "ef21-sgdm", "ef21-sgd2m", "ef14", "compressed-sgd", "sgdm"])
def test_step_leaves_its_inputs_alone(method: str) -> None:
    from clients import METHODS
    from fl_ef21.plan import Plan
    from fl_ef21.schedule import Schedule

    plan = Plan(method, method, Schedule(0.3), Schedule(0.1), None, "zero", 0, torch.float64)  # type: ignore[arg-type]
    half = plan.half(METHODS[method], 1)
    q = gradients(zero(), 1)
    state = half.start(q.clone())
    kept = {name: value.clone() for name, value in vars(state).items()}
    other = gradients(zero(), 2)
    half.step(state, other, loop.topk(2))
    assert all(torch.equal(kept[name], value) for name, value in vars(state).items())
    assert torch.equal(other, gradients(zero(), 2))


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("method", ["sgdm", "compressed-sgd", "ef14", "ef21-sgd", "ef21-sgdm", "ef21-sgd2m"])
def test_the_halves_match_the_oracle(method: str, start: bool) -> None:
    sparse = method != "sgdm"
    want, want_g = oracle.run(
        method, lambda i, x, t: gradients(torch.from_numpy(x), t)[i].numpy(), np.zeros(D), N, 300,
        lambda t: 0.1, lambda t: 0.2, oracle.topk(2) if sparse else oracle.identity, start,
    )  # fmt: skip
    C = loop.topk(2) if sparse else whole
    xs, gs = loop.run(method, gradients, zero(), N, 300, gamma=0.1, eta=0.2, C=C, start="gradient" if start else "zero")
    assert max(np.abs(x.numpy() - w).max() for x, w in zip(xs, want, strict=True)) <= 1e-10
    assert max(np.abs(g.numpy() - w).max() for g, w in zip(gs, want_g, strict=True)) <= 1e-10


def test_a_message_is_used_once_for_client_and_server() -> None:
    calls = []

    def counting(u: Tensor) -> Compressed:
        calls.append(1)
        one = torch.zeros(len(u), dtype=torch.int64)
        return Compressed(u.shape[1], torch.ones(len(u), dtype=torch.int64), Indices(one), Floats(u[:, 0] * len(calls)))

    half = EF21SGDM(eta=0.5)
    s = half.start(torch.zeros(N, D, dtype=torch.float64))
    s2, c = half.step(s, gradients(zero(), 1), counting)
    assert len(calls) == 1 and torch.equal(s2.g, s.g + c.dense())
    assert torch.equal(replace(s2).v, s2.v)
