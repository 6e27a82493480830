"""The figures of benchmarks/chaos.py are what was counted, and its parts run. Nothing is timed here."""

from __future__ import annotations

import pytest

from benchmarks import chaos, chaos_cost
from benchmarks.cases import Case, softmax
from benchmarks.chaos_cost import Clock
from fl_ef21.commit import Block
from fl_ef21.threads import computing_with
from tests.protocol.mutants import no_duplicate_check


def test_what_breaks_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with computing_with(1):
        calm = chaos.schedules(3)
        assert calm["broken"] == [] and calm["worst_error"] == 0 and calm["updates"] > 0
        no_duplicate_check(monkeypatch)
        row = chaos.schedules(1)
    assert [one["seed"] for one in row["broken"]] == [0]
    lines = list(chaos.told("schedules", row))
    assert "1 of 1 broken" in lines[0] and "python -m tests.protocol.replay --seed 0: " in lines[1]


def test_runs_that_differ_are_told_with_their_command() -> None:
    with computing_with(1):
        row = chaos.crashes(2)
    assert row["different"] == [] and "2 of 2 runs bitwise equal" in next(iter(chaos.told("crashes", row)))
    lines = list(chaos.told("crashes", {"run": 5, "different": [3], "seconds": 1.0}))
    assert "4 of 5" in lines[0] and "--seed 3 --harmless" in lines[1]


def test_a_clock_counts_what_is_inside_another_once() -> None:
    clock = Clock()
    inner = clock.wrap(lambda: clock.seconds)
    outer = clock.wrap(lambda: inner())
    assert outer() == 0 and clock.seconds > 0  # the inner call added nothing of its own


def test_the_seams_are_there_and_are_put_back() -> None:
    before = [getattr(owner, name) for owner, name in chaos_cost.seams()]
    with chaos_cost.clocked(Clock()):
        assert all(getattr(o, n) is not call for (o, n), call in zip(chaos_cost.seams(), before, strict=True))
    assert [getattr(owner, name) for owner, name in chaos_cost.seams()] == before


def test_shares_of_a_small_world_are_shares() -> None:
    world = softmax("tiny", 12, 9, [Case("all", 12, 1, 0)], fraction=0.05, actors=0)
    with computing_with(1):
        row = chaos_cost.measure(world, 1)
    assert 0 < row["memory_share"] < 1 and row["memory_share"] < row["disk_share"] < 1 and row["journal_ms"] > 0
    text = "\n".join(chaos.cost_text(row))
    assert f"{100 * row['memory_share']:.1f} % of a round with memory" in text


def test_the_block_is_all_that_the_protocol_adds() -> None:
    sizes = chaos_cost.protocol_bytes()
    assert sizes["total"] == sizes["down"] + sizes["up"]
    assert 2 * Block.size <= sizes["total"] <= 2 * Block.size + 40
