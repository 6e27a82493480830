"""SplitMix64 on the CPU, word for word what `fl_ef21.randomness` computes by torch operations elsewhere."""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.select import Array

_GAMMA, _M1, _M2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def _mix_loop(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


_mix = compiled(_mix_loop)


def _keys_loop(clients: Array, prefix: np.uint64, out: Array) -> None:
    for i in range(clients.size):
        out[i] = _mix((clients[i] ^ prefix) + _GAMMA)


def _below_loop(keys: Array, sizes: Array, out: Array) -> None:
    for i in range(keys.size):
        counter = keys[i]
        for j in range(out.shape[1]):
            counter += _GAMMA
            out[i, j] = np.int64(np.float64(_mix(counter) >> _11) * 2.0**-53 * sizes[i])


_keys = compiled(_keys_loop)
_below = compiled(_below_loop)


def keys(clients: Array, prefix: int) -> Array:
    """(n,) int64 from (n,) int64; `prefix` is the signed word that stands for seed, purpose and round."""
    out = np.empty(len(clients), np.uint64)
    _keys(np.ascontiguousarray(clients).view(np.uint64), np.uint64(prefix % (1 << 64)), out)
    return out.view(np.int64)


def below(keys: Array, count: int, sizes: Array) -> Array:
    """(n, count) int64, row i uniform on 0 .. sizes[i] - 1; keys and sizes (n,) int64."""
    out = np.empty((len(keys), count), np.int64)
    _below(np.ascontiguousarray(keys).view(np.uint64), np.ascontiguousarray(sizes), out)
    return out
