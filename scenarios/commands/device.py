"""`fl-ef21 node`."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.commands.failures import explained


def node(options: Sequence[str], debug: bool) -> None:
    """Be a SuperNode until somebody ends it."""
    with explained(debug):
        from fl_ef21 import flower_node

        flower_node.run(options)
