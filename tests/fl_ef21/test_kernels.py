"""Compiled kernels say what their plain counterparts say."""

import numpy as np
import pytest
import torch

from clients import fused
from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_sgd2m import EF21SGD2M
from fl_ef21 import randomness
from fl_ef21.compressors import RandK, TopK
from fl_ef21.compressors.quantisers import EXACT, BFloat16, Grid
from fl_ef21.kernels import ef21, softmax
from fl_ef21.plan import Plan
from fl_ef21.problems.sampled import gather
from fl_ef21.problems.softmax import Softmax
from fl_ef21.schedule import Schedule
from fl_ef21.store import Memory

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
HALVES = [(EF21SGD(), ""), (EF21SGDM(0.1), "v"), (EF21SGD2M(0.3), "vu")]


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@DTYPES
@pytest.mark.parametrize(("half", "momenta"), HALVES, ids=lambda h: type(h).__name__)
@pytest.mark.parametrize("slots", ["one slot", "mixed slots"])
@pytest.mark.parametrize("values", [EXACT, BFloat16()], ids=repr)
def test_the_step_is_bitwise_the_halves_and_leaves_every_other_row_alone(half, momenta, values, slots, dtype):
    n, d = 9, 2050
    before = {name: torch.randn(2, n, d, generator=draw(1), dtype=dtype) * 2**j for j, name in enumerate(momenta + "g")}
    slot = torch.zeros(n, dtype=torch.int64) if slots == "one slot" else torch.arange(n) % 2
    rows, q = torch.tensor([7, 2, 3, 0]), torch.randn(4, d, generator=draw(2), dtype=dtype)
    now, counts = slot[rows], torch.tensor([3, 40, 1, 2050])
    state = type(half.start(q))(**{name: old[now, rows] for name, old in before.items()})
    after = {name: old.clone() for name, old in before.items()}
    index, value = ef21.step(
        [after[name].numpy() for name in momenta], after["g"].numpy(), slot.numpy(), rows.numpy(), q.numpy(),
        getattr(half, "eta", 1.0), counts.numpy(), values == BFloat16(),
    )  # fmt: skip
    ends = counts.cumsum(0).tolist()
    for i, (k, end) in enumerate(zip(counts.tolist(), ends, strict=True)):
        alone = type(state)(**{name: value[i : i + 1] for name, value in vars(state).items()})
        s, c = half.step(alone, q[i : i + 1], lambda u, k=k: TopK(k, values)(u, torch.zeros(1)))
        assert index[end - k : end].tolist() == c.support.flat.tolist()
        said = c.values.flat if values == EXACT else c.values.flat.view(torch.int16).numpy().view(np.uint16)
        assert value[end - k : end].tolist() == said.tolist()
        for name in after:
            assert torch.equal(after[name][1 - now[i], rows[i]], getattr(s, name)[0])
            after[name][1 - now[i], rows[i]] = before[name][1 - now[i], rows[i]]
    assert all(torch.equal(after[name], before[name]) for name in before)


def hard_to_round() -> torch.Tensor:
    """Float32 numbers at ties, carries, both ends of the range, and a few of every exponent."""
    words = [0x3F808000, 0x3F818000, 0x3FFF8000, 0x3F807FFF, 0x3F808001, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 1, 0x8000,
             0x8001, 0x7FFFFF, 0x800000, 0]  # fmt: skip
    words += [e << 23 | m for e in range(255) for m in (0, 0x8000, 0x18000, 0x123456, 0x7FFFFF)]
    positive = torch.tensor(words, dtype=torch.int32)
    return torch.cat([positive, positive | -(2**31)]).view(torch.float32)


@DTYPES
def test_the_kernel_rounds_to_bfloat16_as_the_compressor_does_bit_for_bit(dtype):
    q = hard_to_round().to(dtype)
    if dtype == torch.float64:  # and what float32 cannot say: nearer to a tie than it can tell, and too small for it
        q = torch.cat([q, q * (1 + 2**-30), q * 2.0**-200])
        q = q[q.abs() <= torch.finfo(torch.float32).max]
    d = len(q)
    g, row = torch.zeros(2, 1, d, dtype=dtype).numpy(), torch.zeros(1, dtype=torch.int64).numpy()
    index, value = ef21.step([], g, row, row, q[None].numpy(), 1.0, row + d, True)
    c = TopK(d, BFloat16())(q[None], torch.zeros(1))
    assert (index == c.support.flat.numpy()).all()
    assert (value == c.values.flat.view(torch.int16).numpy().view(np.uint16)).all()
    assert (g[1, 0] == c.dense()[0].numpy()).all() and np.isfinite(g).all()


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, 1e39])
def test_a_number_without_a_bfloat16_is_refused_as_by_the_compressor(bad):
    q = torch.full((1, 50), bad, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.int64).numpy()
    with pytest.raises(ValueError) as compressor:
        TopK(1, BFloat16())(q, torch.zeros(1))
    with pytest.raises(ValueError) as kernel:
        ef21.step([], torch.zeros(2, 1, 50).double().numpy(), 0 * one, 0 * one, q.numpy(), 1.0, one, True)
    assert str(kernel.value) == str(compressor.value)


@pytest.mark.parametrize("values", [EXACT, BFloat16()], ids=repr)
def test_clients_of_several_levels_get_the_messages_of_their_compressors(values):
    n, d, half, levels = 7, 300, EF21SGDM(0.1), (TopK(3, values), TopK(40, values), TopK(9, values))
    plan = Plan("a", "ef21-sgdm", Schedule(0.1), Schedule(1), levels[0], "zero", 0, torch.float32, levels)
    q, ids = torch.randn(n, d, generator=draw(2)), torch.arange(n)
    rows = Memory(range(n)).open(b"x" * 16, type(half.start(q)), range(n), d, torch.float32)
    c = fused.step(half, plan.each(ids.numpy()), rows, ids.numpy(), q)
    s, want = half.step(rows.read(ids.numpy()), q, lambda u: plan.compress(u, torch.zeros(n), ids))
    assert c.values.flat.dtype == want.values.flat.dtype
    assert torch.equal(c.dense(), want.dense()) and torch.equal(c.counts, want.counts)
    assert torch.equal(rows.slots["g"][1], s.g) and torch.equal(rows.slots["v"][1], s.v)


@pytest.mark.parametrize("other", [TopK(3, Grid(127, 256)), RandK(3), TopK(3)], ids=repr)
def test_what_no_kernel_rounds_is_left_to_the_halves(other):
    half, q, ids = EF21SGD(), torch.randn(2, 50), np.arange(2)
    rows = Memory(range(2)).open(b"x" * 16, type(half.start(q)), range(2), 50, torch.float32)
    assert fused.step(half, [TopK(3, BFloat16()), other], rows, ids, q) is None
    assert not rows.slots["g"].any()


def test_a_difference_that_is_no_number_is_refused():
    g, q = torch.zeros(2, 1, 50).numpy(), torch.full((1, 50), torch.nan).numpy()
    one = torch.ones(1, dtype=torch.int64).numpy()
    with pytest.raises(ValueError, match="NaN"):
        ef21.step([], g, 0 * one, 0 * one, q, 1.0, one, False)


@pytest.mark.parametrize("count", [0, 51])
def test_more_or_fewer_entries_than_there_are_are_refused_before_anything_is_written(count):
    g, q = torch.zeros(2, 1, 50).numpy(), torch.ones(1, 50).numpy()
    row = torch.zeros(1, dtype=torch.int64).numpy()
    with pytest.raises(ValueError, match=r"counts must lie in 1 \.\. 50"):
        ef21.step([], g, row, row, q, 1.0, row + count, False)
    assert not g.any()


@DTYPES
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("B", [1, 2, 7, 20])
def test_softmax_gradients_are_those_of_batched_products(B, bias, dtype):
    model = Softmax(37, 5, bias)
    features, labels = torch.randn(60, 37, generator=draw(3), dtype=dtype), torch.arange(60) % 5
    x = torch.randn(5 * (37 + bias), generator=draw(4), dtype=dtype)
    samples = torch.randint(0, 60, (6, B), generator=draw(5))
    want = model._batched(x[None], *gather(features, labels, samples))
    got = model.gradients(x, features, labels, samples)
    assert torch.allclose(got, want, rtol=0, atol=1e-14 if dtype == torch.float64 else 2e-6)


def test_softmax_gradients_may_be_at_a_model_for_each_client():
    features, labels = torch.randn(60, 37, generator=draw(3)).numpy(), (torch.arange(60) % 5).numpy()
    x, samples = torch.randn(4, 190, generator=draw(4)), torch.randint(0, 60, (4, 8), generator=draw(5)).numpy()
    together = softmax.gradients(x.numpy(), True, features, labels, samples, 5)
    for i in range(4):
        alone = softmax.gradients(x[i : i + 1].numpy(), True, features, labels, samples[i : i + 1], 5)
        assert (together[i] == alone[0]).all()


def test_random_words_are_those_of_torch_operations():
    clients, sizes = torch.tensor([0, 1, 5, 2**40]), torch.tensor([1, 2, 1000, 2**32 - 1])
    got = randomness.keys(-7, "sample", clients, 3)
    places = torch.tensor([[0, 41, 7]]).expand(len(got), 3)
    assert torch.equal(randomness.uniform_at(got, places), randomness.uniform(got, 42)[:, [0, 41, 7]])
    assert torch.equal(got, randomness._mix((clients ^ randomness._prefix(-7, "sample", 3)) + randomness._GAMMA))
    samples = randomness.below(got, 50, sizes)
    assert torch.equal(samples, (randomness.uniform(got, 50) * sizes[:, None]).to(torch.int64))
