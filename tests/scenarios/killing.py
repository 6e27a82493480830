"""Runs that are killed. A process that has everything imported forks one child for each start of a run, which costs
little, and tells how the child ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KILLED = -signal.SIGKILL


class Killer:
    """`run` and `resume` in children of their own."""

    def __enter__(self) -> Killer:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).resolve())]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()

    def run(self, scenario: Any, out: Path, **how: Any) -> int:
        """The exit code, negative where a signal ended it. `how`: arm, after, sets, runtime."""
        from scenarios.loading import to_toml

        return self._ask(scenario=to_toml(scenario), out=str(out), **how)

    def resume(self, out: Path, **how: Any) -> int:
        return self._ask(out=str(out), **how)

    def _ask(self, **job: Any) -> int:
        """arm: a failpoint; after: seconds until a SIGKILL; sets: overrides of a resume."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(job) + "\n")
        self._child.stdin.flush()
        return int(self._child.stdout.readline())


def _start(job: dict[str, Any]) -> None:
    from fl_ef21 import failpoints
    from scenarios import runner
    from scenarios.loading import parse

    with failpoints.arm(job.get("arm", "")):
        out = Path(job["out"])
        if "scenario" in job:
            runner.run(parse(job["scenario"]), out=out, runtime=job.get("runtime", "resident"))
        else:
            runner.resume(out, overrides=job.get("sets", ()))


def _child(job: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(2, 1)  # what is printed is not for the one who reads our answers
            _start(job)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    if "after" in job:
        time.sleep(job["after"])
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from scenarios import run_file, runner
    from tests.scenarios.lasting_runs import lasting

    run_file.new_identity = lambda: "5e" * 16  # of all runs, so that their digests can be compared
    with tempfile.TemporaryDirectory() as folder:
        runner.run(lasting(rounds=2), out=Path(folder) / "run")  # so that no child has to import or compile
    for line in sys.stdin:
        print(_child(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
