"""Failpoints act where they are armed, when they are due, and nowhere else."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fl_ef21 import failpoints
from fl_ef21.errors import InputError
from fl_ef21.failpoints import Failed, arm, failpoint

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_failpoint_acts_once_at_the_hit_it_was_told() -> None:
    with arm("here:raise:2, there:enospc"):
        failpoint("here")
        failpoint("elsewhere")
        with pytest.raises(Failed, match="here"):
            failpoint("here")
        failpoint("here")
        with pytest.raises(OSError, match="there") as full:
            failpoint("there")
        assert full.value.errno == errno.ENOSPC
    failpoint("there")


def test_a_failpoint_may_only_wait() -> None:
    with arm("here:sleep=0.05"):
        before = time.monotonic()
        failpoint("here")
        assert time.monotonic() - before >= 0.05


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("exit", 70)])
def test_the_environment_arms_a_process(action: str, code: int) -> None:
    program = "from fl_ef21.failpoints import failpoint; failpoint('here'); print('on', flush=True); failpoint('here')"
    told = os.environ | {failpoints.VARIABLE: f"here:{action}:2"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=told, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "on\n")


@pytest.mark.parametrize("text", ["here", "here:jump", "here:kill:0", "here:kill:x", "here:sleep=soon"])
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"must be name:action\[:n\]"):
        failpoints.parse(text)
