"""topk against a stable sort, on the numbers that selection usually gets wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from fl_ef21 import select
from fl_ef21.select import topk

AWKWARD = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1e-40, 5e-324, float("inf"), float("-inf"), 3.0, -3.0, 2**20]


def by_sorting(u: Tensor, k: int) -> Tensor:
    order = torch.sort(u.abs(), dim=1, descending=True, stable=True).indices
    return order[:, :k].sort(dim=1).values


def random_rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=[topk, select._topk_torch], ids=["numba", "torch"])
def way(request):
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_zeros_denormals_and_infinities_are_chosen_as_a_stable_sort_does(way, dtype):
    @settings(deadline=None)
    @given(data=st.data(), n=st.integers(1, 4), d=st.integers(1, 40))
    def check(data, n, d):
        u = torch.from_numpy(data.draw(hnp.arrays("f8", (n, d), elements=st.sampled_from(AWKWARD)))).to(dtype)
        for k in {1, d, data.draw(st.integers(0, d))}:
            assert torch.equal(way(u, k), by_sorting(u, k))

    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_numbers_are_chosen_as_a_stable_sort_does(way, dtype):
    @settings(deadline=None)
    @given(data=st.data(), n=st.integers(1, 3), d=st.integers(1, 40))
    def check(data, n, d):
        bits = 32 if dtype == torch.float32 else 64
        number = st.floats(allow_nan=False, width=bits)
        u = torch.from_numpy(data.draw(hnp.arrays(f"f{bits // 8}", (n, d), elements=number)))
        k = data.draw(st.integers(0, d))
        assert torch.equal(way(u, k), by_sorting(u, k))

    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 2047, 2048, 4096, 7850, 30_001])
@pytest.mark.parametrize("power", [1, 9])
def test_long_rows_are_chosen_as_a_stable_sort_does(way, dtype, d, power):
    u = random_rows(3, d, seed=d, dtype=dtype) ** power
    for k in {1, (d + 99) // 100, (d + 1) // 2, d}:
        assert torch.equal(way(u, k), by_sorting(u, k))


@pytest.mark.parametrize("k", [1, 5_000, 9_999, 20_000])
def test_long_rows_full_of_ties_are_chosen_as_a_stable_sort_does(way, k):
    u = random_rows(2, 20_000, seed=1).mul(2).round()
    assert torch.equal(way(u, k), by_sorting(u, k))


def test_a_sample_that_misses_the_small_coordinates_is_made_good():
    u = torch.full((2, 30_000), 1.0)
    u[:, :: max(1, 30_000 // select._SAMPLE) | 1] = 100.0  # all that the stride sees
    k = 20_000
    assert torch.equal(topk(u, k), by_sorting(u, k))


def test_rows_that_are_not_contiguous_are_read_as_they_are():
    u = random_rows(50, 8, seed=2).T
    assert torch.equal(topk(u, 7), by_sorting(u, 7))


def test_no_rows_and_no_choice_give_empty_answers(way):
    assert way(torch.empty(0, 5), 3).shape == (0, 3)
    assert way(torch.ones(4, 5), 0).shape == (4, 0)


def test_the_input_is_left_alone(way):
    u = random_rows(3, 5000, seed=3)
    before = u.clone()
    way(u, 50)
    assert torch.equal(u, before)


@pytest.mark.parametrize("payload", [0x7FC00000, 0x7F800001, -1])
@pytest.mark.parametrize("k", [0, 1, 30])
def test_nan_is_refused_whatever_its_bits(way, payload, k):
    u = random_rows(2, 9000, seed=4)
    u[1].view(torch.int32)[8999] = payload
    with pytest.raises(ValueError, match="NaN"):
        way(u, k)


@pytest.mark.parametrize("k", [-1, 6])
def test_k_beyond_the_row_is_refused(k):
    with pytest.raises(ValueError, match=r"0 \.\. 5"):
        topk(torch.ones(2, 5), k)


def test_another_dtype_is_refused():
    with pytest.raises(ValueError, match="float32 or float64"):
        topk(torch.ones(2, 5, dtype=torch.float16), 1)
