"""What a client half says of itself, with the defaults for what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Message = Literal["compressed", "scaled", "whole", "either", "sum"]
Needs = Literal["any", "contractive", "unbiased", "absolute", "identity"]
Hears = Literal["", "g", "before"]
Weighs = Literal["problem", "smoothness"]
Key = Literal["", "downlink", "prox"]


@dataclass(frozen=True)
class Facts:
    """Class variables of a client half.

    Attributes:
      server: the name of its server half in `strategies`, or the class.
      dense_start: whether, with `start = "gradient"`, the first message is what the state starts from, uncompressed.
      asks: whether `start` and `step` are given an `Oracle` in the place of the gradients.
      hears: a second vector that is sent along with the model: the server's g, or the model of the round before.
      message: the form of messages: what C returns, a multiple of it, a whole vector, that or what C returns, or the
        sum of several of C's.
      needs: what its compressor must be.
      local: whether it is defined for clients that make several local steps.
      steps: whether clients make the server's step themselves, of what they hear of its g: EF21-BC.
      key: a key of the scenario's method without which it is another method.
      weighs: whether w_i are those of the problem, or L_i / sum_j L_j.
    """

    server: Any
    dense_start: bool
    asks: bool = False
    hears: Hears = ""
    message: Message = "compressed"
    needs: Needs = "any"
    local: bool = True
    steps: bool = False
    key: Key = ""
    weighs: Weighs = "problem"


def facts_of(half: Any) -> Facts:
    """Of a client half or its class. Raises: TypeError where it lacks one, or says what there is not."""
    given = {name: getattr(half, name) for name in Facts.__dataclass_fields__ if hasattr(half, name)}
    who = half.__name__ if isinstance(half, type) else type(half).__name__
    for name in ("server", "dense_start"):
        if name not in given:
            raise TypeError(f"{who} must say {name}: see docs/new-method.md")
    for name, kind in (("message", Message), ("needs", Needs), ("hears", Hears), ("weighs", Weighs), ("key", Key)):
        if given.get(name, get_args(kind)[0]) not in get_args(kind):
            raise TypeError(f"{who}.{name} = {given[name]!r}: must be one of {', '.join(map(repr, get_args(kind)))}")
    return Facts(**given)
