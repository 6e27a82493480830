"""Problems over data, against torch autograd, finite differences and sums written out."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_ef21.data.base import Dataset
from fl_ef21.errors import InputError
from fl_ef21.problems import MODELS, build, needs_data
from fl_ef21.problems.sampled import Sampled


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in an actor; two threads split a product in ways that depend on its shape."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SIZES = (5, 9, 5, 2, 14)


def dataset(shape: tuple[int, ...] = (1, 8, 8), classes: int = 3, tests: int = 11) -> Dataset:
    rng = np.random.default_rng(5)
    n = sum(SIZES)
    features = rng.normal(size=(n + tests, *shape)).astype(np.float32)
    labels = rng.integers(0, classes, n + tests)
    names = tuple(str(c) for c in range(classes))
    return Dataset("random", features[:n], labels[:n], names, features[n:], labels[n:])


def parts() -> list[np.ndarray]:
    order = np.random.default_rng(6).permutation(sum(SIZES))
    return [np.sort(part) for part in np.split(order, np.cumsum(SIZES)[:-1])]


def problem(name: str = "logistic", *, data: Dataset | None = None, **changes: Any) -> Sampled:
    given: dict[str, Any] = {
        "clients": len(SIZES), "data": data or dataset(), "parts": parts(), "options": {},
        "batch_size": 4, "weights": "equal", "seed": 3, "dtype": torch.float64,
    }  # fmt: skip
    made = build(name, **(given | changes))
    assert isinstance(made, Sampled)
    return made


def point(p: Sampled) -> Tensor:
    return p.x0() + 0.3 * torch.randn(p.dim, generator=torch.Generator().manual_seed(1)).to(p.x0())


def everyone(p: Sampled) -> Tensor:
    return torch.arange(p.clients)


CASES = [
    ("logistic", {}),
    ("logistic", {"bias": True, "regularizer": 0.1}),
    ("logistic-nonconvex", {"regularizer": 0.2, "bias": True}),
    ("mlp", {"hidden": [6, 5]}),
    ("mlp", {"hidden": [6], "per_client": "loop", "regularizer": 0.1}),
    ("cnn", {"channels": 2}),
    ("cnn", {"channels": [2, 3], "per_client": "vmap"}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("weights", ["equal", "samples"])
def test_the_objectives_gradient_is_the_weighted_mean_of_full_gradients(
    name: str, options: dict[str, Any], weights: str
) -> None:
    p = problem(name, options=options, weights=weights, batch_size="full")
    x = point(p)
    total = p.weights @ p.gradients(x, everyone(p), 1)
    assert torch.allclose(p.objective(x)[1], total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_objectives_gradient_agrees_with_finite_differences(name: str, options: dict[str, Any]) -> None:
    p = problem(name, options=options)
    x, h = point(p), 1e-6
    direction = torch.randn(p.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    slope = (p.objective(x + h * direction)[0] - p.objective(x - h * direction)[0]) / (2 * h)
    assert slope == pytest.approx(float(p.objective(x)[1] @ direction), rel=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_logistic_gradients_are_those_of_autograd(bias: bool) -> None:
    p = problem(options={"bias": bias}, batch_size="full")
    x = point(p).requires_grad_()
    W = x[: 3 * 64].view(3, 64)
    data, split = dataset(), parts()
    for i, g in enumerate(p.gradients(x.detach(), everyone(p), 1)):
        A = torch.tensor(data.features[split[i]], dtype=torch.float64).flatten(1)
        logits = A @ W.T + (x[3 * 64 :] if bias else 0)
        loss = F.cross_entropy(logits, torch.tensor(data.labels[split[i]]))
        assert torch.allclose(g, torch.autograd.grad(loss, x)[0], rtol=1e-12, atol=1e-14)


def test_logistic_starts_at_zero_where_every_class_is_as_likely() -> None:
    p = problem()
    assert not p.x0().any()
    assert p.objective(p.x0())[0] == pytest.approx(np.log(3), rel=1e-14)


def test_two_classes_have_a_row_of_weights_each() -> None:
    p = problem(data=dataset((7,), classes=2), options={"bias": True})
    assert p.shapes == (("W", (2, 7)), ("b", (2,)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("logistic", lambda x: 0.3 / 2 * x**2), ("logistic-nonconvex", lambda x: 0.3 * x**2 / (1 + x**2))],
)
def test_a_regularizer_adds_its_formula_over_all_coordinates(name: str, value: Any) -> None:
    with_r = problem(name, options={"bias": True, "regularizer": 0.3})
    without = problem(name, options={"bias": True, "regularizer": 0.0})
    x = point(with_r).requires_grad_()
    r = value(x).sum()
    (g,) = torch.autograd.grad(r, x)
    x = x.detach()
    assert with_r.objective(x)[0] - without.objective(x)[0] == pytest.approx(float(r.detach()), rel=1e-12)
    added = with_r.gradients(x, everyone(with_r), 1) - without.gradients(x, everyone(with_r), 1)
    assert torch.allclose(added, g.expand_as(added), rtol=1e-10, atol=1e-14)


def test_the_nonconvex_regularizer_is_1e_4_unless_given() -> None:
    x = point(problem())
    mine, theirs = problem("logistic-nonconvex"), problem("logistic-nonconvex", options={"regularizer": 1e-4})
    assert mine.objective(x)[0] == theirs.objective(x)[0] > problem().objective(x)[0]


@pytest.mark.parametrize(("batch_size", "rounds"), [(1, 800), (3, 500)])
def test_sampled_gradients_are_unbiased(batch_size: int, rounds: int) -> None:
    data = dataset((2,))
    p = problem(data=data, batch_size=batch_size)
    x, full = point(p), problem(data=data, batch_size="full").gradients(point(p), everyone(p), 1)
    draws = torch.stack([p.gradients(x, everyone(p), r) for r in range(rounds)])
    error = (draws.mean(dim=0) - full).abs()
    assert bool((error < 5 * draws.std(dim=0) / rounds**0.5 + 1e-12).all())


@settings(deadline=None, max_examples=30)
@given(
    clients=st.lists(st.integers(0, len(SIZES) - 1), min_size=1, max_size=8, unique=True),
    batch_size=st.sampled_from([1, 3, "full"]),
    round=st.integers(0, 1000),
    bias=st.booleans(),
)
def test_a_clients_logistic_gradient_is_bitwise_the_same_in_any_tile(
    clients: list[int], batch_size: Any, round: int, bias: bool
) -> None:
    p = problem(batch_size=batch_size, options={"bias": bias}, dtype=torch.float32)
    x = point(p)
    together = p.gradients(x, everyone(p), round)
    assert torch.equal(p.gradients(x, torch.tensor(clients), round), together[clients])


@pytest.mark.parametrize("batch_size", [4, "full"])
@pytest.mark.parametrize("name", ["logistic", "mlp"])
def test_a_shard_keeps_ids_and_gradients(name: str, batch_size: Any) -> None:
    p = problem(name, batch_size=batch_size)
    x, whole = point(p), p.gradients(point(p), everyone(p), 7)
    for held in (range(2), range(3, 5), range(1, 5, 2), range(2, 2)):
        shard = pickle.loads(pickle.dumps(p.shard(held)))
        ids = torch.tensor(held, dtype=torch.int64)
        assert len(shard.labels) == sum(SIZES[i] for i in held)
        assert (shard.clients, shard.dim, shard.accuracy(x)) == (p.clients, p.dim, None)
        assert torch.allclose(shard.gradients(x, ids, 7), whole[ids], rtol=1e-13, atol=1e-15)


def test_a_shard_of_a_shard_is_a_shard() -> None:
    p, ids = problem(), torch.tensor([3])
    twice = p.shard(range(1, 5)).shard(range(3, 4))
    assert torch.equal(twice.gradients(point(p), ids, 2), p.gradients(point(p), ids, 2))


def test_a_client_that_a_shard_does_not_hold_is_an_error() -> None:
    with pytest.raises(IndexError, match=r"\[4\]"):
        problem().shard(range(2)).gradients(problem().x0(), torch.tensor([1, 4]), 1)


def test_the_objectives_of_shards_add_up() -> None:
    p = problem("logistic-nonconvex", options={"regularizer": 0.1}, weights="samples")
    x = point(p)
    pieces = [p.shard(held).objective(x) for held in (range(2), range(2, 5))]
    assert sum(f for f, _ in pieces) == pytest.approx(p.objective(x)[0], rel=1e-13)
    assert torch.allclose(pieces[0][1] + pieces[1][1], p.objective(x)[1], rtol=1e-12, atol=1e-14)


def test_rounds_clients_and_seeds_draw_different_samples() -> None:
    p, x = problem(), point(problem())
    one = p.gradients(x, torch.tensor([4]), 1)
    assert torch.equal(one, p.gradients(x, torch.tensor([4]), 1))
    assert not torch.equal(one, p.gradients(x, torch.tensor([4]), 2))
    assert not torch.equal(one, problem(seed=4).gradients(x, torch.tensor([4]), 1))


@pytest.mark.parametrize("name", ["logistic", "mlp"])
@pytest.mark.parametrize("batch_size", [6, "full"])
def test_working_in_small_pieces_changes_nothing(name: str, batch_size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(name, batch_size=batch_size, options={"regularizer": 0.1})
    x = point(p)
    q, (f, g), a = p.gradients(x, everyone(p), 1), p.objective(x), p.accuracy(x)
    for at_once in (3 * 64, 13 * 64):
        for constant in ("_TILE", "EVALUATION"):
            monkeypatch.setattr(f"fl_ef21.problems.sampled.{constant}", at_once)
        assert torch.allclose(p.gradients(x, everyone(p), 1), q, rtol=1e-12, atol=1e-14)
        assert p.objective(x)[0] == pytest.approx(f, rel=1e-13)
        assert torch.allclose(p.objective(x)[1], g, rtol=1e-12, atol=1e-14)
        assert p.accuracy(x) == a


def test_weights_are_equal_or_by_samples() -> None:
    assert problem().weights.tolist() == pytest.approx([1 / 5] * 5)
    assert problem(weights="samples").weights.tolist() == pytest.approx([m / sum(SIZES) for m in SIZES])


def test_accuracy_is_the_share_of_test_samples_with_the_highest_score() -> None:
    data, p = dataset(), problem()
    x = point(p)
    scores = torch.tensor(data.test_features, dtype=torch.float64).flatten(1) @ x.view(3, 64).T
    right = (scores.argmax(dim=1).numpy() == data.test_labels).mean()
    assert p.accuracy(x) == pytest.approx(right)
    assert problem(data=dataset(tests=0)).accuracy(x) is None


def test_training_in_float32_still_measures_f_in_float64() -> None:
    single, double = problem(dtype=torch.float32), problem()
    x = point(single)
    assert single.gradients(x, everyone(single), 1).dtype == torch.float32
    (f, g), (F64, G64) = single.objective(x), double.objective(x.double())
    assert g.dtype == torch.float64
    assert f == pytest.approx(F64, rel=1e-14)
    assert torch.allclose(g, G64, rtol=1e-13, atol=1e-15)


def test_the_start_cannot_be_changed_from_outside() -> None:
    p = problem("mlp", dtype=torch.float32)
    p.x0().zero_()
    assert p.x0().any()


def test_real_digits_give_the_sizes_of_the_paper(mnist: Any) -> None:
    from fl_ef21.data import load
    from fl_ef21.partition import split

    data = load("mnist", path=str(mnist))
    cut = split(data, clients=10, scheme="label-sorted", seed=0)
    p = problem("logistic-nonconvex", data=data, clients=10, parts=cut, dtype=torch.float32)
    assert p.dim == 7840
    assert p.objective(p.x0())[0] == pytest.approx(np.log(10), rel=1e-12)


def test_only_problems_without_samples_need_no_data() -> None:
    assert {name for name in MODELS if not needs_data(name)} == {"quadratic", "theorem1"}
    assert needs_data("package.module:Class")


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("logistc", {}, "model.name"),
        ("logistic", {"options": {"biass": True}}, "model.biass"),
        ("logistic", {"options": {"hidden": [3]}}, "model.hidden"),
        ("logistic", {"options": {"bias": 1}}, "model.bias"),
        ("logistic", {"options": {"regularizer": -1.0}}, "model.regularizer"),
        ("logistic", {"options": {"regularizer": float("nan")}}, "model.regularizer"),
        ("logistic", {"options": {"regularizer": "0.1"}}, "model.regularizer"),
        ("logistic-nonconvex", {"options": {"regularizer": True}}, "model.regularizer"),
        ("mlp", {"options": {"hidden": 3}}, "model.hidden"),
        ("mlp", {"options": {"hidden": []}}, "model.hidden"),
        ("mlp", {"options": {"hidden": [4, 0]}}, "model.hidden[1]"),
        ("mlp", {"options": {"per_client": "vmapp"}}, "model.per_client"),
        ("cnn", {"options": {"channels": 0}}, "model.channels"),
        ("cnn", {"options": {"channels": [1, 2, 3]}}, "model.channels"),
        ("cnn", {"data": dataset((64,))}, "model.name"),
        ("cnn", {"data": dataset((1, 3, 8))}, "model.name"),
        ("logistic", {"batch_size": 0}, "train.batch_size"),
        ("logistic", {"batch_size": "all"}, "train.batch_size"),
        ("logistic", {"batch_size": True}, "train.batch_size"),
        ("logistic", {"weights": "sample"}, "train.weights"),
        ("logistic", {"clients": 4}, "partition.clients"),
        ("logistic", {"clients": 0}, "partition.clients"),
        ("logistic", {"parts": [*parts()[:-1], np.array([], dtype=np.int64)]}, "partition.clients"),
        ("logistic", {"parts": None}, "data.source"),
    ],
)
def test_input_that_cannot_work_is_named(name: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        problem(name, **changes)
    assert caught.value.field == field


def test_a_mistyped_option_gets_the_likely_one() -> None:
    with pytest.raises(InputError, match="did you mean 'regularizer'"):
        problem(options={"regularise": 0.1})
