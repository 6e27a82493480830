"""Random numbers that are a function of what they are for.

A draw is keyed by (seed, purpose, client, round) and computed by counting, so it does not depend on
the order of calls, the number of actors, the runtime or the device. The generator is SplitMix64
(Steele, Lea, Flood. Fast splittable pseudorandom number generators. OOPSLA 2014), written with
wrapping 64-bit integers that every device has.
"""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b

import torch
from torch import Tensor

from fl_ef21.kernels import splitmix


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_M1 = _signed(0xBF58476D1CE4E5B9)
_M2 = _signed(0x94D049BB133111EB)


def _shift(z: Tensor, by: int) -> Tensor:
    return (z >> by) & ((1 << (64 - by)) - 1)  # torch shifts arithmetically


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _M1
    z = (z ^ _shift(z, 27)) * _M2
    return z ^ _shift(z, 31)


@lru_cache(maxsize=4096)
def _prefix(seed: int, purpose: str, round: int) -> int:
    name = int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "little")
    k = torch.tensor([_signed(seed % (1 << 64))])
    for part in (0, _signed(name), round):
        k = _mix((k ^ part) + _GAMMA)
    return int(k)


def keys(seed: int, purpose: str, clients: Tensor, round: int) -> Tensor:
    """One key per client: (n,) int64 from client ids (n,) int64, on their device."""
    if clients.device.type == "cpu":
        return torch.from_numpy(splitmix.keys(clients.to(torch.int64).numpy(), _prefix(seed, purpose, round)))
    return _mix((clients.to(torch.int64) ^ _prefix(seed, purpose, round)) + _GAMMA)


def key(seed: int, purpose: str, client: int = 0, round: int = 0) -> Tensor:
    """One key, (1,) int64, for what is not a tile of clients."""
    return keys(seed, purpose, torch.tensor([client]), round)


def words(key: Tensor, count: int) -> Tensor:
    """The first `count` words of each key's stream: (n, count) int64, all 64 bits random."""
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=key.device)
    return _mix(key[:, None] + counter * _GAMMA)


def uniform(key: Tensor, count: int) -> Tensor:
    """(n, count) float64 in [0, 1), multiples of 2^-53."""
    return _shift(words(key, count), 11).to(torch.float64) * 2.0**-53


def uniform_at(key: Tensor, places: Tensor) -> Tensor:
    """(n, m) float64 in [0, 1): of each key's stream those at (n, m) int64 places; 0 is the first of `uniform`."""
    return _shift(_mix(key[:, None] + (places + 1) * _GAMMA), 11).to(torch.float64) * 2.0**-53


def normal(key: Tensor, count: int) -> Tensor:
    """(n, count) float64, independent standard normals (Box-Muller)."""
    half = (count + 1) // 2
    u = uniform(key, 2 * half)
    radius = torch.sqrt(-2 * torch.log1p(-u[:, :half]))
    angle = 2 * math.pi * u[:, half:]
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]


def below(key: Tensor, count: int, sizes: Tensor) -> Tensor:
    """(n, count) int64, row i uniform on 0 .. sizes[i] - 1, with replacement. sizes (n,), each < 2^32."""
    if key.device.type == "cpu":
        return torch.from_numpy(splitmix.below(key.numpy(), count, sizes.to(torch.int64).numpy()))
    return (uniform(key, count) * sizes[:, None]).to(torch.int64)


def subset(n: int, m: int, key: Tensor) -> Tensor:
    """m of n without replacement: (m,) int64, increasing; `key` is (1,)."""
    if m >= n:
        return torch.arange(n)
    return drawn(n, m, key).sort().values


def drawn(n: int, m: int, key: Tensor) -> Tensor:
    """The same in the order in which they are drawn, so that who draws fewer draws the first of these."""
    return torch.argsort(words(key, n)[0], stable=True)[:m]
