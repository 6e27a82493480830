"""Wherever vectors lie they have the same bits, the budget holds, and nothing is left behind."""

from __future__ import annotations

import ctypes
import errno
import gc
import mmap
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.ef21_sgd2m import State
from fl_ef21.errors import Refused
from fl_ef21.state import Rows
from fl_ef21.store import Files, Memory
from fl_ef21.threads import computing_with
from fl_ef21.tiers import CHUNK, Host, Mapped, Place, Resident, Tier, pieces

EXPERIMENT = bytes(range(16))
N, D = 12, 5000
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Vectors this short are not worth waking a second one for."""
    with computing_with(1):
        yield


def rows(tier: Tier, clients: int = N, dim: int = D, momentum: torch.dtype | None = None) -> Rows:
    return Rows(State, range(clients), dim, torch.float32, "cpu", EXPERIMENT, tier, momentum)


def commit(state: Rows, at: list[int], payload: bytes) -> None:
    rows = np.array(at)
    point = state.points.then(rows, [payload] * len(at))
    state.stage(rows, *point)
    assert state.settle(rows, *point).all()


def step(state: Rows, at: list[int], number: int) -> None:
    """What a method might do to these rows, committed at once."""
    state.expect(np.array(at))
    s = state.read(np.array(at))
    q = torch.randn(len(at), state.slots["v"].shape[2], generator=torch.Generator().manual_seed(number))
    state.write(np.array(at), State(v=0.7 * s.v + q, u=s.u + 0.3 * s.v, g=s.g - q))
    commit(state, at, bytes([number % 256]))


def same(a: Rows, b: Rows) -> bool:
    """Committed states of all rows, one by one and together."""
    everybody = list(range(len(a.clients)))
    return all(
        torch.equal(getattr(a.read(np.array(at)), name), getattr(b.read(np.array(at)), name))
        for at in (everybody, everybody[::-1], [3], [1, 2, 5])
        for name in "vug"
    )


STEPS = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True), min_size=1, max_size=8)


@settings(max_examples=8, deadline=None)
@given(steps=STEPS, budget=st.sampled_from([0, CHUNK, 3 * CHUNK, 1 << 30]))
def test_rows_have_the_same_bits_in_files_and_in_memory(steps: list[list[int]], budget: int) -> None:
    tiers: list[Tier] = [Resident(), Mapped(Path(tempfile.gettempdir()), budget), Host("cpu")]
    kept = [rows(tier) for tier in tiers]
    for number, at in enumerate(steps):
        for state in kept:
            step(state, at, number)
    assert same(kept[0], kept[1]) and same(kept[0], kept[2])
    for tier in tiers:
        tier.close()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["host", "mapped"])
def test_rows_that_a_gpu_computes_with_have_the_same_bits_wherever_they_lie(kind: Any, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    near, far = Resident("cuda"), Place(kind, "cuda", tmp_path, 3 * CHUNK).open()
    a, b = (Rows(State, range(N), D, torch.float32, "cuda", EXPERIMENT, tier) for tier in (near, far))
    for number in range(20):
        at = list(range(number % 5, N - number % 3)) if number % 2 else [0, 2, 3, 7]
        q = torch.randn(len(at), D, device="cuda")
        for state in (a, b):
            state.expect(np.array(at))
            s = state.read(np.array(at))
            state.write(np.array(at), State(v=0.7 * s.v + q, u=s.u + 0.3 * s.v, g=s.g - q))
            commit(state, at, b"")
    everybody = list(range(N))
    assert all(
        torch.equal(getattr(a.read(np.array(everybody)), name), getattr(b.read(np.array(everybody)), name))
        for name in "vug"
    )
    far.close()


def resident(state: Rows) -> int:
    """Bytes of the mappings of these rows that are in this process's memory, as the kernel counts them."""
    spans = [(f.data_ptr(), f.data_ptr() + f.numel() * f.element_size()) for f in state.slots.values()]
    total, mine = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
            mine = any(a <= int(found[1], 16) < b for a, b in spans)
        elif mine and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@linux
@pytest.mark.parametrize("tile", [5, 25])
def test_no_more_than_the_budget_and_a_tile_is_in_memory(tile: int, tmp_path: Path) -> None:
    clients, dim, budget = 150, 10_000, 6 << 20
    tier = Mapped(tmp_path, budget)
    state = rows(tier, clients, dim)
    most, whole = 0, sum(f.numel() * f.element_size() for f in state.slots.values())
    for number in range(2):
        for first in range(0, clients, tile):
            step(state, list(range(first, first + tile)), number)
            most = max(most, resident(state))
        for first in range(0, clients, tile):  # an audit reads without writing
            state.read(np.array(range(first, first + tile))).g.sum()
            most = max(most, resident(state))
    assert budget / 2 < most <= budget + whole * tile // clients < whole / 2
    tier.close()


def cached(piece: torch.Tensor) -> float:
    """The share of its pages that the kernel keeps, mapped or not."""
    first = piece.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    length = piece.data_ptr() + piece.numel() * piece.element_size() - first
    there = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(first), ctypes.c_size_t(length), there) == 0
    return sum(page & 1 for page in there) / len(there)


@linux
def test_what_is_needed_next_is_read_from_the_disk_before_it_is_used(tmp_path: Path) -> None:
    tier = Mapped(tmp_path, 0)
    state = rows(tier, 40, 20_000)
    for number in range(2):
        step(state, list(range(40)), number)
    everything = [field for slots in state.slots.values() for field in slots]
    for region in tier._regions:
        os.fsync(region.file.fileno())
        os.posix_fadvise(region.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if max(map(cached, everything)) > 0.1:
        pytest.skip("the kernel keeps what it was asked to drop, as on tmpfs")
    before = resident(state)
    state.expect(np.array(range(10)))
    wait(tier._asked)
    deadline = time.monotonic() + 10
    while min(cached(slots[0, :10]) for slots in state.slots.values()) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(cached(slot[:10]) == 1 and cached(slot[30:]) < 0.1 for slot in everything)
    assert resident(state) == before  # read into the page cache, not into the budget
    tier.close()


@linux
def test_nothing_is_left_in_the_folder_nor_of_the_mapping(tmp_path: Path) -> None:
    store = Memory(range(N), place=Place("mapped", "cpu", tmp_path, 1 << 20))
    state = store.open(EXPERIMENT, State, range(N), D, torch.float32)
    step(state, [0, 1], 1)

    def mapped() -> list[str]:
        return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]

    assert list(tmp_path.iterdir()) == [] and len(mapped()) == 3
    store.forget(EXPERIMENT, range(N))
    del state
    gc.collect()
    assert mapped() == []
    assert not [fd for fd in os.listdir("/proc/self/fd") if str(tmp_path) in os.path.realpath(f"/proc/self/fd/{fd}")]


HOLD = """
import sys, time, torch
from pathlib import Path
from fl_ef21.threads import computing_with
from fl_ef21.tiers import Mapped
tier = Mapped(Path(sys.argv[1]), 1 << 20)
room = tier.zeros((2, 4, 100_000), torch.float32)
room[:] = 1
tier.used([room[0]])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="files without a name")
def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing is reserved here")
def test_a_disk_that_is_full_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, first: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    store = Memory(range(N), place=Place("mapped", "cpu", tmp_path, 1 << 20))
    with pytest.raises(Refused, match=r"state: no room for 480,000 bytes of client state in .*: No space left"):
        store.open(EXPERIMENT, State, range(N), D, torch.float32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing is reserved here")
def test_the_blocks_of_a_file_are_reserved_before_it_is_used(tmp_path: Path) -> None:
    tier = Mapped(tmp_path, 1 << 20)
    tier.zeros((2, 3, 100_000), torch.float32)
    (region,) = tier._regions
    assert os.fstat(region.file.fileno()).st_blocks * 512 >= 2_400_000
    tier.close()


def test_pieces_have_no_gaps_and_cover_both_slots_of_the_rows() -> None:
    slots = {"v": torch.arange(2 * 6 * 3).reshape(2, 6, 3), "g": torch.zeros(2, 6, 3)}
    found = pieces(slots, [0, 1, 4])
    assert [tuple(piece.shape) for piece in found] == [(2, 3), (1, 3)] * 4
    assert all(piece.is_contiguous() for piece in found)
    assert torch.equal(torch.cat(found[:4]), slots["v"][:, [0, 1, 4]].reshape(-1, 3))


# ---------------------------------------------------------------- momenta in bfloat16


def test_momenta_in_bfloat16_take_half_the_bytes_and_what_the_server_knows_none_less() -> None:
    full, half = rows(Resident()), rows(Resident(), momentum=torch.bfloat16)
    size = {name: f.numel() * f.element_size() for name, f in full.slots.items()}
    kept = {name: f.numel() * f.element_size() for name, f in half.slots.items()}
    assert kept == {"v": size["v"] // 2, "u": size["u"] // 2, "g": size["g"]}


@pytest.mark.parametrize("at", [[0, 1, 2], [0, 2, 5]], ids=["together", "apart"])
def test_what_is_read_is_what_was_written_rounded_to_nearest_even(at: list[int]) -> None:
    state = rows(Resident(), dim=4, momentum=torch.bfloat16)
    ulp = 2.0**-7  # of bfloat16 just above one
    v = torch.tensor([1 + ulp / 2, 1 + 3 * ulp / 2, 1 + ulp * 0.51, 3.0e38]).expand(len(at), 4)
    g = torch.full((len(at), 4), 1 + 2.0**-20)
    state.write(np.array(at), State(v=v, u=-v, g=g))
    commit(state, at, b"")
    s = state.read(np.array(at))
    assert s.v.dtype == s.u.dtype == s.g.dtype == torch.float32
    assert s.v[0, :3].tolist() == [1, 1 + 2 * ulp, 1 + ulp] and torch.equal(s.u, -s.v) and torch.equal(s.g, g)


def test_a_file_keeps_bfloat16_bit_for_bit(tmp_path: Path) -> None:
    store, one = Files(tmp_path, torch.bfloat16), range(3, 4)
    first = store.open(EXPERIMENT, State, one, D, torch.float32)
    for number in range(3):
        step(first, [0], number)
    store.close(EXPERIMENT, first)
    again = store.open(EXPERIMENT, State, one, D, torch.float32)
    assert all(torch.equal(first.slots[name], again.slots[name]) for name in "vug")
    assert {name: f.dtype for name, f in again.slots.items()} == {
        "v": torch.bfloat16, "u": torch.bfloat16, "g": torch.float32,
    }  # fmt: skip
    assert (
        torch.equal(first.read(np.array([0])).v, again.read(np.array([0])).v)
        and store.path(EXPERIMENT, 3).stat().st_size < 18 * D
    )
