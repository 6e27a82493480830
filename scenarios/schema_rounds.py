"""Which demands on a round can be met by so many clients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.schema import Train


def refuse_what_cannot_be(train: Train, clients: int) -> None:
    """Raises: ValueError that names the key, its value and what would be right."""
    wanted = max(1, int(train.participation * clients + 0.5))
    if train.mode == "buffered":
        wanted = _buffered(train, clients, wanted)
    elif train.buffer is not None or train.concurrency is not None:
        key = "buffer" if train.buffer is not None else "concurrency"
        told = 'has no meaning in synchronous rounds; remove it, or mode = "buffered"'
        raise ValueError(f"train.{key} = {getattr(train, key)}: {told}")
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


def at_work(train: Train, clients: int) -> int:
    """Of buffered rounds: how many clients work at once."""
    return train.concurrency or max(1, int(train.participation * clients + 0.5))


def _buffered(train: Train, clients: int, wanted: int) -> int:
    """How many replies a buffered round wants. Raises: ValueError."""
    if train.buffer is None:
        raise ValueError(
            'train.buffer is missing; mode = "buffered" needs it: how many replies make a step, such as 10'
        )
    if train.concurrency is not None and train.participation < 1:
        told = f"train.participation = {train.participation:g}"
        raise ValueError(f"{told}: train.concurrency = {train.concurrency} says already how many work; remove one")
    if train.concurrency is not None and train.concurrency > clients:
        told = f"train.concurrency = {train.concurrency}: there are {clients} clients"
        raise ValueError(f"{told}; at most {clients}")
    if train.buffer > (most := at_work(train, clients)):
        raise ValueError(f"train.buffer = {train.buffer}: {most} clients are at work at once; at most {most}")
    if train.over_selection > 1:
        told = f"train.over_selection = {train.over_selection:g} has no meaning in buffered rounds"
        raise ValueError(f"{told}, which ask for more than they wait for by train.concurrency; remove it")
    if train.late == "discard" and "late" in train.model_fields_set:
        raise ValueError('train.late = "discard": buffered rounds hear late replies; remove it')
    return train.buffer
