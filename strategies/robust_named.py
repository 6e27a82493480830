"""Robust aggregation in words: "trimmed-mean:0.2" behind "bucketing:2"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import TypeVar

from torch import Tensor

from fl_ef21 import randomness, words
from fl_ef21.errors import InputError, choose
from strategies.robust import RULES, Rule, set_for
from strategies.robust_mixing import MIXINGS, Mixing

T = TypeVar("T")


@dataclass(frozen=True)
class Aggregate:
    """A rule behind a mixing.

    Attributes:
      rule: as it is given the mixed rows.
      seed: of the run; what is drawn is keyed by (seed, round).
    """

    rule: Rule
    mixing: Mixing | None = None
    seed: int = 0

    def __call__(self, G: Tensor, w: Tensor, round: int) -> Tensor:
        """(d,) float64 from rows G (n, d) and weights w (n,) float64 that sum to one."""
        if self.mixing is None:
            return self.rule(G, w)
        return self.rule(*self.mixing(G, w, randomness.key(self.seed, "mixing", round=round)))

    @property
    def coordinatewise(self) -> bool:
        """Whether a coordinate of the result changes only where a row changes there, in whatever round."""
        return self.rule.coordinatewise and self.mixing is None

    def kappa(self, share: float) -> float:
        """The claim of the rule behind the mixing, for a share of the clients."""
        if self.mixing is None:
            return self.rule.kappa(share)
        return self.mixing.kappa(self.rule.kappa(self.mixing.spread(share)), share)


def aggregate_of(aggregate: str, mixing: str | None = None, seed: int = 0) -> Aggregate:
    """What the words mean. A rule's share is of the clients: behind a mixing it is set for what that makes of it.

    Raises: InputError about "aggregate", "mixing" or an option of theirs.
    """
    rule = _made(RULES, "aggregate", aggregate)
    if mixing is None:
        return Aggregate(rule, None, seed)
    if aggregate.partition(":")[0] == "mean":
        raise InputError(
            "mixing", mixing, "has no meaning with the mean; name a robust rule as aggregate, or remove it"
        )
    how = _made(MIXINGS, "mixing", mixing)
    share = how.spread(rule.share or 0.0)
    if share >= 0.5:
        advice = f"makes a share of {rule.share:g} one of {share:g}, and no rule stands half; take smaller buckets"
        raise InputError("mixing", mixing, advice)
    return Aggregate(set_for(rule, share), how, seed)


def _made(table: Mapping[str, Callable[..., T]], field: str, text: str) -> T:
    name = text.partition(":")[0]
    make = choose(dict(table), name, field)
    takes = signature(make).parameters
    given = words.options(field, text, list(takes), lambda word: next(iter(takes)))
    for option, value in given.items():
        if option not in takes:
            known = ", ".join(takes) if takes else "no options"
            raise InputError(f"{field}.{option}", value, f"is not an option of {name!r}, which takes {known}")
    for option, parameter in takes.items():
        if option not in given and parameter.default is Parameter.empty:
            raise InputError(f"{field}.{option}", None, f"is missing; {name!r} needs it, such as {name}:0.2")
    try:
        return make(**given)
    except InputError as error:
        raise InputError(f"{field}.{error.field}", error.value, error.advice) from error
