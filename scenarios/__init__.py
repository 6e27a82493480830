"""What a person runs: scenarios, the runner, the command line, reports.

`scenarios.run(scenario) -> Result` is the whole of it for notebooks, `scenarios.resume(folder)` goes on with a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.results import Result
    from scenarios.runner import resume, run
    from scenarios.schema import Scenario

__all__ = ["Result", "Scenario", "resume", "run"]


def __getattr__(name: str) -> Any:
    """Imported on first use, so that the command line starts at once."""
    homes = {"Result": "results", "resume": "runner", "run": "runner", "Scenario": "schema"}
    if name not in homes:
        raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"scenarios.{homes[name]}"), name)
