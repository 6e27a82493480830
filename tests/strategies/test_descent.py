"""The optimizer step: by name, over views of one flat vector."""

import pytest
import torch

from fl_ef21.errors import InputError
from strategies.descent import Descent

SHAPES = (("weight", (3, 4)), ("bias", (3,)))
X = torch.linspace(-1, 1, 15)
G = torch.linspace(2, -1, 15)


def test_sgd_is_a_plain_step() -> None:
    descent = Descent(X, SHAPES, "sgd", {}, 0.1)
    assert torch.allclose(descent.step(G, 0.1), X - 0.1 * G)
    assert torch.allclose(descent.step(G, 0.01), X - 0.11 * G)
    assert torch.equal(X, torch.linspace(-1, 1, 15))


def test_momentum_is_heavy_ball() -> None:
    descent = Descent(X, SHAPES, "momentum", {}, 0.1)
    descent.step(G, 0.1)
    assert torch.allclose(descent.step(G, 0.1), X - 0.1 * G - 0.1 * 1.9 * G)


@pytest.mark.parametrize("name", ["Adam", "adamw", "RMSprop", "adagrad"])
def test_other_optimizers_are_those_of_torch(name: str) -> None:
    descent = Descent(X, SHAPES, name, {}, 0.1)
    value = torch.nn.Parameter(X.clone())
    cls = {c.lower(): getattr(torch.optim, c) for c in ("Adam", "AdamW", "RMSprop", "Adagrad")}[name.lower()]
    theirs = cls([value], lr=0.1, weight_decay=0.0)
    for _ in range(3):
        value.grad = G.clone()
        theirs.step()
        descent.step(G, 0.1)
    assert torch.allclose(descent.x, value.data)


def test_muon_steps_matrices_by_an_orthogonal_factor_and_the_rest_by_momentum() -> None:
    descent = Descent(X, SHAPES, "muon", {}, 0.1)
    moved = descent.step(G, 0.1) - X
    assert torch.allclose(moved[12:], -0.1 * G[12:])
    singular = torch.linalg.svdvals(moved[:12].view(3, 4))
    assert not torch.allclose(moved[:12], -0.1 * G[:12]) and float(singular[0]) < 0.2


def test_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'adam'"):
        Descent(X, SHAPES, "adm", {}, 0.1)


def test_an_option_the_optimizer_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimizer_args.*does not suit 'sgd'"):
        Descent(X, SHAPES, "sgd", {"betas": [0.9, 0.9]}, 0.1)
