"""A study on Ray that is killed in the middle goes on to the table of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenarios.study import conduct
from tests.scenarios.study.studies import SCENARIO, study

TEXT = """
seeds = [0]
gamma = [0.05, 0.2, 0.8]
[grid]
"partition.alpha" = [0.1, 1.0]
"method.k" = [5, 20]
[prune]
axis = "round"
rungs = [0.5]
"""
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.nightly
@pytest.mark.system
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_killed_study_comes_to_the_same_table(tmp_path: Path, share: float) -> None:
    whole, out, file = tmp_path / "whole", tmp_path / "out", tmp_path / "s.toml"
    conduct.run(study(TEXT), whole, parallel=0)
    trials = len(list((whole / "trials").iterdir()))
    file.write_text(f'name = "small"\n{TEXT}\n{SCENARIO}')
    words = [sys.executable, "-m", "scenarios.cli", "study", str(file), "--out", str(out), "--parallel", "2"]
    process = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True)
    try:
        while len(list(out.glob("trials/*"))) < share * trials:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "table.csv").exists()
    time.sleep(5)  # its workers see that it is gone
    conduct.resume(out, parallel=0)
    assert (out / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
    assert (out / "study.html").read_bytes() == (whole / "study.html").read_bytes()
