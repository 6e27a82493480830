"""Compiled kernels say what their plain counterparts say."""

import pytest
import torch

from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_sgd2m import EF21SGD2M
from fl_ef21 import randomness
from fl_ef21.compressors import TopK
from fl_ef21.kernels import ef21, softmax
from fl_ef21.problems.sampled import gather
from fl_ef21.problems.softmax import Softmax

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
HALVES = [(EF21SGD(), ""), (EF21SGDM(0.1), "v"), (EF21SGD2M(0.3), "vu")]


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@DTYPES
@pytest.mark.parametrize(("half", "momenta"), HALVES, ids=lambda h: type(h).__name__)
@pytest.mark.parametrize("slots", ["one slot", "mixed slots"])
def test_the_step_is_bitwise_the_halves_and_leaves_every_other_row_alone(half, momenta, slots, dtype):
    n, d = 9, 2050
    before = {name: torch.randn(2, n, d, generator=draw(1), dtype=dtype) * 2**j for j, name in enumerate(momenta + "g")}
    slot = torch.zeros(n, dtype=torch.int64) if slots == "one slot" else torch.arange(n) % 2
    rows, q = torch.tensor([7, 2, 3, 0]), torch.randn(4, d, generator=draw(2), dtype=dtype)
    now, counts = slot[rows], torch.tensor([3, 40, 1, 2050])
    state = type(half.start(q))(**{name: old[now, rows] for name, old in before.items()})
    after = {name: old.clone() for name, old in before.items()}
    index, value = ef21.step(
        [after[name].numpy() for name in momenta], after["g"].numpy(), slot.numpy(), rows.numpy(), q.numpy(),
        getattr(half, "eta", 1.0), counts.numpy(),
    )  # fmt: skip
    ends = counts.cumsum(0).tolist()
    for i, (k, end) in enumerate(zip(counts.tolist(), ends, strict=True)):
        alone = type(state)(**{name: value[i : i + 1] for name, value in vars(state).items()})
        s, c = half.step(alone, q[i : i + 1], lambda u, k=k: TopK(k)(u, torch.zeros(1)))
        assert index[end - k : end].tolist() == c.support.flat.tolist()
        assert value[end - k : end].tolist() == c.values.flat.tolist()
        for name in after:
            assert torch.equal(after[name][1 - now[i], rows[i]], getattr(s, name)[0])
            after[name][1 - now[i], rows[i]] = before[name][1 - now[i], rows[i]]
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_difference_that_is_no_number_is_refused():
    g, q = torch.zeros(2, 1, 50).numpy(), torch.full((1, 50), torch.nan).numpy()
    one = torch.ones(1, dtype=torch.int64).numpy()
    with pytest.raises(ValueError, match="NaN"):
        ef21.step([], g, 0 * one, 0 * one, q, 1.0, one)


@pytest.mark.parametrize("count", [0, 51])
def test_more_or_fewer_entries_than_there_are_are_refused_before_anything_is_written(count):
    g, q = torch.zeros(2, 1, 50).numpy(), torch.ones(1, 50).numpy()
    row = torch.zeros(1, dtype=torch.int64).numpy()
    with pytest.raises(ValueError, match=r"counts must lie in 1 \.\. 50"):
        ef21.step([], g, row, row, q, 1.0, row + count)
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
    assert torch.equal(got, randomness._mix((clients ^ randomness._prefix(-7, "sample", 3)) + randomness._GAMMA))
    samples = randomness.below(got, 50, sizes)
    assert torch.equal(samples, (randomness.uniform(got, 50) * sizes[:, None]).to(torch.int64))
