"""A person's own torch modules as problems, and the two ways to take their gradients."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fl_ef21.data.base import Dataset
from fl_ef21.errors import InputError
from fl_ef21.problems import build
from fl_ef21.problems.choosing import Choice, choose
from fl_ef21.problems.modules import Module
from fl_ef21.problems.sampled import Sampled

SIZES = (6, 3, 3, 8)
SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, outputs=3, extra=None):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Tanh(), *([extra] if extra else []))
        self.frozen = nn.Parameter(torch.ones(width), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))
        self.head = nn.Linear(width, outputs)
    def forward(self, a):
        return self.head(self.body(a) * self.frozen)

class Normed(Net):
    def __init__(self):
        super().__init__(extra=nn.BatchNorm1d(4))

class Dropped(Net):
    def __init__(self):
        super().__init__(extra=nn.Dropout(0.5))

class Branching(Net):
    def forward(self, a):
        out = super().forward(a)
        return out if out.sum() > 0 else 2 * out

class Pooled(Net):
    def forward(self, a):
        return super().forward(a).mean(dim=0)

class Single(Net):
    def forward(self, a):
        return super().forward(a)[:, 0]

class Empty(nn.Module):
    def forward(self, a):
        return a

class Heavy(Net):
    def forward(self, a):
        return super().forward(a) + torch.ones(5, 7)

class Viewing(Net):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
    def forward(self, a):
        return super().forward(self.conv(a)[:, :1]) + self.conv(a).view(len(a), -1)[:, :3]

class Stuck(Net):
    def forward(self, a):
        return super().forward(a).detach()

def smooth(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels, label_smoothing=0.1)

def vector(outputs, labels):
    return outputs.sum(dim=1)

number = 3
"""


@pytest.fixture(autouse=True)
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_nets.py").write_text(SOURCE)
    (tmp_path / "user_broken.py").write_text("import no_such_thing_at_all")
    (tmp_path / "user_raising.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


def dataset() -> Dataset:
    rng = np.random.default_rng(5)
    n = sum(SIZES)
    features, labels = rng.normal(size=(n + 9, 1, 4, 4)).astype(np.float32), rng.integers(0, 3, n + 9)
    return Dataset("random", features[:n], labels[:n], ("a", "b", "c"), features[n:], labels[n:])


def problem(name: str, dtype: torch.dtype = torch.float64, seed: int = 3, **options: Any) -> Sampled:
    parts = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    made = build(
        name, clients=4, data=dataset(), parts=parts, options=options, batch_size="full", weights="equal",
        seed=seed, dtype=dtype,
    )  # fmt: skip
    assert isinstance(made, Sampled)
    return made


def batched(p: Sampled) -> bool:
    assert isinstance(p.model, Module)
    return p.model.way == "vmap"


def point(p: Sampled) -> Tensor:
    return p.x0() + 0.3 * torch.randn(p.dim, generator=torch.Generator().manual_seed(1)).to(p.x0())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {}),
        ("cnn", {"channels": 3}),
        ("user_nets:Net", {"loss": "mse"}),
        ("user_nets:Net", {"args": {"width": 2}}),
    ],
)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_vmap_and_the_loop_agree(name: str, options: dict[str, Any], dtype: torch.dtype, error: float) -> None:
    one, other = (problem(name, dtype, per_client=how, **options) for how in ("vmap", "loop"))
    assert batched(one) and not batched(other)
    x, everyone = point(one), torch.arange(4)
    assert torch.allclose(one.gradients(x, everyone, 1), other.gradients(x, everyone, 1), rtol=error, atol=error)


def test_auto_loops_over_convolutions_on_a_cpu() -> None:
    assert batched(problem("mlp")) and batched(problem("user_nets:Net"))
    assert not batched(problem("cnn"))


@pytest.mark.parametrize("loss", ["cross-entropy", "mse", "user_nets:smooth"])
@pytest.mark.parametrize("per_client", ["loop", "vmap"])
def test_the_objectives_gradient_is_the_mean_of_full_gradients(loss: str, per_client: str) -> None:
    p = problem("user_nets:Net", loss=loss, per_client=per_client, regularizer=0.1)
    x, h = point(p), 1e-6
    f, g = p.objective(x)
    assert torch.allclose(g, p.weights @ p.gradients(x, torch.arange(4), 1), rtol=1e-12, atol=1e-14)
    direction = torch.ones_like(x)
    slope = (p.objective(x + h * direction)[0] - p.objective(x - h * direction)[0]) / (2 * h)
    assert slope == pytest.approx(float(g.sum()), rel=1e-6)
    assert f > 0


def test_a_one_number_output_is_fitted_to_the_class_number() -> None:
    p = problem("user_nets:Single", loss="mse")
    x, data = point(p), dataset()
    assert isinstance(p.model, Module)
    outputs = torch.func.functional_call(p.model.exact, p.model._named(x), (torch.tensor(data.features).double(),))
    errors = (outputs - torch.tensor(data.labels)).square().split(SIZES)
    assert p.objective(x)[0] == pytest.approx(float(sum(e.mean() for e in errors)) / 4, rel=1e-12)
    assert p.accuracy(x) is None


def test_only_trainable_parameters_lie_in_x() -> None:
    p = problem("user_nets:Net")
    assert [name for name, _ in p.shapes] == [
        "unused",
        "body.1.weight",
        "body.1.bias",
        "head.weight",
        "head.bias",
    ]
    assert p.dim == 2 + 16 * 4 + 4 + 4 * 3 + 3
    assert not p.objective(point(p))[1][:2].any()


def test_the_start_is_torchs_own_and_depends_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    p = problem("mlp", hidden=[5])
    assert torch.equal(before, torch.get_rng_state())
    plain = torch.nn.Linear(16, 5)
    assert torch.equal(p.x0()[:80], plain.weight.detach().double().reshape(-1))
    assert torch.equal(p.x0(), problem("mlp", hidden=[5]).x0())
    assert not torch.equal(p.x0(), problem("mlp", seed=4, hidden=[5]).x0())


def test_the_cnn_has_its_stated_size_on_mnists_images() -> None:
    from fl_ef21.problems.networks import CNN

    assert sum(p.numel() for p in CNN((1, 28, 28), (16, 32), 10).parameters()) == 20_586


def test_a_module_that_vmap_cannot_batch_is_looped_over_and_says_so() -> None:
    with pytest.warns(UserWarning, match="vmap cannot batch user_nets:Branching") as said:
        p = problem("user_nets:Branching")
        settled, choice = choose(p, 4)
    assert len(said) == 1 and choice == Choice("loop") and settled.shapes == p.shapes
    assert p.gradients(point(p), torch.arange(4), 1).isfinite().all()


def test_dropout_is_off_and_the_person_is_told() -> None:
    with pytest.warns(UserWarning, match="dropout is off"):
        p = problem("user_nets:Dropped")
    x = point(p)
    assert torch.equal(p.gradients(x, torch.arange(4), 1), p.gradients(x, torch.arange(4), 1))


def test_no_grad_around_a_call_does_no_harm() -> None:
    p = problem("cnn", channels=2)
    x = point(p)
    with torch.no_grad():
        inside = p.gradients(x, torch.arange(4), 1)
    assert torch.equal(inside, p.gradients(x, torch.arange(4), 1))


def test_it_survives_the_way_to_an_actor() -> None:
    p = problem("user_nets:Net", loss="user_nets:smooth")
    twin = pickle.loads(pickle.dumps(p))
    assert twin.objective(point(p))[0] == p.objective(point(p))[0]


@pytest.mark.parametrize(
    ("name", "options", "field", "advice"),
    [
        ("no_such_module:Net", {}, "model.name", "no module 'no_such_module'"),
        ("user_broken:Net", {}, "model.name", "no_such_thing_at_all"),
        ("user_raising:Net", {}, "model.name", "ZeroDivisionError"),
        ("user_nets:Nett", {}, "model.name", "did you mean 'Net'"),
        ("user_nets:", {}, "model.name", "package.module:Name"),
        ("user_nets:number", {}, "model.name", "torch.nn.Module"),
        ("user_nets:smooth", {}, "model.name", "torch.nn.Module"),
        ("user_nets:Empty", {}, "model.name", "no parameters"),
        ("user_nets:Normed", {}, "model.name", "GroupNorm"),
        ("user_nets:Pooled", {}, "model.name", "one row each"),
        ("user_nets:Heavy", {}, "model.name", "fails on samples"),
        ("user_nets:Stuck", {}, "model.name", "no gradient"),
        ("user_nets:Net", {"args": {"wide": 3}}, "model.args", "wide"),
        ("user_nets:Net", {"args": [3]}, "model.args", "table"),
        ("user_nets:Net", {"args": {"outputs": 2}}, "model.loss", "needs 3 outputs"),
        ("user_nets:Net", {"args": {"outputs": 2}, "loss": "mse"}, "model.loss", "needs 3 outputs"),
        (
            "user_nets:Net",
            {"args": {"outputs": 2}, "loss": "user_nets:smooth"},
            "model.loss",
            "for 3 classes",
        ),
        ("user_nets:Net", {"loss": "cross-entropi"}, "model.loss", "did you mean 'cross-entropy'"),
        ("user_nets:Net", {"loss": 3}, "model.loss", "package.module:function"),
        ("user_nets:Net", {"loss": "user_nets:number"}, "model.loss", "function"),
        ("user_nets:Net", {"loss": "user_nets:smoth"}, "model.loss", "did you mean 'smooth'"),
        ("user_nets:Net", {"loss": "user_nets:vector"}, "model.loss", "scalar"),
        ("user_nets:Net", {"hidden": [3]}, "model.hidden", "does not take it"),
        ("user_nets:Net", {"per_client": "fast"}, "model.per_client", "did you mean 'auto'"),
        ("user_nets:Viewing", {"per_client": "channels-last"}, "model.per_client", "cannot"),
    ],
)
def test_code_that_cannot_work_is_refused_with_advice(
    name: str, options: dict[str, Any], field: str, advice: str
) -> None:
    with pytest.raises(InputError, match=advice) as caught:
        problem(name, **options)
    assert caught.value.field == field
