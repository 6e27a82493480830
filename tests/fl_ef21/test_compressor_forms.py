"""What single compressors do, against closed forms and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.arranging import arrange
from fl_ef21.compressors import make
from fl_ef21.compressors.block_topk import BlockTopK
from fl_ef21.compressors.grid import ToGrid
from fl_ef21.compressors.hard_threshold import HardThreshold
from fl_ef21.compressors.identity import Identity
from fl_ef21.compressors.layer_topk import LayerTopK
from fl_ef21.compressors.natural import Natural
from fl_ef21.compressors.powersgd import PowerSGD
from fl_ef21.compressors.qsgd import QSGD
from fl_ef21.compressors.quantisers import EXACT, BFloat16, Float16, Grid, MeanSign, NearestPower, Quantiser
from fl_ef21.compressors.randk import RandK
from fl_ef21.compressors.rows import mean_size, sums
from fl_ef21.compressors.sign import Sign
from fl_ef21.compressors.topk import TopK
from fl_ef21.messages import Compressed, Levels, Signs
from fl_ef21.types import Compressor

DRAWS = 4000


def draw(seed: int, n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def keys(n: int) -> Tensor:
    return randomness.keys(5, "compressor", torch.arange(n), 0)


def compress(C: Compressor, u: Tensor) -> Tensor:
    return C(u, keys(len(u))).dense()


def lost(C: Compressor, u: Tensor) -> Tensor:
    return (compress(C, u) - u).square().sum(dim=1) / u.square().sum(dim=1)


# Closed forms with d = 100, K = 10


def test_topk_loses_at_most_nine_tenths_and_that_on_flat_vectors() -> None:
    assert (lost(TopK(10), draw(1, 200, 100)) <= 0.9).all()
    assert (lost(TopK(10), draw(1, 200, 100).sign()) == 0.9).all()


def test_randk_loses_nine_tenths_on_average() -> None:
    ratio = lost(RandK(10), draw(2, 1, 100).expand(DRAWS, 100))
    assert abs(ratio.mean() - 0.9) < 4 * ratio.std() / DRAWS**0.5


def test_scaled_randk_has_variance_nine() -> None:
    C = RandK(10, scaled=True)
    ratio = lost(C, draw(2, 1, 100).expand(DRAWS, 100))
    assert C.omega(100) == 9
    assert abs(ratio.mean() - 9) < 4 * ratio.std() / DRAWS**0.5


def test_sign_loses_exactly_what_the_norms_say() -> None:
    u = draw(3, 50, 100)
    exact = 1 - u.abs().sum(dim=1).square() / (100 * u.square().sum(dim=1))
    torch.testing.assert_close(lost(Sign(), u), exact, rtol=0, atol=1e-14)


def test_the_mean_of_top1_of_the_three_point_noise_is_not_zero() -> None:
    sigma = 0.7
    points = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-2.0, -1.0]], dtype=torch.float64)
    xi = points * math.sqrt(3 * sigma**2 / 10)
    assert xi.mean(dim=0).abs().max() < 1e-15
    assert float(xi.square().sum(dim=1).mean()) == pytest.approx(sigma**2, rel=1e-15)
    assert float(compress(TopK(1), xi).mean(dim=0).square().sum()) == pytest.approx(sigma**2 / 30, rel=1e-14)


# Selection


def largest(u: Tensor, k: int) -> list[int]:
    return sorted(sorted(range(len(u)), key=lambda j: -abs(float(u[j])))[:k])


def test_block_topk_takes_the_largest_of_each_block_and_of_the_rest() -> None:
    u = draw(4, 3, 23)
    c = BlockTopK(3, 7)(u, keys(3))
    expected = [
        start + j
        for row in u
        for start in range(0, 23, 7)
        for j in largest(row[start : start + 7], 3 if start < 21 else 2)
    ]
    assert c.support.index(c.counts, 23).tolist() == expected
    assert BlockTopK(3, 7).bits(23) == 32 * 11
    assert BlockTopK(3, 7).alpha(23) == 3 / 7


def test_layer_topk_takes_the_largest_of_each_layer() -> None:
    u = draw(5, 2, 23)
    C = LayerTopK(0.2, (15, 1, 7))
    c = C(u, keys(2))
    layers = [(0, 15, 3), (15, 16, 1), (16, 23, 1)]
    expected = [a + j for row in u for a, b, k in layers for j in largest(row[a:b], k)]
    assert c.support.index(c.counts, 23).tolist() == expected
    assert C.alpha(23) == 1 / 7


def test_layers_of_another_model_are_refused() -> None:
    with pytest.raises(RuntimeError, match="split_with_sizes"):
        LayerTopK(0.2, (15, 1))(draw(5, 2, 23), keys(2))


def test_more_than_all_coordinates_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="got 6"):
        RandK(6)(draw(1, 1, 5), keys(1))


def test_randk_draws_every_coordinate_equally_often() -> None:
    c = RandK(3)(torch.ones(DRAWS, 12), keys(DRAWS))
    share = c.dense().mean(dim=0)
    assert ((share - 0.25).abs() < 4 * math.sqrt(0.25 * 0.75 / DRAWS)).all()


def test_hard_threshold_sends_what_reaches_it() -> None:
    u = torch.tensor([[0.5, -0.5, 0.49, 2.0], [0.0, 0.1, -0.2, 0.3]])
    c = HardThreshold(0.5)(u, keys(2))
    assert c.counts.tolist() == [3, 0]
    assert c.dense().tolist() == [[0.5, -0.5, 0.0, 2.0], [0.0] * 4]
    assert HardThreshold(0.5).absolute(4) == 1.0


def test_a_grid_sends_the_nearest_multiple_and_what_is_far_beyond_it_as_it_is() -> None:
    u = torch.tensor([[0.24, -0.26, 0.74, 600.3], [0.2, 0.1, -0.2, 0.0]])
    c = ToGrid(0.5)(u, keys(2))
    assert c.counts.tolist() == [3, 0]
    assert c.dense()[0].tolist() == [0.0, -0.5, 0.5, u[0, 3].item()]
    assert ToGrid(0.5).absolute(4) == 0.25


def test_a_grid_can_be_as_bad_as_its_bound() -> None:
    u = torch.full((1, 8), 0.25 - 1e-9, dtype=torch.float64)
    error = (ToGrid(0.5)(u, keys(1)).dense() - u).square().sum()
    assert 0.999 < float(error) / ToGrid(0.5).absolute(8) <= 1


# Rounding


def test_sign_of_zero_is_one() -> None:
    assert compress(Sign(), torch.tensor([[0.0, -3.0, 0.0]])).tolist() == [[1.0, -1.0, 1.0]]


def test_row_sums_are_sums() -> None:
    for m in range(1, 40):
        x = draw(m, 3, m)
        torch.testing.assert_close(sums(x), x.sum(dim=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1e-38, 1e-30, 3e38])
def test_the_mean_size_neither_overflows_nor_vanishes(size: float) -> None:
    u = torch.full((1, 1000), size, dtype=torch.float32)
    assert float(mean_size(u)) == pytest.approx(size, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_natural_keeps_powers_of_two_as_they_are(dtype: torch.dtype) -> None:
    powers = [2.0**e for e in range(-127, 128)]
    u = torch.tensor([powers, [-x for x in powers]], dtype=dtype)
    assert torch.equal(compress(Natural(contractive=False), u), u)
    assert torch.equal(NearestPower()(u).real(torch.tensor([255, 255])).view(2, 255), u)


def test_natural_rounds_to_the_two_powers_around_as_often_as_the_mean_wants() -> None:
    dense = compress(Natural(contractive=False), torch.full((DRAWS, 1), -1.25))
    assert set(dense.view(-1).tolist()) == {-1.0, -2.0}
    assert abs(float(dense.mean()) + 1.25) < 4 * math.sqrt(3 / 16 / DRAWS)


def test_natural_rounds_what_is_too_small_without_bias() -> None:
    low = 2.0**-127
    dense = compress(Natural(contractive=False), torch.full((DRAWS, 1), low / 4, dtype=torch.float64))
    assert set(dense.view(-1).tolist()) == {0.0, low}
    assert abs(float(dense.mean() / low) - 0.25) < 4 * math.sqrt(3 / 16 / DRAWS)


@pytest.mark.parametrize("C", [Natural(), TopK(1, NearestPower())], ids=repr)
def test_powers_of_two_refuse_what_is_too_large(C: Compressor) -> None:
    with pytest.raises(ValueError, match="2\\^127"):
        C(torch.full((1, 2), 1.01 * 2.0**127, dtype=torch.float64), keys(1))


def test_qsgd_rounds_to_levels_of_the_norm() -> None:
    u = draw(6, 4, 30).float()
    c = QSGD(5, contractive=False)(u, keys(4))
    assert isinstance(c.values, Levels)
    torch.testing.assert_close(c.values.unit, u.norm(dim=1) / 5, rtol=1e-6, atol=0)
    assert ((c.dense() - u).abs() <= c.values.unit[:, None] * (1 + 1e-5)).all()
    assert (c.dense() * u >= 0).all()


def test_a_bucket_of_qsgd_has_its_own_norm() -> None:
    u = torch.cat([draw(7, 2, 8), 1e-6 * draw(8, 2, 8), draw(9, 2, 3)], dim=1)
    c = QSGD(4, bucket=8, contractive=False)(u, keys(2))
    norms = torch.stack([u[:, :8].norm(dim=1), u[:, 8:16].norm(dim=1), u[:, 16:].norm(dim=1)], dim=1)
    torch.testing.assert_close(c.values.unit, norms / 4)
    assert ((c.dense() - u).abs() <= (norms / 4)[:, [0] * 8 + [1] * 8 + [2] * 3] * (1 + 1e-12)).all()
    assert QSGD(4, bucket=8).bits(19) == 3 * 32 + 19 * 4


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e37])
def test_qsgd_stands_the_whole_range_of_float32(size: float) -> None:
    C, u = QSGD(4), draw(7, 1, 50).expand(500, 50)
    scaled = compress(C, (u * size).float()).double() / size
    ratio = (scaled - u).square().sum(dim=1) / u.square().sum(dim=1)
    assert ratio.mean() < 1 - C.alpha(50) + 4 * ratio.std() / 500**0.5


def test_a_norm_beyond_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="norm"):
        QSGD(1, contractive=False)(torch.full((1, 50), 3e38), keys(1))


# TopK with rounded values: the bounds are reached


def test_topk_with_sign_and_mean_can_be_as_bad_as_its_alpha() -> None:
    C = TopK(4, MeanSign())
    assert isinstance(C(draw(1, 1, 12), keys(1)).values, Signs)
    spike = torch.zeros(1, 12, dtype=torch.float64)
    spike[0, 5] = 2.0
    assert float(lost(C, spike)) == pytest.approx(1 - C.alpha(12))
    assert float(lost(TopK(3, MeanSign()), torch.ones(1, 12))) == pytest.approx(1 - 3 / 12)


def test_the_nearest_power_of_two_can_be_as_bad_as_its_alpha() -> None:
    C = TopK(4, NearestPower())
    assert float(lost(C, torch.full((1, 12), 1.5, dtype=torch.float64))) == pytest.approx(1 - C.alpha(12))
    assert compress(C, torch.tensor([[1.49, -1.51, 3.0, 0.7]])).tolist() == [[1.0, -2.0, 4.0, 0.5]]


def test_the_nearest_level_can_be_as_bad_as_its_alpha() -> None:
    C = TopK(5, Grid(2))
    u = torch.tensor([[1.0, 0.25, -0.25, 0.25, 0.25]], dtype=torch.float64)
    assert float(lost(C, u)) == pytest.approx(1 - C.alpha(5))


def test_bfloat16_saturates_and_stays_within_its_bound() -> None:
    most = torch.finfo(torch.float32).max
    C = TopK(2, BFloat16())
    for dtype in (torch.float32, torch.float64):
        dense = compress(C, torch.tensor([[most, -most, 1.0]], dtype=dtype))
        assert dense.isfinite().all()
        assert ((dense.double()[0, :2].abs() / most - 1).abs() <= 2**-8).all()
    with pytest.raises(ValueError, match="beyond"):
        C(torch.tensor([[1e39, 1.0, 2.0]], dtype=torch.float64), keys(1))


def test_float16_contracts_where_it_has_its_digits_and_never_grows_a_vector() -> None:
    C = TopK(5, Float16())
    assert not C.contractive
    u = draw(9, 100, 20)
    assert (lost(C, u) <= 1 - (1 - 2**-20) * 5 / 20).all()
    assert (lost(C, u * 1e6) <= 1).all()
    assert (lost(C, u * 1e-9) <= 1).all()


def test_int8_is_the_nearest_of_255_levels_of_each_block() -> None:
    u = torch.cat([draw(7, 2, 8), 1e-6 * draw(8, 2, 8), torch.zeros(2, 8).double(), 1e6 * draw(9, 2, 3)], dim=1)
    c = Identity(Grid(127, 8))(u, keys(2))
    for row, said in zip(u, c.dense(), strict=True):
        for start in (0, 8, 16, 24):
            block = row[start : start + 8]
            unit = block.abs().max() / 127
            want = (block / unit).round() * unit if unit else block
            torch.testing.assert_close(said[start : start + 8], want, rtol=1e-12, atol=0)
    assert int(c.values.level.abs().max()) == 127
    assert Identity(Grid(127, 8)).bits(27) == 4 * 32 + 27 * 8
    assert Identity(Grid(7, 8)).bits(27) == 4 * 32 + 27 * 4


def test_a_grid_reads_as_a_scenario_asks_for_it() -> None:
    told = [repr(Grid(*of)) for of in ((127, 256), (7, 16), (127,), (5,), (5, 256))]
    assert told == ["int8", "int4 in 16s", "127 levels", "5 levels", "5 levels in 256s"]


def test_a_block_of_int4_can_be_as_bad_as_its_alpha() -> None:
    C = TopK(6, Grid(7, 3))
    u = torch.tensor([[7.0, 0.5, -0.5, 7.0, -0.5, 0.5]], dtype=torch.float64)
    assert float(lost(C, u)) == pytest.approx(1 - C.alpha(6))


def test_a_large_block_costs_precision_where_sizes_differ() -> None:
    u = torch.cat([draw(1, 30, 40), 1e-3 * draw(2, 30, 40)], dim=1)
    small, large = (lost(Identity(Grid(127, block)), u)[None] for block in (40, 0))
    assert (small <= large).all()
    error = [(compress(Identity(Grid(127, block)), u) - u)[:, 40:].abs().max() for block in (40, 0)]
    assert error[0] < error[1] / 20


def test_topk_with_sign_in_blocks_and_layers_can_be_as_bad_as_its_alpha() -> None:
    spike, flat = torch.zeros(2, 1, 12, dtype=torch.float64)
    spike[0, 1], flat[0, 6:] = 1.0, 1.0
    for C in (BlockTopK(2, 6, MeanSign()), LayerTopK(0.34, (6, 6), MeanSign())):
        assert C.alpha(12) == pytest.approx((4 / 6) / 4)
        assert float(lost(C, flat)) == pytest.approx(1 - C.alpha(12))
        assert float(lost(C, spike)) == pytest.approx(1 - 1 / 4)


def test_identity_with_sign_is_scaled_sign() -> None:
    u = draw(3, 5, 100)
    assert torch.equal(compress(Identity(MeanSign()), u), compress(Sign(), u))
    assert Identity(MeanSign()).alpha(100) == pytest.approx(Sign().alpha(100))


@pytest.mark.parametrize("scaled", [False, True])
def test_randk_rounds_what_it_would_have_sent(scaled: bool) -> None:
    u = draw(2, 9, 50)
    want = compress(RandK(10, scaled), u).to(torch.bfloat16).double()
    assert torch.equal(compress(RandK(10, scaled, BFloat16()), u).double(), want)
    assert RandK(10, scaled, BFloat16()).unbiased is False
    assert RandK(10, scaled, BFloat16()).alpha(50) == (None if scaled else (1 - 2**-16) * 10 / 50)


@pytest.mark.parametrize("values", [EXACT, BFloat16(), Grid(7, 3), Grid(5), MeanSign(), NearestPower()], ids=repr)
def test_hard_threshold_rounds_each_client_by_itself_however_many_it_sends(values: Quantiser) -> None:
    u = draw(11, 9, 40) * torch.linspace(0, 1.5, 9).double()[:, None]
    c = HardThreshold(0.9, values)(u, keys(9))
    assert len(set(c.counts.tolist())) > 4 and int(c.counts[0]) == 0
    for i in range(9):
        sent = u[i].abs() >= 0.9
        want = torch.zeros(40, dtype=torch.float64)
        if sent.any():
            want[sent] = values(u[i][sent][None]).real(sent.sum()[None]).double()
        assert torch.equal(c.dense()[i].double(), want)
    assert (HardThreshold(0.9, values).absolute(40) is None) == (values != EXACT)


def test_clients_that_send_different_numbers_keep_their_own_block_scales() -> None:
    u = draw(12, 6, 40)
    parts = [TopK(k, Grid(7, 4))(u[i : i + 1], keys(1)) for i, k in enumerate([3, 9, 4, 1, 8, 40])]
    rows = [torch.tensor([i]) for i in (4, 0, 5, 2, 1, 3)]
    c = arrange(parts, rows)
    assert c.counts.tolist() == [9, 8, 1, 40, 3, 4]
    assert c.values.unit.shape == (3 + 2 + 1 + 10 + 1 + 1,)
    assert c.values.units(c.counts).tolist() == [3, 2, 1, 10, 1, 1]
    for part, row in zip(parts, rows, strict=True):
        assert torch.equal(c.dense()[row], part.dense())
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    torch.testing.assert_close(c.total(weights), weights @ c.dense())


# Low rank


def ranked(rank: int, iterations: int, *shapes: tuple[int, ...]) -> PowerSGD:
    return PowerSGD(rank, shapes, iterations)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_powersgd_of_an_orthogonal_matrix_is_as_bad_as_its_alpha(iterations: int) -> None:
    C = ranked(2, iterations, (9, 9))
    u = torch.linalg.qr(draw(1, 9, 9)).Q.reshape(1, 81).expand(5, 81)
    assert C.alpha(81) == 2 / 9
    torch.testing.assert_close(lost(C, u), torch.full((5,), 7 / 9, dtype=torch.float64))


@pytest.mark.parametrize("rank", [1, 3])
def test_factors_in_bfloat16_lose_no_more_than_is_claimed_where_it_is_hardest(rank: int) -> None:
    exact, C = (PowerSGD(rank, ((30, 30),), 1, values) for values in (EXACT, BFloat16()))
    u = torch.linalg.qr(draw(1, 30, 30)).Q.reshape(1, 900).expand(300, 900)
    assert 0 < C.alpha(900) < exact.alpha(900) == rank / 30
    ratio = lost(C, u)
    assert ratio.mean() <= 1 - C.alpha(900)
    assert abs(ratio.mean() - lost(exact, u).mean()) < 1e-3


def test_factors_in_bfloat16_claim_no_contraction_of_enormous_layers() -> None:
    assert not PowerSGD(1, ((20000, 20000),), 2, BFloat16()).contractive
    assert PowerSGD(1, ((10000, 10000),), 2, BFloat16()).contractive
    assert PowerSGD(1, ((4,),), 2, BFloat16()).alpha(4) == 1 - 2**-16


def test_powersgd_is_a_projection() -> None:
    C, u = ranked(2, 2, (9, 7), (4,)), draw(2, 20, 67)
    dense = compress(C, u)
    torch.testing.assert_close((dense * (u - dense)).sum(dim=1), torch.zeros(20, dtype=torch.float64))
    assert torch.equal(dense[:, 63:], u[:, 63:])


def test_powersgd_keeps_a_matrix_of_low_rank_at_any_scale() -> None:
    m = torch.einsum("nra,nrb->nab", draw(3, 8, 9).view(4, 2, 9), draw(4, 8, 30).view(4, 2, 30)).reshape(4, 270)
    for size in (1.0, 1e-30, 1e30):
        dense = compress(ranked(2, 2, (9, 5, 6)), (m * size).float()).double() / size
        torch.testing.assert_close(dense, m, rtol=0, atol=1e-4)


def test_more_power_steps_come_nearer_to_the_best_approximation() -> None:
    u = draw(5, 30, 400)
    best = torch.linalg.svdvals(u.view(30, 20, 20))[:, 3:].square().sum(dim=1) / u.square().sum(dim=1)
    errors = [float((lost(ranked(3, steps, (20, 20)), u) - best).mean()) for steps in (1, 2, 4, 60)]
    assert errors == sorted(errors, reverse=True)
    assert 0 <= errors[-1] < 1e-3


def test_layers_that_factors_would_not_make_smaller_go_whole() -> None:
    C = ranked(2, 1, (4, 4), (50,), ())
    u = draw(6, 2, 67)
    assert torch.equal(compress(C, u), u)
    assert C.alpha(67) == 1
    assert C.bits(67) == 32 * 67


def test_scenario_options_reach_powersgd() -> None:
    C = make("powersgd", dim=67, shapes=(("w", (9, 7)), ("b", (4,))), rank=2, iterations=3)
    assert ranked(2, 3, (9, 7), (4,)) == C
    assert repr(C) == "PowerSGD(rank=2, iterations=3, values=exact)"
    assert C.bits(67) == 32 * (2 * 16 + 4)


@pytest.mark.parametrize("shape", [(17, 33), (10, 785), (64, 9, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_larger_layer_does_not_depend_on_the_tile_either(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    d = math.prod(shape)
    u, k = draw(8, 7, d).to(dtype), keys(7)
    for C in (ranked(1, 2, shape), ranked(4, 1, shape), Sign(), QSGD(4), QSGD(4, bucket=512), Natural()):
        together: Compressed = C(u, k)
        alone = torch.cat([C(u[i : i + 1], k[i : i + 1]).dense() for i in range(7)])
        assert torch.equal(together.dense(), alone)
