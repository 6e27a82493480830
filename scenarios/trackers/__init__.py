"""Trackers: where a run's figures go besides its folder, which is always written."""

from scenarios.trackers.base import Run, Tracker, numbers
from scenarios.trackers.naming import TRACKERS, named
from scenarios.trackers.telling import Telling

__all__ = ["TRACKERS", "Run", "Telling", "Tracker", "named", "numbers"]
