"""How one run among many is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scenarios.interrupt import Interrupt
from scenarios.setup import Setup, prepare


@dataclass(frozen=True)
class Manner:
    """Attributes:
    prepare: makes the setup; called as `setup.prepare` is.
    interrupt: who asks it ends the run after the round that goes on, with a cut to go on from.
    page: whether report.html is written.
    """

    prepare: Callable[..., Setup] = prepare
    interrupt: Interrupt = field(default_factory=Interrupt)
    page: bool = True
