"""Which demands on a round can be met by so many clients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.schema import Train


def refuse_what_cannot_be(train: Train, clients: int) -> None:
    """Raises: ValueError that names the key, its value and what would be right."""
    wanted = max(1, int(train.participation * clients + 0.5))
    asked = math.ceil(train.over_selection * wanted - 1e-9)
    if train.over_selection > 1 and asked > clients:
        most = f"at most {clients / wanted:.3g}" if wanted < clients else "a smaller train.participation is needed"
        told = f"would ask {asked} of {clients} clients for {wanted} replies"
        raise ValueError(f"train.over_selection = {train.over_selection:g}: {told}; {most}")
    if train.min_reports is not None and train.min_reports > wanted:
        told = f"train.min_reports = {train.min_reports}: a round wants {wanted} of {clients} clients"
        raise ValueError(f"{told}; at most {wanted}, or a larger train.participation")
    if train.start_clients is not None and train.start_clients > clients:
        raise ValueError(f"train.start_clients = {train.start_clients}: there are {clients} clients; at most {clients}")
    if (train.start_clients or clients) < (train.min_reports or 1):
        told = f"train.start_clients = {train.start_clients}: a round needs min_reports = {train.min_reports}"
        raise ValueError(f"{told}; at least {train.min_reports}")
