"""The commit protocol's pieces: points, blocks, rows, files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from clients.ef21 import State
from fl_ef21.blocks import words
from fl_ef21.commit import Block, Kind, Point
from fl_ef21.errors import Refused
from fl_ef21.state import Rows
from fl_ef21.store import Files, Memory

EXPERIMENT = bytes(range(16))


def rows(clients: range = range(2, 5)) -> Rows:
    return Rows(State, clients, 4, torch.float32, "cpu", EXPERIMENT)


def block(**changes: object) -> Block:
    start = Block(Kind.TRAIN, 0, 3, 7, 1, 11, Point.origin(EXPERIMENT, 3), EXPERIMENT, bytes(16))
    return replace(start, **changes)  # type: ignore[arg-type]


def test_a_block_survives_packing() -> None:
    assert Block.unpack(block().pack()) == block()


@given(data=st.binary(max_size=120))
def test_no_bytes_but_a_block_are_accepted(data: bytes) -> None:
    try:
        Block.unpack(data)
    except Refused as refused:
        assert refused.reason == "block"
    else:
        assert data[:2] == b"E\x02"


def test_different_payloads_lead_to_different_points() -> None:
    origin = Point.origin(EXPERIMENT, 3)
    assert origin.then(b"a") != origin.then(b"b")
    assert origin.then(b"a").then(b"b") != origin.then(b"b").then(b"a")
    assert Point.origin(EXPERIMENT, 4) != origin


def only(row: int) -> np.ndarray:
    return np.array([row])


def settle(state: Rows, row: int, point: Point) -> bool:
    return bool(state.settle(only(row), np.array([point.version]), words(point.chain)[None])[0])


def staged(state: Rows, row: int, value: float, payload: bytes) -> Point:
    full = torch.full((1, 4), value)
    state.write(only(row), State(full, -full))
    state.stage(only(row), *state.points.then(only(row), [payload]))
    assert state.staged[row] == state.points[row].then(payload)
    return state.staged[row]


def read(state: Rows, *rows: int) -> State:
    return state.read(np.array(rows))


def test_what_is_staged_is_not_read_until_the_server_has_it() -> None:
    state = rows()
    point = staged(state, 1, 5.0, b"p")
    assert float(read(state, 1).v.abs().max()) == 0
    assert settle(state, 1, point)
    assert float(read(state, 1).v.min()) == 5
    assert float(read(state, 0, 2).v.abs().max()) == 0
    assert read(state, 2, 1, 0).v[:, 0].tolist() == [0, 5, 0]


def test_what_the_server_never_got_is_dropped_by_the_next_step() -> None:
    state = rows()
    before = state.points[0]
    lost = staged(state, 0, 5.0, b"lost")
    assert settle(state, 0, before)
    assert float(read(state, 0).v.abs().max()) == 0
    staged(state, 0, 6.0, b"next")
    assert not settle(state, 0, lost)


def test_a_repeated_instruction_does_not_drop_what_it_led_to() -> None:
    state = rows()
    before = state.points[0]
    point = staged(state, 0, 5.0, b"p")
    assert settle(state, 0, before) and settle(state, 0, point)
    assert float(read(state, 0).v.min()) == 5


def test_a_server_that_holds_something_else_changes_nothing() -> None:
    state = rows()
    point = staged(state, 0, 5.0, b"p")
    assert not settle(state, 0, Point(9, bytes(16)))
    assert settle(state, 0, point)


def test_clients_that_skip_ids_have_rows_one_after_another() -> None:
    assert rows(range(3, 12, 4)).rows(np.array([11, 3])).tolist() == [2, 0]


def test_a_file_keeps_committed_and_staged_state(tmp_path: Path) -> None:
    store, one = Files(tmp_path), range(3, 4)
    first = store.open(EXPERIMENT, State, one, 4, torch.float32)
    a = staged(first, 0, 1.0, b"a")
    settle(first, 0, a)
    b = staged(first, 0, 2.0, b"b")
    first.seen[0] = 9
    store.close(EXPERIMENT, first)
    again = store.open(EXPERIMENT, State, one, 4, torch.float32)
    assert (again.points[0], again.staged[0], again.seen.tolist()) == (a, b, [9])
    assert float(read(again, 0).v.min()) == 1
    assert settle(again, 0, b) and float(read(again, 0).g.max()) == -2
    store.forget(EXPERIMENT, one)
    assert not list(tmp_path.rglob("*.state"))


def test_memory_keeps_experiments_apart_and_forgets() -> None:
    store = Memory(range(4))
    a = store.open(EXPERIMENT, State, range(1), 4, torch.float32)
    b = store.open(bytes(16), State, range(1), 4, torch.float32)
    assert a is not b and store.open(EXPERIMENT, State, range(2, 3), 4, torch.float32) is a
    store.forget(EXPERIMENT, range(4))
    assert store.open(EXPERIMENT, State, range(1), 4, torch.float32) is not a
