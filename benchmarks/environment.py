"""What the figures depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Cores, processor, load before the start, torch's threads, versions."""
    import torch

    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "load": os.getloadavg()[0],
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "flwr", "ray")},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def line(facts: dict[str, Any]) -> str:
    """One line of a heading."""
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", "torch", "numpy", "flwr", "ray"))
    machine = f"{facts['cores']} cores, {facts['cpu']}, load {facts['load']:.1f}"
    return f"{machine}; torch threads {facts['torch_threads']}; {versions}"
