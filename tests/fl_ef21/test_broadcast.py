"""Versions of the model, and what clients hold of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from torch import Tensor

from fl_ef21 import records, wire
from fl_ef21.broadcast import NOWHERE, Broadcast, advanced, origin, spec_of
from fl_ef21.commit import Point
from fl_ef21.compressors.topk import TopK
from fl_ef21.copies import Copies, CopiesInFiles, Models
from fl_ef21.errors import Refused

D, N, STEPS = 12, 5, 6
C = TopK(3)
SPEC = spec_of(C, D, torch.float64)
GROW = partial(advanced, spec=SPEC)


def history() -> tuple[list[Tensor], list[Point], list[bytes]]:
    """w at each version, the versions, and the payloads between them."""
    rng = torch.Generator().manual_seed(5)
    w = [torch.randn(D, generator=rng, dtype=torch.float64)]
    points, payloads = [origin(bytes(16), w[0])], list[bytes]()
    for _ in range(STEPS):
        c = C(torch.randn(1, D, generator=rng, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))
        payloads += wire.encode(c)
        points.append(points[-1].then(payloads[-1]))
        w.append((w[-1][None] + c)[0])
    return w, points, payloads


W, POINTS, PAYLOADS = history()


def since(base: int, now: int) -> Broadcast:
    return Broadcast(POINTS[now], tuple(PAYLOADS[base:now]))


@pytest.fixture(params=["memory", "files"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Models:
    made: dict[str, Callable[[], Models]] = {
        "memory": lambda: Copies(range(N)),
        "files": lambda: CopiesInFiles(lambda client: tmp_path / f"{client}.model"),
    }
    return made[request.param]()


def bring(models: Models, clients: list[int], sent: Broadcast, x: Tensor | None = None) -> tuple[Tensor | None, list]:
    w, ready = models.bring(np.array(clients), sent, x, GROW)
    return w, ready.tolist()


@pytest.mark.parametrize("at", range(STEPS + 1))
def test_increments_lead_from_every_version_they_pass_through_and_from_no_other(at: int) -> None:
    found = since(2, 5).since(POINTS[at])
    assert found == (tuple(PAYLOADS[at:5]) if 2 <= at <= 5 else None)
    assert since(2, 5).since(NOWHERE) is None


def test_another_history_of_the_same_length_is_refused() -> None:
    other = Point(POINTS[3].version, POINTS[2].chain)
    assert since(2, 5).since(other) is None
    assert replace(since(2, 5), increments=tuple(reversed(PAYLOADS[2:5]))).since(POINTS[2]) is None
    damaged = (PAYLOADS[2], PAYLOADS[3][:-1] + bytes((PAYLOADS[3][-1] ^ 1,)), PAYLOADS[4])
    assert replace(since(2, 5), increments=damaged).since(POINTS[2]) is None


def test_steps_add_up_bitwise_however_they_are_grouped() -> None:
    assert torch.equal(advanced(W[0], PAYLOADS, SPEC), W[-1])
    assert torch.equal(advanced(advanced(W[0], PAYLOADS[:2], SPEC), PAYLOADS[2:], SPEC), W[-1])


def test_clients_come_to_the_same_model_from_different_versions(models: Models) -> None:
    bring(models, [0, 1, 2, 3], Broadcast(POINTS[0]), W[0])
    bring(models, [1, 2], since(0, 2))
    bring(models, [2], since(2, 3))
    w, ready = bring(models, [0, 1, 2, 3, 4], since(0, 4))
    assert w is not None and torch.equal(w, W[4])
    assert ready == [True, True, True, True, False]  # nobody told client 4 anything yet
    assert [models.at(i) for i in range(N)] == [POINTS[4]] * 4 + [NOWHERE]


def test_the_same_again_changes_nothing(models: Models) -> None:
    for sent, x, want in ((Broadcast(POINTS[1]), W[1], 1), (since(0, 4), None, 4)):
        for _ in range(3):
            w, ready = bring(models, [0, 3], sent, x)
            assert w is not None and torch.equal(w, W[want]) and ready == [True, True]


def test_who_is_further_along_than_the_list_begins_skips_what_it_has(models: Models) -> None:
    bring(models, [0], Broadcast(POINTS[3]), W[3])
    w, ready = bring(models, [0], since(0, 5))
    assert w is not None and torch.equal(w, W[5]) and ready == [True]


def test_a_wrong_chain_leaves_the_client_where_it_is(models: Models) -> None:
    bring(models, [0], Broadcast(POINTS[2]), W[2])
    assert bring(models, [0], replace(since(2, 4), point=Point(4, bytes(16))))[1] == [False]
    assert bring(models, [0], since(3, 4))[1] == [False]
    assert models.at(0) == POINTS[2]
    assert bring(models, [0], since(2, 4))[1] == [True]


def test_a_shard_holds_one_vector_for_all_its_clients() -> None:
    copies = Copies(range(1000))
    copies.bring(np.arange(1000), Broadcast(POINTS[0]), W[0], GROW)
    for now in range(1, STEPS + 1):
        copies.bring(np.arange(0, 1000, now), since(0, now), None, GROW)
    vectors = [value for value in vars(copies).values() if isinstance(value, Tensor)]
    assert len(vectors) == 1 and vectors[0].shape == (D,)
    w, ready = copies.bring(np.arange(1000), since(0, STEPS), None, GROW)
    assert w is not None and ready.all() and torch.equal(w, W[STEPS])


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:40] + b"?" + data[41:], lambda data: b""]
)
def test_a_damaged_file_is_as_none(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "0.model"
    models = CopiesInFiles(lambda client: path)
    bring(models, [0], Broadcast(POINTS[1]), W[1])
    path.write_bytes(damage(path.read_bytes()))
    assert models.at(0) == NOWHERE and bring(models, [0], since(0, 2))[1] == [False]
    assert bring(models, [0], Broadcast(POINTS[2]), W[2])[1] == [True] and models.at(0) == POINTS[2]


@pytest.mark.parametrize("sent", [since(0, 3), since(3, 3), Broadcast(POINTS[3])], ids=["some", "none", "whole"])
def test_records_say_what_was_meant(sent: Broadcast) -> None:
    model = records.pack_model(W[3]) if sent.increments is None else None
    content = records.instruction(model, b"block", records.pack_broadcast(sent))
    assert records.read_broadcast(content) == sent
    assert records.read_broadcast(records.instruction(model, b"block")) is None


@pytest.mark.parametrize("record", [ConfigRecord({}), ConfigRecord({"point": b"short"}), ConfigRecord({"point": 3})])
def test_a_record_without_a_version_is_refused(record: ConfigRecord) -> None:
    with pytest.raises(Refused, match="model"):
        records.read_broadcast(records.instruction(None, b"block", record))
