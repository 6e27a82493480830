"""Who goes too far: limits on what a client holds in g, strikes, and quarantine.

    |g_i + c_i| <= norm  and  <= times_median  typical        typical: the median over clients

In EF21 a message stays in g until its own client takes it back, so the limit is on g_i and not on the message alone:
many small steps lead as far as one large. What is tracked is a bound, |g_i| <= sum of |c_i|, which costs nothing; only
where it passes the limit is |g_i| itself asked for. Where nobody can say it, and with methods that remember nothing,
messages are judged by themselves, as if g_i were 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.errors import Refused

Exact = Callable[[int], float]  # |g_i + c_i| of the message at a place
SAMPLE = 101  # clients over whom the median is taken again where somebody passes the limit


@dataclass(frozen=True)
class Limits:
    """What clients are held to.

    Attributes:
      norm: the longest g_i, None without such a limit.
      times_median: how many times as long as the median, 0 without such a limit; nor has a median of 0 one.
      strikes: with so many refusals a client is asked no more.
      action: whether its g_i stays in g then, or is taken out.
    """

    norm: float | None = None
    times_median: float = 1e4
    strikes: int = 3
    action: Literal["quarantine", "evict"] = "evict"


LIMITS = Limits()


@dataclass(frozen=True)
class Verdict:
    """On the messages of a round.

    Attributes:
      refused: those that lead too far, by place.
      clients: whose messages lead not too far.
      after: float64, for each of these at least |g_i| once its message is added.
      typical: the median that was used.
    """

    refused: Mapping[int, Refused]
    clients: Array
    after: Array
    typical: float


class Guard:
    """What the server remembers of every client's conduct.

    Attributes:
      bound: (n,) float64, at least |g_i|.
      typical: the median of |g_i| when it was last looked at, None before anything came.
      strikes: (n,) int64, refusals that each has caused.
    """

    def __init__(self, limits: Limits, clients: int) -> None:
        self.limits = limits
        self.bound = np.zeros(clients)
        self.typical: float | None = None
        self.strikes = np.zeros(clients, np.int64)

    @property
    def out(self) -> Array:
        """(n,) bool: who is in quarantine."""
        return self.strikes >= self.limits.strikes

    def judge(self, clients: Array, norms: Array, exact: Exact | None) -> Verdict:
        """Whose message leads too far, by |c_i| (m,); exact: None judges messages alone. Nothing changes here."""
        after = norms if exact is None else self.bound[clients] + norms
        typical = self.typical
        if typical is None:
            typical = _median(after)
        if bool((after <= self._limit(typical)).all()):
            return Verdict({}, clients, after, typical)
        after = after.copy()
        known = np.zeros(len(after), bool)

        def look(places: Array) -> None:
            for at in places[~known[places]].tolist():
                after[at], known[at] = norms[at] if exact is None else exact(at), True

        sample = np.unique(np.linspace(0, len(after) - 1, min(SAMPLE, len(after))).astype(np.int64))
        look(sample)
        typical = _median(after[sample])
        look(np.flatnonzero(after > self._limit(typical)))
        far = after > self._limit(typical)
        refused = {at: self._refusal(int(clients[at]), after[at], typical) for at in np.flatnonzero(far).tolist()}
        return Verdict(refused, clients[~far], after[~far], typical)

    def commit(self, verdict: Verdict) -> None:
        """The messages that it does not refuse are in g now."""
        self.typical, self.bound[verdict.clients] = verdict.typical, verdict.after

    def follow(self, clients: Array, norms: Array) -> None:
        """As `commit`, of a round that is made again: it was judged then."""
        self.bound[clients] += norms
        self.typical = _median(norms) if self.typical is None else self.typical

    def strike(self, client: int) -> bool:
        """One more refusal; whether it is the one that ends in quarantine."""
        self.strikes[client] += 1
        return bool(self.strikes[client] == self.limits.strikes)

    def put_out(self, clients: Sequence[int]) -> None:
        """These are in quarantine, as who remembers says: rounds that are made again bring no strikes."""
        self.strikes[list(clients)] = self.limits.strikes

    def forget(self, client: int) -> None:
        """Its g_i is no longer in g. What it did is not forgotten."""
        self.bound[client] = 0.0

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, for `restore`."""
        tensors = {"bound": torch.from_numpy(self.bound), "strikes": torch.from_numpy(self.strikes)}
        return tensors, {"typical": self.typical}

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        self.bound, self.strikes = tensors["bound"].numpy().copy(), tensors["strikes"].numpy().copy()
        self.typical = note["typical"]

    def _limit(self, typical: float) -> float:
        relative = self.limits.times_median * typical
        return min(self.limits.norm or np.inf, relative if relative > 0 else np.inf)

    def _refusal(self, client: int, norm: float, typical: float) -> Refused:
        limit = self._limit(typical)
        return Refused("norm", f"client {client} would hold |g_i| = {norm:.3g}, the limit is {limit:.3g}")


def _median(norms: Array) -> float:
    return float(np.median(norms)) if len(norms) else 0.0
