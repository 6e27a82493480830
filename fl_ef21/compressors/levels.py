"""Compressors of one kind where clients differ in how much they send: options given as lists, dealt in turn."""

from __future__ import annotations

from inspect import signature
from typing import Any

from fl_ef21.compressors import COMPRESSORS, make
from fl_ef21.errors import InputError
from fl_ef21.types import Compressor

DEALT = ("k", "fraction")  # the options that may be lists


def make_levels(
    name: str, *, dim: int, shapes: tuple[tuple[str, tuple[int, ...]], ...], **options: Any
) -> tuple[Compressor, ...]:
    """As `make`: one compressor, or one for each entry where k or fraction is a list; client i takes entry
    i mod its length.

    Raises: InputError, which names the entry where it is one of a list.
    """
    lists = {key: value for key, value in options.items() if key in DEALT and isinstance(value, list | tuple)}
    if not lists or not set(lists) <= set(signature(COMPRESSORS[name].from_options).parameters):
        return (make(name, dim=dim, shapes=shapes, **options),)  # where an option does not belong, it says so
    key, entries = lists.popitem()
    if lists:
        raise InputError(key, entries, "give either k or fraction, not both")
    if not entries:
        raise InputError(key, entries, "needs at least one entry, dealt to the clients in turn")
    made = []
    for j, entry in enumerate(entries):
        try:
            made.append(make(name, dim=dim, shapes=shapes, **options | {key: entry}))
        except InputError as error:
            if error.field == key and error.value == entry:
                raise InputError(f"{key}[{j}]", entry, error.advice) from error
            raise
    return tuple(made[:1] if all(one == made[0] for one in made) else made)
