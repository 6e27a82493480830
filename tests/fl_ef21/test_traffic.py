"""Three layers and a bound: closed forms, Flower's own serialisation, and sums that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fl_ef21 import bound, flower_traffic, traffic
from fl_ef21.compressors import make
from fl_ef21.flower_traffic import Cost
from fl_ef21.messages import All, Compressed, Floats, Indices, Signs, whole
from fl_ef21.traffic import LAYERS, Down, PerClient

SHAPES = (("weight", (20, 10)), ("bias", (20,)))
DIM = 220


def sent(name: str, n: int = 4, **options: float) -> tuple[Compressed, list]:  # type: ignore[type-arg]
    C = make(name, dim=DIM, shapes=SHAPES, **options)
    u = torch.randn(n, DIM, generator=torch.Generator().manual_seed(1))
    return C(u, torch.arange(n)), [C] * n


def test_k_sparse_floats_are_32_k_bits_in_papers() -> None:
    c, compressors = sent("topk", k=7)
    assert bound.counted(c, compressors).tolist() == [224.0] * 4
    assert bound.counted(c, []).tolist() == [224.0] * 4  # what the message itself says


def test_what_a_threshold_keeps_is_asked_of_the_message() -> None:
    c, compressors = sent("hard-threshold", threshold=1.0)
    assert compressors[0].bits(DIM) is None
    assert bound.counted(c, compressors).tolist() == (32.0 * c.counts).tolist()
    assert len(set(c.counts.tolist())) > 1


@pytest.mark.parametrize(
    "name, options",
    [("identity", {}), ("topk", {"k": 5}), ("randk", {"k": 5}), ("sign", {}), ("natural", {}), ("qsgd", {"levels": 4}),
     ("powersgd", {"rank": 1}), ("hard-threshold", {"threshold": 0.5})],
)  # fmt: skip
def test_every_kind_of_message_has_a_bound_below_its_plain_form(name: str, options: dict[str, float]) -> None:
    c, compressors = sent(name, n=30, **options)
    least = bound.bound(c)
    assert least.shape == (30,) and (least > 0).all()
    indices = 0 if isinstance(c.support, All) else 64 * c.counts.numpy()
    assert (least <= bound.counted(c, compressors) + indices + 64).all()


def test_the_bound_of_a_support_is_log2_of_the_binomial() -> None:
    c = Compressed(10, torch.tensor([3]), Indices(torch.tensor([1, 4, 5])), Floats(torch.ones(3)))
    assert bound.supports(c)[0] == pytest.approx(math.log2(math.comb(10, 3)))
    # three equal floats: no symbols to tell apart, but 20 bits of mantissa are taken as they are
    assert bound.bound(c)[0] == pytest.approx(math.log2(math.comb(10, 3)) + 3 * 20)


def test_signs_take_one_bit_each_where_both_are_as_frequent() -> None:
    c = Compressed(8, torch.tensor([8]), All(), Signs(torch.tensor([True, False] * 4), torch.ones(1)))
    assert bound.bound(c)[0] == pytest.approx(8 + 32)


def test_a_sample_says_nearly_the_same_of_all_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    c = whole(torch.randn(200, 50, generator=torch.Generator().manual_seed(2)))
    every = bound.bound(c).sum()
    monkeypatch.setattr(bound, "SAMPLE", 2500)
    assert bound.bound(c).sum() == pytest.approx(every, rel=0.02)


@pytest.mark.parametrize(
    "length", [1, 9, 10, 35, 36, 99, 127, 128, 400, 9_800, 9_900, 16_290, 16_384, 99_900, 2_097_152]
)
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
def test_the_formula_of_a_payloads_length_is_flowers_serialisation(length: int, signed: bool) -> None:
    exact, formula = flower_traffic.reply(length, signed=signed), flower_traffic.replies([length], signed=signed)
    assert (formula.up[0], formula.down[0]) == (exact.up, exact.down)


def test_a_signature_costs_its_entry_once_each_way() -> None:
    question = [flower_traffic.instruction(None, signed=signed) for signed in (False, True)]
    answer = [flower_traffic.reply(400, signed=signed) for signed in (False, True)]
    entry = 64 + len("signature") + 8  # tags and lengths; a digit or two where a length grows by one
    for less, more in ((question[0].down, question[1].down), (answer[0].up, answer[1].up)):
        assert entry <= more - less <= entry + 4
    assert question[0].up == question[1].up and answer[0].down == answer[1].down


def test_a_model_of_several_chunks_is_fetched_in_several_exchanges() -> None:
    one, two = flower_traffic.instruction(5 << 20), flower_traffic.instruction((5 << 20) + 1000)
    pull = flower_traffic.instruction(1000).up - flower_traffic.instruction(None).up
    assert two.up - one.up == pytest.approx(pull / 3, rel=0.02)  # a record, an array and a chunk
    assert two.down > one.down + 1000


def sent_down(clients: list[int]) -> Down:
    """A model of 1,000 bytes to each."""
    each, cost = np.ones(len(clients)), flower_traffic.instruction(1000)
    wire = Cost(np.full(len(clients), cost.up), np.full(len(clients), cost.down))
    return Down(np.array(clients), np.full(len(clients), 1000), 32.0 * 200 * each, 700.5 * each, wire)


def round_of(number: int, clients: list[int], heard: list[int], lengths: list[int]) -> traffic.Traffic:
    down = sent_down(clients)
    bits = np.full(len(heard), 64.0)
    return traffic.tally(
        number, down, traffic.Came(np.array(heard, int), np.array(lengths, int), bits, np.full(len(heard), 5.4))
    )


def test_sums_over_clients_are_the_totals_of_rounds() -> None:
    rounds = [round_of(1, [0, 1, 2, 3], [0, 2, 3], [50, 60, 70]), round_of(2, [3, 1], [1, 3], [500, 40])]
    clients = PerClient(5)
    for one in rounds:
        clients.add(one)
    for way in ("uplink", "downlink"):
        for layer in LAYERS:
            name = f"{way}_{layer}"
            assert clients.columns[name].sum() == sum(one.totals()[name] for one in rounds) > 0, name
    assert clients.columns["asked"].tolist() == [1, 2, 1, 2, 0]
    assert clients.columns["answered"].tolist() == [1, 1, 1, 2, 0]
    assert clients.columns["uplink_payload_bytes"].tolist() == [50, 500, 60, 110, 0]


def test_a_lost_reply_was_asked_for_and_costs_no_more_than_that() -> None:
    done = round_of(1, [0, 1], [1], [80])
    question, answer = flower_traffic.instruction(1000), flower_traffic.reply(80)
    assert done.answered.tolist() == [False, True]
    assert done.uplink.payload_bytes.tolist() == [0, 80] and done.uplink.algorithm_bits.tolist() == [0, 64]
    assert done.uplink.wire_bytes.tolist() == [question.up, question.up + answer.up]
    assert done.downlink.wire_bytes.tolist() == [question.down, question.down + answer.down]
    assert done.downlink.payload_bytes.tolist() == [1000, 1000]


def test_a_client_that_raises_brings_its_reason_and_no_payload() -> None:
    down = sent_down([4])
    none = np.zeros(0, int)
    done = traffic.tally(1, down, traffic.Came(none, none, none, none), failed={4: 30})
    assert done.uplink.wire_bytes[0] == flower_traffic.instruction(1000).up + flower_traffic.failure(30).up
    assert done.uplink.payload_bytes[0] == 0 and not done.answered[0]


def test_increments_cost_what_their_message_is_long() -> None:
    cost = [flower_traffic.instruction(None, increments=lengths).down for lengths in ((100,), (3000,), (1500, 1500))]
    assert 2850 < cost[1] - cost[0] < 2950
    assert cost[1] < cost[2] < cost[1] + 20
    assert flower_traffic.instruction(4000, increments=()).down > cost[1]
