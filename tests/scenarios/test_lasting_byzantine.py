"""Durable runs under attack and under chaos: who was put out stays out, and what is robust stays so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scenarios
from fl_ef21 import failpoints
from scenarios import run_file
from scenarios.auditing import audit
from scenarios.runner import resume
from scenarios.verifying import verify
from tests.scenarios.lasting_runs import lasting, told

SPARSE = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": 20}
SLEEPERS = {"name": "sleeper", "clients": [3, 7], "from_round": 4}
CASES: dict[str, dict[str, Any]] = {
    "evicted": {"method": [SPARSE], "attack": SLEEPERS, "guard": {"action": "evict", "strikes": 1}},
    "quarantined": {"method": [SPARSE], "attack": SLEEPERS, "guard": {"strikes": 2}},
    "median": {
        "method": [{**SPARSE, "aggregate": "median"}], "attack": {"name": "sign-flip", "share": 0.2, "scale": 10.0},
    },
    "chaos": {"method": [SPARSE], "chaos": "kill=5%,duplicate=10%"},
}  # fmt: skip


SELDOM = [pytest.param(case, marks=pytest.mark.nightly) for case in ("quarantined", "chaos")]


@pytest.mark.parametrize("case", ["evicted", "median", *SELDOM])
def test_it_is_resumed_and_checked_as_any_other(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "new_identity", lambda: "5e" * 16)
    some = lasting(rounds=9, shadow=[], train={"participation": 1.0}, cuts={"every": 3}, **CASES[case])
    scenarios.run(some, out=tmp_path / "a")
    with failpoints.arm("training.round:raise:8"), pytest.raises(failpoints.Failed):
        scenarios.run(some, out=tmp_path / "b")
    resume(tmp_path / "b")
    a, b = told(tmp_path / "a"), told(tmp_path / "b")
    assert a["rounds"] == b["rounds"] and a["digests"] == b["digests"] and a["traffic"] == b["traffic"]
    if case != "chaos":  # the faults that were done before are in the other summary
        assert a == b
    assert [check for check in audit(tmp_path / "b") if not check.good] == []
    assert [check for check in verify(tmp_path / "b", 9, seed=0) if not check.good] == []
