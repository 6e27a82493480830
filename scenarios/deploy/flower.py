"""`flwr`, Flower's own command, for a fleet: what its SuperLink knows of nodes and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scenarios.deploy.layout import Fleet

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 120.0  # seconds for one command; a small machine takes long to load it


class FlowerSaid(RuntimeError):
    """`flwr` could not do what it was asked; the message is what it said."""


def environment(home: Path | None = None) -> dict[str, str]:
    """For programs that we start: these sources and this Python's programs first, nothing told to anybody."""
    found = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "FLWR_HOME")}
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', os.defpath)}"
    found["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [found.get("PYTHONPATH")])])
    found |= {
        "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    found.setdefault("NUMBA_CACHE_DIR", str(ROOT / "fl_ef21" / "__pycache__"))  # compiled already, if anywhere
    return found if home is None else found | {"FLWR_HOME": str(home)}


def flwr(fleet: Fleet, *words: str, cwd: Path | None = None) -> dict[str, Any]:
    """What `flwr WORDS --format json` answers. Raises: FlowerSaid."""
    command = [sys.executable, "-c", "from flwr.cli.app import app; app()", *words, "--format", "json"]
    env = environment(fleet.flower) | {"NO_COLOR": "1", "TERM": "dumb"}
    try:
        done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise FlowerSaid(f"flwr {words[0]}: no answer in {PATIENCE:g} s") from error
    found = _answer(done.stdout)
    if done.returncode or not found.get("success"):
        said = found.get("error-message") or (done.stderr or done.stdout).strip()[-800:]
        raise FlowerSaid(f"flwr {' '.join(words[:2])}: {said or f'exit code {done.returncode}'}")
    return found


def nodes(fleet: Fleet) -> dict[str, str]:
    """By Flower's node id: "registered", "online" or "offline". Raises: FlowerSaid."""
    told: Sequence[Mapping[str, str]] = flwr(fleet, "supernode", "list", fleet.name)["nodes"]
    return {one["node-id"]: one["status"] for one in told if one["status"] not in ("unregistered", "deleted")}


def register(fleet: Fleet, client: int) -> str:
    """Have the SuperLink take this client's key; the id of its node. Raises: FlowerSaid."""
    key = str(fleet.public_key(client))
    return str(flwr(fleet, "supernode", "register", key, fleet.name, "--name", f"client-{client}")["node-id"])


def _answer(text: str) -> dict[str, Any]:
    """The JSON object that `flwr` printed among other lines."""
    start = text.find("{")
    while start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(text[start:])
            if isinstance(found, dict):
                return found
        except ValueError:
            pass
        start = text.find("{", start + 1)
    return {}
