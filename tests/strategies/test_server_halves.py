"""Heavy ball, normalised and layer-wise steps: what each does alone, and what it is in the limit."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_ef21.errors import InputError
from strategies.ef21 import EF21
from strategies.heavy_ball import HeavyBall
from strategies.muon import Muon, polar
from strategies.normalised import Normalised

SHAPES = (("w", (3, 5)), ("b", (5,)), ("v", (4, 2)), ("conv", (2, 1, 2, 2)))
D = sum(math.prod(shape) for _, shape in SHAPES)
SERVERS: list[Any] = [HeavyBall(0.9), Normalised(), Muon(SHAPES)]
C = torch.randn(30, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("server", SERVERS, ids=lambda s: type(s).__name__)
def test_g_is_the_sum_of_what_came_as_in_ef21(server: Any) -> None:
    s, t = server.start(torch.zeros(D, dtype=torch.float64)), EF21().start(torch.zeros(D, dtype=torch.float64))
    for c in C:
        before = {field.name: getattr(s, field.name).clone() for field in fields(s)}
        after, t = server.step(s, c), EF21().step(t, c)
        server.direction(after)
        assert torch.equal(after.g, t.g)
        assert all(torch.equal(getattr(s, name), value) for name, value in before.items())
        s = after


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_heavy_ball_is_torchs_sgd_with_that_momentum(beta: float) -> None:
    x = torch.nn.Parameter(torch.ones(D, dtype=torch.float64))
    theirs = torch.optim.SGD([x], lr=0.1, momentum=beta)
    server, mine = HeavyBall(beta), torch.ones(D, dtype=torch.float64)
    s = server.start(torch.zeros(D, dtype=torch.float64))
    for c in C:
        s = server.step(s, c)
        x.grad = s.g.clone()
        theirs.step()
        mine = mine - 0.1 * server.direction(s)
        assert torch.allclose(mine, x, rtol=0, atol=1e-12)


def test_without_momentum_a_heavy_ball_steps_by_g() -> None:
    server = HeavyBall(0.0)
    s = server.start(torch.zeros(D, dtype=torch.float64))
    for c in C:
        s = server.step(s, c)
        assert torch.equal(server.direction(s), s.g)


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan")])
def test_a_momentum_outside_its_range_is_told(beta: float) -> None:
    with pytest.raises(InputError, match=r"must lie in \[0, 1\)"):
        HeavyBall(beta)


def test_a_normalised_step_has_length_one_whatever_the_scale() -> None:
    server = Normalised()
    for scale in (1e-150, 1e-3, 1.0, 1e100):
        s = server.step(server.start(torch.zeros(D, dtype=torch.float64)), scale * C[0])
        assert float(server.direction(s).norm()) == pytest.approx(1, abs=1e-12)
        assert torch.allclose(server.direction(s), C[0] / C[0].norm(), rtol=1e-12)


def test_where_g_is_zero_nothing_moves() -> None:
    zero = torch.zeros(D, dtype=torch.float64)
    for server in SERVERS:
        assert torch.equal(server.direction(server.start(zero)), zero)


# Layers ----------------------------------------------------------------------------------------------


def muon_of_torch(G: Tensor, **options: Any) -> Tensor:
    """The step that torch.optim.Muon makes from a gradient G with lr 1 and no momentum, its own scaling taken back."""
    X = torch.nn.Parameter(torch.zeros_like(G))
    X.grad = G.clone()
    theirs: torch.optim.Optimizer = torch.optim.Muon(
        [X], 1.0, weight_decay=0.0, momentum=0.0, nesterov=False, **options
    )
    theirs.step()
    return -X.detach() / math.sqrt(max(1.0, G.shape[0] / G.shape[1]))


@pytest.mark.parametrize("shape", [(6, 6), (12, 5), (5, 12)])
def test_a_matrix_steps_as_torchs_muon_where_that_iterates_long_enough(shape: tuple[int, int]) -> None:
    """Newton-Schulz with (15/8, -10/8, 3/8) converges to U V^T; torch computes it in bfloat16."""
    G = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    theirs = muon_of_torch(G, ns_coefficients=(15 / 8, -10 / 8, 3 / 8), ns_steps=20)
    assert torch.allclose(polar(G.double()).float(), theirs, atol=0.03)


def test_torchs_muon_as_it_is_has_our_singular_vectors_and_values_around_one() -> None:
    G = torch.randn(8, 5, generator=torch.Generator().manual_seed(2))
    U, _, Vt = torch.linalg.svd(G, full_matrices=False)
    seen = U.T @ muon_of_torch(G) @ Vt.T
    assert (seen - seen.diag().diag()).abs().max() < 0.05 and ((seen.diag() > 0.6) & (seen.diag() < 1.3)).all()


def test_every_layer_goes_to_the_point_of_its_ball_that_g_likes_most() -> None:
    g = C[3]
    server = Muon(SHAPES, rest=0.5)
    found = server.direction(server.step(server.start(torch.zeros(D, dtype=torch.float64)), g))
    at = 0
    for _, shape in SHAPES:
        size = math.prod(shape)
        part, ours = g[at : at + size].reshape(shape), found[at : at + size].reshape(shape)
        if len(shape) == 2:
            assert float(torch.linalg.matrix_norm(ours, 2)) == pytest.approx(1, abs=1e-12)
            assert float((part * ours).sum()) == pytest.approx(float(torch.linalg.matrix_norm(part, "nuc")), rel=1e-12)
        else:
            assert ours.abs().max() == 0.5
            assert float((part * ours).sum()) == pytest.approx(0.5 * float(part.abs().sum()), rel=1e-12)
        at += size
    assert at == D


def test_the_kernel_of_a_matrix_stays_where_it_is() -> None:
    u, v = torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(polar(7 * u @ v), u @ v / 5, rtol=0, atol=1e-14)


def test_the_scale_of_a_layer_does_not_matter() -> None:
    server, zero = Muon(SHAPES), torch.zeros(D, dtype=torch.float64)
    here = server.direction(server.step(server.start(zero), C[5]))
    there = server.direction(server.step(server.start(zero), 1e-9 * C[5]))
    assert torch.allclose(here, there, rtol=0, atol=1e-9)


def test_a_g_that_is_not_finite_shows_in_the_model() -> None:
    server = Muon(SHAPES)
    s = server.step(server.start(torch.zeros(D, dtype=torch.float64)), torch.full((D,), torch.nan, dtype=torch.float64))
    assert server.direction(s).isnan().all()


@pytest.mark.parametrize("rest", [0.0, -1.0, math.inf, math.nan])
def test_a_radius_that_is_none_is_told(rest: float) -> None:
    with pytest.raises(InputError, match="must be a number > 0"):
        Muon(SHAPES, rest)
