"""Attacks of the literature: what Byzantine clients take for their gradient. All else they do as the method says.

    sign-flip     q_i <- -scale q_i
    label-flip    q_i <- gradient over own samples whose label y is classes - 1 - y
    ipm           q_i <- -scale mean                       inner-product manipulation
    alie          q_i <- mean - z std                      a little is enough
    scaled        q_i <- scale times that of label-flip    model replacement
    sleeper       honest, then -scale q_i in one round, then no gradient at all: its g_i stays as it is

mean and std are, coordinate by coordinate, over the attackers' own honest gradients, so each needs the data of all of
them: every shard with an attacker in it carries them. What an attacker sends is a function of (seed, round, client).
The objective and the accuracy stay those of the honest problem, over everybody's true samples.

References: Xie, Koyejo, Gupta. Fall of empires (ipm). UAI 2019. Baruch, Baruch, Goldberg. A little is enough (alie).
NeurIPS 2019. Bagdasaryan, Veit, Hua, Estrin, Shmatikov. How to backdoor federated learning (scaled). AISTATS 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from fl_ef21.errors import InputError, choose
from fl_ef21.problems.around import Around
from fl_ef21.problems.local import Local
from fl_ef21.problems.sampled import Sampled
from fl_ef21.types import Problem

SCALES: dict[str, float | None] = {
    "sign-flip": 1.0, "label-flip": None, "ipm": 1.0, "alie": None, "scaled": None, "sleeper": 1e6,
}  # fmt: skip
FLIPS = ("label-flip", "scaled")
COLLUDES = ("alie", "ipm")


@dataclass(frozen=True)
class Attack:
    """Attributes:
    scale: as above; z: of alie.
    start: the first round in which they attack.
    """

    name: str
    scale: float
    z: float
    start: int


@dataclass(frozen=True, eq=False)
class Attacked(Around):
    """A `Problem`: another one, some of whose clients are Byzantine.

    Attributes:
      problem: the honest one, of the clients held.
      attackers: (f,) int64, increasing.
      theirs: problems that hold the data of runs of consecutive attackers, from which they compute: their true samples
        where they collude, flipped ones where they flip labels; empty where nobody needs them.
    """

    problem: Problem
    attack: Attack
    attackers: Tensor
    theirs: tuple[tuple[range, Problem], ...] = ()

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        """See `Problem`. An attacker that is silent has a gradient of NaN, which no client sends."""
        q = self.problem.gradients(x, clients, round)
        mine = torch.isin(clients, self.attackers.to(clients.device)).to(q.device)
        if round >= self.attack.start and bool(mine.any()):
            q[mine] = self._sent(x, q[mine], clients[mine.to(clients.device)], round).to(q)
        return q

    def _sent(self, x: Tensor, q: Tensor, clients: Tensor, round: int) -> Tensor:
        """What the attackers `clients` (m,) take for their honest gradients q (m, d)."""
        name, scale = self.attack.name, self.attack.scale
        if name == "sign-flip":
            return -scale * q
        if name == "sleeper":
            return -scale * q if round == self.attack.start else torch.full_like(q, torch.nan)
        if name in FLIPS:
            return scale * self._flipped(x, clients, round)
        together = torch.cat([p.gradients(x, torch.tensor(ids), round) for ids, p in self.theirs]).to(torch.float64)
        mean = together.mean(dim=0)
        sent = -scale * mean if name == "ipm" else mean - self.attack.z * together.std(dim=0, correction=0)
        return sent.expand(len(q), -1)

    def _flipped(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        """Each run of attackers is computed whole, so that nobody's gradient depends on who is asked beside it."""
        found = dict[int, Tensor]()
        for ids, problem in self.theirs:
            some = [i for i in clients.tolist() if i in ids]
            some = list(ids) if some and not self.rowwise else some
            if some:
                found |= dict(zip(some, problem.gradients(x, torch.tensor(some), round), strict=True))
        return torch.stack([found[i] for i in clients.tolist()])

    def shard(self, clients: range) -> Attacked:
        some = any(i in clients for i in self.attackers.tolist())
        return replace(self, problem=self.problem.shard(clients), theirs=self.theirs if some else ())


def attacked(
    problem: Problem, name: str, clients: int | Sequence[int] | None = None, share: float | None = None,
    scale: float | None = None, z: float | None = None, start: int = 1, classes: int = 0,
) -> Problem:  # fmt: skip
    """The problem under this attack of the last `clients` of its clients, of those listed, or of a share of them.

    scale, z: by default what the literature takes; z as in the reference, scale of scaled n / f, so that the mean is
    theirs. classes: of the data, where there are any.

    Raises: InputError that names the field of [attack] which cannot work.
    """
    choose(SCALES, name, "attack.name")
    ids = _ids(problem.clients, clients, share)
    if z is not None and name != "alie":
        raise InputError("attack.z", z, f"belongs to 'alie', not to {name!r}")
    if scale is not None and name in ("label-flip", "alie"):
        raise InputError("attack.scale", scale, f"{name!r} takes none; remove it")
    natural = problem.clients / len(ids) if name == "scaled" else SCALES[name]
    attack = Attack(name, scale or natural or 1.0, little(problem.clients, len(ids)) if z is None else z, start)
    theirs: tuple[tuple[range, Problem], ...] = ()
    if name in FLIPS + COLLUDES:
        source = flipped(problem, name, classes) if name in FLIPS else problem
        theirs = tuple((run, source.shard(run)) for run in _runs(ids))
    return Attacked(problem, attack, torch.tensor(ids), theirs)


def little(n: int, f: int) -> float:
    """z such that, of n clients with f attackers, as many honest ones as they lack to a majority lie further out."""
    lacking = n // 2 + 1 - f
    share = (n - f - lacking) / (n - f) if n > f else 0.0
    return max(0.0, NormalDist().inv_cdf(share)) if 0 < share < 1 else 0.0


def flipped(problem: Problem, name: str, classes: int) -> Problem:
    """The same samples with label classes - 1 - y. Raises: InputError where there are no labels."""
    if isinstance(problem, Local):
        inner: Any = flipped(problem.problem, name, classes)
        return replace(problem, problem=inner)
    if not isinstance(problem, Sampled) or classes < 2:
        raise InputError("attack.name", name, "needs a model over data, whose labels can be flipped")
    return replace(problem, labels=classes - 1 - problem.labels)


def _ids(n: int, clients: int | Sequence[int] | None, share: float | None) -> list[int]:
    if (clients is None) == (share is None):
        raise InputError("attack.clients", clients, "give either clients or share, such as share = 0.2")
    if share is not None:
        clients = int(share * n + 0.5)
        if not 0 < clients < n:
            raise InputError("attack.share", share, f"of {n} clients makes {clients} attackers; take 1 to {n - 1}")
    if isinstance(clients, int):
        if not 0 < clients < n:
            raise InputError("attack.clients", clients, f"must lie in 1 .. {n - 1}, so that somebody is honest")
        return list(range(n - clients, n))
    ids = sorted(set(clients or ()))
    if not ids or len(ids) >= n or ids[0] < 0 or ids[-1] >= n:
        raise InputError("attack.clients", clients, f"must be some, not all, of the clients 0 .. {n - 1}")
    return ids


def _runs(ids: Iterable[int]) -> list[range]:
    """Consecutive ids, joined."""
    runs = list[range]()
    for i in ids:
        if runs and runs[-1].stop == i:
            runs[-1] = range(runs[-1].start, i + 1)
        else:
            runs.append(range(i, i + 1))
    return runs
