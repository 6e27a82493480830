"""Batch sizes, local steps and levels of compression dealt to clients in turn, against plain NumPy loops."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fl_ef21 import randomness, wire
from fl_ef21.compressors import make
from fl_ef21.compressors.levels import make_levels
from fl_ef21.data.base import Dataset
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed, whole
from fl_ef21.plan import Plan
from fl_ef21.problems import build
from fl_ef21.problems.choosing import choose
from fl_ef21.problems.local import Local
from fl_ef21.problems.sampled import Sampled
from fl_ef21.schedule import Schedule
from fl_ef21.types import Problem

SIZES = (5, 9, 5, 2, 14, 7, 3)
SEED, FEATURES, CLASSES = 3, 13, 3  # an odd number of features, so that rows begin at any alignment
BATCHES, STEPS, RATE = [3, "full", 1], [1, 4, 2, 3], 0.3
Array = NDArray[np.float64]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in an actor; two threads split a product in ways that depend on its shape."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def dataset(shape: tuple[int, ...] = (FEATURES,)) -> Dataset:
    rng = np.random.default_rng(5)
    n = sum(SIZES)
    features, labels = rng.normal(size=(n + 4, *shape)).astype(np.float32), rng.integers(0, CLASSES, n + 4)
    return Dataset("random", features[:n], labels[:n], ("a", "b", "c"), features[n:], labels[n:])


PARTS = np.split(np.random.default_rng(6).permutation(sum(SIZES)), np.cumsum(SIZES)[:-1])


def problem(name: str = "logistic", shape: tuple[int, ...] = (FEATURES,), **changes: Any) -> Problem:
    given: dict[str, Any] = {
        "clients": len(SIZES), "data": dataset(shape), "parts": PARTS, "options": {}, "batch_size": 2,
        "weights": "equal", "seed": SEED, "dtype": torch.float64,
    }  # fmt: skip
    return build(name, **(given | changes))


def point(p: Problem) -> Tensor:
    return p.x0() + 0.3 * torch.randn(p.dim, generator=torch.Generator().manual_seed(1)).to(p.x0())


EVERYONE = torch.arange(len(SIZES))


def drawn(i: int, round: int, step: int, batch: int | str) -> Array:
    """The positions of the samples that client i takes in a local step."""
    if batch == "full":
        return PARTS[i]
    purpose = "sample" if step == 0 else f"sample, step {step}"
    key = randomness.keys(SEED, purpose, torch.tensor([i]), round)
    return PARTS[i][randomness.below(key, int(batch), torch.tensor([SIZES[i]]))[0].numpy()]


def gradient(x: Array, which: Array, bias: bool, lam: float) -> Array:
    """Of softmax regression with lam/2 |x|^2 over some samples."""
    data = dataset()
    a, y = data.features[which].astype(np.float64), data.labels[which]
    z = a @ x[: CLASSES * FEATURES].reshape(CLASSES, FEATURES).T + (x[CLASSES * FEATURES :] if bias else 0)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    p /= len(y)
    parts = [(p.T @ a).reshape(-1), *([p.sum(axis=0)] if bias else [])]
    return np.concatenate(parts) + lam * x


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batches", [2, "full", BATCHES])
@pytest.mark.parametrize("steps", [3, STEPS])
def test_local_steps_are_a_plain_loop_of_sgd(bias: bool, batches: Any, steps: Any) -> None:
    p = problem(
        options={"bias": bias, "regularizer": 0.1}, batch_size=batches, local_steps=steps, local_rate=RATE
    )  # fmt: skip
    x, want = point(p).numpy(), []
    for i in range(len(SIZES)):
        B = batches[i % len(batches)] if isinstance(batches, list) else batches
        K = steps[i % len(steps)] if isinstance(steps, list) else steps
        y = x.copy()
        for k in range(K):
            y -= RATE * gradient(y, drawn(i, 7, k, B), bias, 0.1)
        want.append((x - y) / (RATE * K))
    assert np.allclose(p.gradients(point(p), EVERYONE, 7), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("per_client", ["vmap", "loop", "channels-last"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_local_steps_of_a_network_are_steps_along_its_gradients(name: str, per_client: str) -> None:
    changes: dict[str, Any] = {
        "options": {"per_client": per_client, **({"channels": 2} if name == "cnn" else {"hidden": [4]})},
        "batch_size": "full", "shape": (1, 5, 5),
    }  # fmt: skip
    p, plain = problem(name, local_steps=STEPS, local_rate=RATE, **changes), problem(name, **changes)
    got = p.gradients(point(p), EVERYONE, 1)
    for i in range(len(SIZES)):
        y = point(p)
        for _ in range(K := STEPS[i % len(STEPS)]):
            y = y - RATE * plain.gradients(y, torch.tensor([i]), 1)[0]
        assert torch.allclose(got[i], (point(p) - y) / (RATE * K), rtol=1e-10, atol=1e-12)


def test_local_steps_on_a_quadratic_are_those_of_its_recurrence() -> None:
    changes: dict[str, Any] = {"options": {"dim": 6, "noise": "none", "L": 1.5}, "data": None, "parts": None}
    p, plain = problem("quadratic", local_steps=STEPS, local_rate=RATE, **changes), problem("quadratic", **changes)
    H, b = plain.H.numpy(), plain.b.numpy()  # type: ignore[attr-defined]
    for i, q in enumerate(p.gradients(point(p), EVERYONE, 1)):
        y, K = point(p).numpy().copy(), STEPS[i % len(STEPS)]
        for _ in range(K):
            y -= RATE * H * (y - b[i])
        assert np.allclose(q, (point(p).numpy() - y) / (RATE * K), rtol=1e-12)


def test_every_local_step_has_noise_of_its_own_and_batches_divide_its_variance() -> None:
    n, d = 600, 40
    changes: dict[str, Any] = {
        "clients": n, "options": {"dim": d, "L": 1e-9, "mu": 1e-9, "sigma": 2.0, "heterogeneity": 0.0},
        "data": None, "parts": None,
    }  # fmt: skip
    size = {}
    for K, B in ((1, 1), (4, 1), (1, 8)):
        rate = None if K == 1 else RATE
        p = problem("quadratic", batch_size=B, local_steps=K, local_rate=rate, **changes)
        size[K, B] = float(p.gradients(p.x0(), torch.arange(n), 1).square().sum(dim=1).mean())
    assert size[1, 1] == pytest.approx(4.0, rel=0.1)
    assert size[4, 1] == pytest.approx(1.0, rel=0.1) and size[1, 8] == pytest.approx(0.5, rel=0.1)
    dealt = problem("quadratic", batch_size=[1, 8, "full"], **changes).gradients(
        torch.ones(d).double(), torch.arange(n), 1
    )
    spread = [float(dealt[j::3].square().sum(dim=1).mean()) for j in range(3)]
    assert spread[0] == pytest.approx(4.0, rel=0.2) and spread[1] == pytest.approx(0.5, rel=0.2)
    assert spread[2] < 1e-9


@pytest.mark.parametrize("name", ["logistic", "mlp", "quadratic"])
def test_a_list_of_one_is_the_number_and_one_step_is_the_gradient_bitwise(name: str) -> None:
    changes = {"dtype": torch.float32, "options": {"dim": 9} if name == "quadratic" else {}}
    number = problem(name, batch_size=3, **changes)
    for lists in ({"batch_size": [3]}, {"batch_size": [3, 3], "local_steps": [1]}, {"batch_size": 3, "local_steps": 1}):
        listed = problem(name, **(changes | lists))
        assert type(listed) is type(number)
        assert torch.equal(listed.gradients(point(listed), EVERYONE, 2), number.gradients(point(number), EVERYONE, 2))


def test_clients_of_a_mixed_tile_draw_what_they_would_draw_alone() -> None:
    mixed = problem(batch_size=BATCHES, dtype=torch.float32)
    got = mixed.gradients(point(mixed), EVERYONE, 5)
    for j, B in enumerate(BATCHES):
        same = problem(batch_size=B, dtype=torch.float32)
        assert torch.equal(got[j :: len(BATCHES)], same.gradients(point(same), EVERYONE, 5)[j :: len(BATCHES)])


@settings(max_examples=60, deadline=None)
@given(
    clients=st.lists(st.sampled_from(range(len(SIZES))), min_size=1, unique=True),
    batches=st.sampled_from([BATCHES, [1, 1, 2], 4]),
    steps=st.sampled_from([STEPS, [2, 1], 1]),
    bias=st.booleans(),
    round=st.integers(0, 1000),
)
def test_no_result_depends_on_the_neighbours_in_the_tile_bitwise(
    clients: list[int], batches: Any, steps: Any, bias: bool, round: int
) -> None:
    rate = None if steps == 1 else RATE
    p = problem(
        options={"bias": bias}, batch_size=batches, local_steps=steps, local_rate=rate, dtype=torch.float32
    )  # fmt: skip
    together = p.gradients(point(p), EVERYONE, round)
    assert torch.equal(p.gradients(point(p), torch.tensor(clients), round), together[clients])


@pytest.mark.parametrize("per_client", ["loop", "channels-last"])
def test_no_looped_result_depends_on_the_neighbours_in_the_tile_bitwise(per_client: str) -> None:
    p = problem(
        "cnn", shape=(1, 8, 8), options={"channels": 3, "per_client": per_client}, batch_size=BATCHES,
        local_steps=STEPS, local_rate=RATE, dtype=torch.float32,
    )  # fmt: skip
    together = p.gradients(point(p), EVERYONE, 3)
    for clients in ([0], [6, 2], [1, 2, 3, 4], [5, 0, 4]):
        assert torch.equal(p.gradients(point(p), torch.tensor(clients), 3), together[clients])


def test_the_model_is_left_alone_and_a_shard_keeps_ids_and_gradients() -> None:
    p = problem(batch_size=BATCHES, local_steps=STEPS, local_rate=RATE, dtype=torch.float32)
    x = point(p)
    before, whole_tile = x.clone(), p.gradients(x, EVERYONE, 7)
    assert torch.equal(x, before)
    for held in (range(2), range(3, 7)):
        shard = pickle.loads(pickle.dumps(p.shard(held)))
        assert torch.equal(shard.gradients(x, torch.tensor(held), 7), whole_tile[list(held)])


def test_long_rows_are_worked_on_in_pieces_at_points_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(batch_size=["full", 6], local_steps=3, local_rate=RATE)
    together = p.gradients(point(p), EVERYONE, 1)
    monkeypatch.setattr("fl_ef21.problems.sampled._TILE", 4 * FEATURES)
    assert torch.allclose(p.gradients(point(p), EVERYONE, 1), together, rtol=1e-12, atol=1e-14)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "options"), [("logistic", {"bias": True}), ("cnn", {"channels": 2})])
def test_on_a_gpu_clients_that_differ_get_what_they_get_on_the_cpu(name: str, options: dict[str, Any]) -> None:
    changes: dict[str, Any] = {
        "shape": (1, 5, 5), "options": options, "batch_size": BATCHES, "local_steps": STEPS, "local_rate": RATE
    }  # fmt: skip
    here, there = problem(name, **changes), problem(name, device="cuda", **changes)
    want = here.gradients(point(here), EVERYONE, 3)
    assert torch.allclose(there.gradients(point(here), EVERYONE, 3).cpu(), want, rtol=1e-9, atol=1e-12)
    settled, choice = choose(there, 4)
    assert (choice is None) == (name == "logistic")
    assert torch.allclose(settled.gradients(point(here), EVERYONE, 3).cpu(), want, rtol=1e-9, atol=1e-12)


def test_costs_count_samples_times_local_steps() -> None:
    batches = [B if B != "full" else SIZES[i] for i, B in enumerate((BATCHES * 3)[: len(SIZES)])]
    p = problem(batch_size=BATCHES, local_steps=STEPS, local_rate=RATE)
    assert p.costs.dtype == torch.float64
    assert p.costs.tolist() == [B * STEPS[i % len(STEPS)] for i, B in enumerate(batches)]
    assert problem(batch_size="full").costs.tolist() == list(SIZES)
    assert problem(batch_size=4).costs.tolist() == [4.0] * len(SIZES)
    quadratic = problem("quadratic", batch_size=9, local_steps=[2, 1], local_rate=RATE)
    assert quadratic.costs.tolist() == [2, 1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("changes", "field", "advice"),
    [
        ({"batch_size": []}, "train.batch_size", "at least one entry"),
        ({"batch_size": [4, 0]}, "train.batch_size[1]", "whole number >= 1"),
        ({"batch_size": [4, "half"]}, "train.batch_size[1]", '"full"'),
        ({"local_steps": [], "local_rate": 0.1}, "train.local_steps", "at least one entry"),
        ({"local_steps": [1, 0], "local_rate": 0.1}, "train.local_steps[1]", "whole number >= 1"),
        ({"local_steps": 2}, "train.local_rate", "is missing"),
        ({"local_steps": 2, "local_rate": 0}, "train.local_rate", "> 0"),
        ({"local_steps": 2, "local_rate": float("nan")}, "train.local_rate", "> 0"),
        ({"local_rate": 0.1}, "train.local_rate", "has no meaning"),
    ],
)
def test_what_cannot_be_dealt_is_refused_with_advice(changes: dict[str, Any], field: str, advice: str) -> None:
    with pytest.raises(InputError, match=advice) as caught:
        problem(**changes)
    assert caught.value.field == field


def test_types_tell_what_was_built() -> None:
    assert isinstance(problem(), Sampled) and isinstance(problem(local_steps=[1, 1]), Sampled)
    assert isinstance(problem(local_steps=[1, 2], local_rate=0.1), Local)


# ---------------------------------------------------------------- levels of compression

D = 37
SHAPES = (("a", (5, 4)), ("b", (17,)))
LISTS: list[tuple[str, dict[str, Any]]] = [
    ("topk", {"k": [3, 8, 1]}),
    ("topk", {"fraction": [0.1, 0.5, 0.1]}),
    ("randk", {"k": [4, 2]}),
    ("randk", {"fraction": [0.5, 0.1, 0.2], "scaled": True}),
    ("block-topk", {"block": 6, "k": [1, 3]}),
    ("layer-topk", {"fraction": [0.2, 0.6]}),
    *(("topk", {"values": v, "k": [2, 5, 9]}) for v in ("bfloat16", "sign", "natural")),
    ("topk", {"values": "qsgd", "levels": 3, "k": [2, 5]}),
    ("topk", {"values": "int8", "scale_block": 2, "k": [2, 5, 9]}),
    ("layer-topk", {"values": "int4", "scale_block": 3, "fraction": [0.2, 0.6]}),
    ("randk", {"values": "int8", "scale_block": 4, "k": [2, 5]}),
]


def plan(name: str, options: dict[str, Any]) -> Plan:
    levels = make_levels(name, dim=D, shapes=SHAPES, **options)
    return Plan(
        "a", "ef21-sgd", Schedule(1), Schedule(1), levels[0], "zero", 0, torch.float32, levels
    )  # fmt: skip


def rows(n: int) -> tuple[Tensor, Tensor]:
    keys = randomness.keys(1, "compressor", torch.arange(n), 4)
    return torch.randn(n, D, generator=torch.Generator().manual_seed(2)), keys


@pytest.mark.parametrize(("name", "options"), LISTS)
def test_each_row_is_compressed_as_its_client_alone_would(name: str, options: dict[str, Any]) -> None:
    u, keys = rows(8)
    clients = torch.tensor([9, 0, 1, 4, 2, 3, 8, 5])
    c = plan(name, options).compress(u, keys, clients)
    key, entries = next((k, v) for k, v in options.items() if isinstance(v, list))
    for row, client in enumerate(clients.tolist()):
        C = make(name, dim=D, shapes=SHAPES, **options | {key: entries[client % len(entries)]})
        alone = C(u[row : row + 1], keys[row : row + 1])
        assert torch.equal(c.dense()[row], alone.dense()[0]) and int(c.counts[row]) == int(alone.counts[0])
        assert wire.encode(c)[row] == wire.encode(alone)[0]


@pytest.mark.parametrize(("name", "options"), LISTS)
def test_messages_of_several_sizes_survive_the_wire(name: str, options: dict[str, Any]) -> None:
    p = plan(name, options)
    c = p.compress(*rows(7), torch.arange(7))
    payloads = wire.encode(c)
    got, refused = wire.decode(payloads, expected(p))
    weights = torch.rand(7, generator=torch.Generator().manual_seed(3)).double()
    assert not refused and torch.equal(got.dense(), c.dense())
    assert torch.equal(got.total(weights), c.total(weights))


def expected(p: Plan) -> wire.Spec:
    return wire.Spec.of_any([C(torch.ones(1, D), torch.zeros(1, dtype=torch.int64)) for C in p.compressors])


def test_a_subset_of_a_size_that_nobody_has_is_refused_and_the_others_are_not() -> None:
    p = plan("randk", {"k": [4, 2]})
    payloads = wire.encode(p.compress(*rows(4), torch.arange(4)))
    for wrong in (3, 5):
        odd = wire.encode(make("randk", dim=D, shapes=SHAPES, k=wrong)(*rows(1)))
        got, refused = wire.decode([*payloads, *odd], expected(p))
        assert {row: why.reason for row, why in refused.items()} == {4: "count"}
        assert got.counts.tolist() == [4, 2, 4, 2, 0] and not got.dense()[4].any()


def test_a_damaged_message_among_several_sizes_counts_as_zero() -> None:
    p = plan("randk", {"k": [4, 2]})
    c = p.compress(*rows(4), torch.arange(4))
    payloads = wire.encode(c)
    payloads[2] = payloads[2][:-5] + bytes([payloads[2][-5] ^ 1]) + payloads[2][-4:]
    got, refused = wire.decode(payloads, expected(p))
    assert list(refused) == [2] and not got.dense()[2].any()
    assert torch.equal(got.dense()[[0, 1, 3]], c.dense()[[0, 1, 3]])


def test_a_list_of_one_level_is_that_level() -> None:
    assert make_levels("topk", dim=D, shapes=SHAPES, k=[3]) == make_levels("topk", dim=D, shapes=SHAPES, k=3)
    assert len(make_levels("topk", dim=D, shapes=SHAPES, k=[3, 3])) == 1
    single: Compressed = plan("topk", {"k": [3]}).compress(*rows(5), torch.arange(5))
    assert torch.equal(single.dense(), make("topk", dim=D, shapes=SHAPES, k=3)(*rows(5)).dense())
    assert torch.equal(whole(rows(2)[0]).dense(), rows(2)[0])


@pytest.mark.parametrize(
    ("name", "options", "field", "advice"),
    [
        ("topk", {"k": []}, "k", "at least one entry"),
        ("topk", {"k": [3, 0]}, "k[1]", "whole number in 1 .. 37"),
        ("randk", {"k": [3, 38]}, "k[1]", "whole number in 1 .. 37"),
        ("topk", {"fraction": [0.1, 1.5]}, "fraction[1]", "(0, 1]"),
        ("topk", {"k": [3], "fraction": [0.1]}, "fraction", "not both"),
        ("topk", {"k": [3, 4], "fraction": 0.1}, "fraction", "not both"),
        ("sign", {"k": [3]}, "k", "is not an option"),
        ("qsgd", {"levels": [3, 4]}, "levels", "whole number"),
    ],
)
def test_levels_that_cannot_be_are_refused_with_advice(
    name: str, options: dict[str, Any], field: str, advice: str
) -> None:
    with pytest.raises(InputError) as caught:
        make_levels(name, dim=D, shapes=SHAPES, **options)
    assert advice in str(caught.value) and caught.value.field == field
