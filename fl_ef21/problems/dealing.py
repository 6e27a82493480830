"""What clients are dealt in turn: of a list, client i takes entry i mod its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fl_ef21.errors import InputError

T = TypeVar("T")


def single(value: T | Sequence[T]) -> T | tuple[T, ...]:
    """A list as a tuple, or its entry where it has but one or all are alike."""
    if not isinstance(value, list | tuple):
        return value  # type: ignore[return-value]
    return value[0] if all(entry == value[0] for entry in value) else tuple(value)


def checked(field: str, value: T | Sequence[T], check: Callable[[str, Any], None]) -> T | tuple[T, ...]:
    """`single`, after `check(field, entry)` of every entry. Raises: InputError, also for an empty list."""
    if not isinstance(value, list | tuple):
        check(field, value)
        return value  # type: ignore[return-value]
    if not value:
        raise InputError(field, value, "needs at least one entry, dealt to the clients in turn")
    for j, entry in enumerate(value):
        check(f"{field}[{j}]", entry)
    return single(value)


def dealt(entries: Sequence[int], clients: Tensor) -> Tensor:
    """(n,) int64: the entry of each of the client ids (n,), on their device."""
    table = torch.tensor(entries, dtype=torch.int64, device=clients.device)
    return table[clients % len(entries)]


def points(x: Tensor, rows: Tensor) -> Tensor:
    """x (d,), the point of all, as it is; of x (n, d), a point for every client, some rows."""
    return x if x.ndim == 1 else x[rows]
