"""A small fleet on real SuperLink and SuperNodes: `init`, `up`, `down`, `status` and `run` of `fl-ef21 deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.deploy.fleet import down, up
    from scenarios.deploy.health import Status, status
    from scenarios.deploy.making import init
    from scenarios.deploy.submit import run

__all__ = ["Status", "down", "init", "run", "status", "up"]


def __getattr__(name: str) -> Any:
    """Imported on first use, so that the command line starts at once."""
    homes = {"init": "making", "up": "fleet", "down": "fleet", "run": "submit", "status": "health", "Status": "health"}
    if name not in homes:
        raise AttributeError(f"module 'scenarios.deploy' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"scenarios.deploy.{homes[name]}"), name)
