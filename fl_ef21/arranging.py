"""Messages of several tiles, compressors or calls put together as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from fl_ef21.messages import All, Compressed, Factors, Floats, Indices, entries, whole

T = TypeVar("T")


def join(parts: Sequence[Compressed]) -> Compressed:
    """The messages of several tiles as those of one; all are of one kind, with the same parameters."""
    if len(parts) == 1:
        return parts[0]
    counts = torch.cat([part.counts for part in parts])
    support, values = _join([part.support for part in parts]), _join([part.values for part in parts])
    return Compressed(parts[0].dim, counts, support, values)


def arrange(parts: Sequence[Compressed], rows: Sequence[Tensor]) -> Compressed:
    """The messages of parts, where those of a part belong in `rows`, in the order of rows."""
    c = join(parts)
    order = torch.argsort(torch.cat(list(rows)))
    support, values = _taken(c.support, order, c.counts), _taken(c.values, order, c.counts)
    return Compressed(c.dim, c.counts[order], support, values)


def added_up(parts: Sequence[Compressed]) -> Compressed:
    """The sums of several messages of each client, as floats: on the union of the supports where these are sparse."""
    if any(isinstance(part.support, All) for part in parts):
        return whole(_sum([part.dense() for part in parts]))
    n, dim = len(parts[0]), parts[0].dim
    at = [part.places() for part in parts]
    union, where = torch.unique(torch.cat(at), return_inverse=True)
    values = [part.values.real(part.counts) for part in parts]
    flat = torch.zeros(len(union), dtype=values[0].dtype, device=union.device)
    for value, mine in zip(values, where.split([len(one) for one in at]), strict=True):
        flat[mine] = flat[mine] + value  # a message sends no coordinate twice
    counts = torch.bincount(torch.div(union, dim, rounding_mode="floor"), minlength=n)
    return Compressed(dim, counts, Indices(union % dim), Floats(flat))


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


_OF_A_CLIENT = ("keys", "scale")  # columns with a row for each client; others have one for each entry


def _taken(part: T, rows: Tensor, counts: Tensor) -> T:
    columns = _columns(part)
    if "unit" in columns:
        columns["unit"] = columns["unit"][entries(part.units(counts), rows)]  # type: ignore[attr-defined]
    each = entries(counts, rows)
    for name in columns.keys() - {"unit"}:
        columns[name] = columns[name][rows if name in _OF_A_CLIENT or isinstance(part, Factors) else each]
    return replace(part, **columns)  # type: ignore[type-var]


def _join(parts: Sequence[T]) -> T:
    each = [_columns(part) for part in parts]
    columns = {name: torch.cat([columns[name] for columns in each]) for name in each[0]}
    return replace(parts[0], **columns)  # type: ignore[type-var]


def _columns(part: Any) -> dict[str, Tensor]:
    """The tensors of a support or of values by name, units flat."""
    named = {field.name: getattr(part, field.name) for field in fields(part)}
    columns = {name: column for name, column in named.items() if isinstance(column, Tensor)}
    return {name: column.reshape(-1) if name == "unit" else column for name, column in columns.items()}
