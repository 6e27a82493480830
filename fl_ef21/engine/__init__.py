"""The resident engine: Ray actors that keep their clients' data and state."""

from fl_ef21.engine.grid import RayGrid
from fl_ef21.engine.settings import Settings

__all__ = ["RayGrid", "Settings"]
