"""The two errors of the platform: a person's input is wrong, or a message is."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Something a person wrote cannot work; raised before any work is done.

    Attributes:
      field: dotted name of what is wrong, such as `method[0].fraction`.
      value: what was found there.
      advice: what would be right, as the end of a sentence.
    """

    def __init__(self, field: str, value: Any, advice: str) -> None:
        super().__init__(f"{field} = {value!r}: {advice}")
        self.field, self.value, self.advice = field, value, advice

    def __reduce__(self) -> tuple[type[InputError], tuple[str, Any, str]]:
        return InputError, (self.field, self.value, self.advice)


class Refused(Exception):
    """A message that must not be used. `reason` is a short code that is counted, such as `crc`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return Refused, (self.reason, self.detail)


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Advice for a word that is not known: the likeliest one meant, else all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(sorted(known))


def choose(table: dict[str, T], name: str, field: str) -> T:
    """`table[name]`. Raises: InputError that names `field` and the nearest known name."""
    if name not in table:
        raise InputError(field, name, f"is not known; {nearest(name, list(table))}")
    return table[name]
