"""The resident engine: Ray actors that keep their clients' data and state."""

from fl_ef21.engine.grid import RayGrid
from fl_ef21.engine.keeper import Keep
from fl_ef21.engine.losses import ShardLost
from fl_ef21.engine.settings import Settings

__all__ = ["Keep", "RayGrid", "Settings", "ShardLost"]
