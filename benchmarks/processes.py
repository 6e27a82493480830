"""Starts a side, reads what it tells, and watches its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.memory import Peak
from benchmarks.side import MARK


def tell_of(module: str, *arguments: str) -> list[dict[str, Any]]:
    """What `python -m module arguments` tells, each with the peak memory of its process tree until then.

    Raises: SystemExit with the end of its error output where it fails or tells nothing.
    """
    told = []
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        peak = Peak(process.pid)
        try:
            for line in process.stdout:
                if line.startswith(MARK):
                    peak.look()
                    told.append(json.loads(line.removeprefix(MARK)) | {"peak_mib": peak.bytes / 2**20})
            status = process.wait()
        finally:  # also where a person has had enough
            process.terminate()
            peak.stop()
        if status or not told:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command[2:])} failed:\n{errors.read()[-3000:]}")
    return told
