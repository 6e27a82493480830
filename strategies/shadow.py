"""Who is asked about shadow compressors, and about which."""

from __future__ import annotations

import numpy as np

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.plan import Plan
from fl_ef21.shadow import OWN

WATCHED = 32  # clients asked at the most: their mean is within a few per cent of everybody's


def watched(seed: int, invited: Array, round: int) -> Array:
    """At most `WATCHED` of the clients invited to a round, increasing; a function of seed and round."""
    key = randomness.key(seed, "shadow", round=round)
    chosen: Array = np.sort(invited)[randomness.subset(len(invited), WATCHED, key).numpy()]
    return chosen


def words(plan: Plan, dim: int) -> list[tuple[str, float | None]]:
    """The method's own compressor and the shadows, in the order of a reply, with the alpha each claims.

    Where clients differ, that of the weakest.
    """
    alphas = [C.alpha(dim) for C in plan.compressors]
    sure = [alpha for alpha in alphas if alpha is not None]
    own = min(sure) if len(sure) == len(alphas) else None
    return [(OWN, own), *((one.word, one.C.alpha(dim)) for one in plan.shadows)]
