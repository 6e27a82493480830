"""Feature skew: what a client's own instrument does to its samples. The test set stays as it is.

    noise:s      Gaussian noise of deviation s (i + 1) / n is added to client i's features (Li et al. 2022, NIID-Bench)
    gain:s       client i's features are multiplied by exp(s z_i), z_i standard normal
    permute:k    clients are in k groups, each of which has its features in an order of its own
    rotate:k     images of clients in k groups are turned by 0, 90, ... degrees, k = 2 or 4

Everything is a function of (seed, client).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fl_ef21.data.base import Floats, Whole
from fl_ef21.errors import InputError, choose

FIELD = "partition.features"


def check(word: str) -> tuple[str, float]:
    """Name and number of a word such as "noise:0.5". Raises: InputError."""
    name, _, told = word.partition(":")
    choose(KINDS, name, FIELD)
    try:
        number = float(told)
    except ValueError:
        raise InputError(FIELD, word, f'needs a number after the colon, such as "{name}:{_EXAMPLE[name]}"') from None
    if name in ("noise", "gain") and not 0 <= number < 1e3:
        raise InputError(FIELD, word, "the number must lie in [0, 1000)")
    if name == "permute" and (number != int(number) or not 1 <= number <= 1e6):
        raise InputError(FIELD, word, "the number of groups must be whole and at least 1")
    if name == "rotate" and number not in (2, 4):
        raise InputError(FIELD, word, "images are turned in 2 or 4 groups")
    return name, number


def skewed(word: str, features: Floats, parts: Sequence[Whole], seed: int) -> Floats:
    """A copy of the features (N, *shape), each client's rows seen through its instrument. Raises: InputError."""
    name, number = check(word)
    if name == "rotate" and (features.ndim < 3 or features.shape[-1] != features.shape[-2]):
        raise InputError(FIELD, word, f"samples of shape {features.shape[1:]} are no square images")
    found = features.copy()
    for client, rows in enumerate(parts):
        draw = np.random.default_rng([seed, client, 0xFEA7])
        found[rows] = KINDS[name](features[rows], number, client, len(parts), draw)
    return found


def _noise(x: Floats, s: float, client: int, n: int, draw: np.random.Generator) -> Floats:
    return x + draw.standard_normal(x.shape, dtype=np.float32) * np.float32(s * (client + 1) / n)


def _gain(x: Floats, s: float, client: int, n: int, draw: np.random.Generator) -> Floats:
    return x * np.float32(np.exp(s * draw.standard_normal()))


def _permute(x: Floats, k: float, client: int, n: int, draw: np.random.Generator) -> Floats:
    group = client % int(k)
    order = np.random.default_rng([group, 0xFEA7]).permutation(x[0].size) if group else np.arange(x[0].size)
    found: Floats = x.reshape(len(x), -1)[:, order].reshape(x.shape)
    return found


def _rotate(x: Floats, k: float, client: int, n: int, draw: np.random.Generator) -> Floats:
    found: Floats = np.rot90(x, int(4 / k) * (client % int(k)), axes=(-2, -1))
    return found


KINDS: dict[str, Callable[[Floats, float, int, int, np.random.Generator], Floats]] = {
    "gain": _gain,
    "noise": _noise,
    "permute": _permute,
    "rotate": _rotate,
}
_EXAMPLE = {"gain": "0.5", "noise": "0.5", "permute": "4", "rotate": "4"}
