"""The EF21 family's client step with TopK, in two passes over each client's state.

Per client: the next momenta and u = (last momentum) - g while v, g and q are read once, then the k largest |u| by
`fl_ef21.select`, then g + c. State is read from the committed slot and written to the other one, so that nothing
is copied before or after. Every number is bitwise what the lines of clients/ef21.py give.

`slots` are (2, n, d); `slot` (n,) says which half of them is committed; `rows` (m,) are the clients of q (m, d),
which send `counts` (m,) entries each into the flat `index` and `value`.
"""

from __future__ import annotations

import numpy as np

from fl_ef21 import select
from fl_ef21.compiled import compiled
from fl_ef21.select import Array


def _plain_loop(q: Array, g: Array, u: Array, out: Array) -> None:
    """u = q - g, and out = g for the increment to come."""
    for j in range(u.size):
        u[j] = q[j] - g[j]
        out[j] = g[j]


def _single_loop(v: Array, q: Array, g: Array, keep: float, eta: float, next_v: Array, u: Array, out: Array) -> None:
    """The next v, u = v - g, and out = g."""
    for j in range(u.size):
        next_v[j] = keep * v[j] + eta * q[j]
        u[j] = next_v[j] - g[j]
        out[j] = g[j]


def _double_loop(
    v: Array, w: Array, q: Array, g: Array, keep: float, eta: float, next_v: Array, next_w: Array, u: Array, out: Array
) -> None:
    """The next v, the next w from it, u = w - g, and out = g."""
    for j in range(u.size):
        next_v[j] = keep * v[j] + eta * q[j]
        next_w[j] = keep * w[j] + eta * next_v[j]
        u[j] = next_w[j] - g[j]
        out[j] = g[j]


_plain, _single, _double = (compiled(loop) for loop in (_plain_loop, _single_loop, _double_loop))


def _send_loop(u: Array, bits: Array, g: Array, scratch: select.Scratch, index: Array, value: Array) -> bool:
    """Choose len(index) entries of u, say them and add them to g. False where u holds a NaN."""
    if not select.largest(bits, index.size, scratch, index):
        return False
    for j in range(index.size):
        value[j] = u[index[j]]
        g[index[j]] += value[j]
    return True


_send = compiled(_send_loop)


def _sgd_loop(
    g: Array, slot: Array, rows: Array, q: Array, u: Array, bits: Array, counts: Array,
    scratch: select.Scratch, index: Array, value: Array,
) -> bool:  # fmt: skip
    at = 0
    for i in range(rows.size):
        row, now, end = rows[i], slot[rows[i]], at + counts[i]
        _plain(q[i], g[now, row], u, g[1 - now, row])
        if not _send(u, bits, g[1 - now, row], scratch, index[at:end], value[at:end]):
            return False
        at = end
    return True


def _sgdm_loop(
    v: Array, g: Array, slot: Array, rows: Array, q: Array, keep: float, eta: float, u: Array, bits: Array,
    counts: Array, scratch: select.Scratch, index: Array, value: Array,
) -> bool:  # fmt: skip
    at = 0
    for i in range(rows.size):
        row, now, end = rows[i], slot[rows[i]], at + counts[i]
        _single(v[now, row], q[i], g[now, row], keep, eta, v[1 - now, row], u, g[1 - now, row])
        if not _send(u, bits, g[1 - now, row], scratch, index[at:end], value[at:end]):
            return False
        at = end
    return True


def _sgd2m_loop(
    v: Array, w: Array, g: Array, slot: Array, rows: Array, q: Array, keep: float, eta: float, u: Array,
    bits: Array, counts: Array, scratch: select.Scratch, index: Array, value: Array,
) -> bool:  # fmt: skip
    at = 0
    for i in range(rows.size):
        row, now, end = rows[i], slot[rows[i]], at + counts[i]
        _double(
            v[now, row], w[now, row], q[i], g[now, row], keep, eta, v[1 - now, row], w[1 - now, row], u, g[1 - now, row]
        )
        if not _send(u, bits, g[1 - now, row], scratch, index[at:end], value[at:end]):
            return False
        at = end
    return True


_KERNELS = [compiled(loop) for loop in (_sgd_loop, _sgdm_loop, _sgd2m_loop)]


def step(
    momenta: list[Array], g: Array, slot: Array, rows: Array, q: Array, eta: float, counts: Array
) -> tuple[Array, Array]:
    """One step of the clients `rows`: the flat indices (int64) and values they send, client after client.

    momenta: none for EF21, [v] for EF21-SGDM, [v, u] for EF21-SGD2M; float32 or float64 as q.

    Raises: ValueError where a count is not in 1 .. d, or a difference holds a NaN; what was written by then is in
    slots that nobody reads.
    """
    d, dtype = q.shape[1], q.dtype
    if counts.size and not 1 <= counts.min() <= counts.max() <= d:  # the kernels write without looking
        raise ValueError(f"counts must lie in 1 .. {d}, got {counts.min()} to {counts.max()}")
    u = np.empty(d, dtype)
    entries = int(counts.sum())
    index, value = np.empty(entries, np.int64), np.empty(entries, dtype)
    weights = (dtype.type(1 - eta), dtype.type(eta)) if momenta else ()
    done = _KERNELS[len(momenta)](
        *momenta, g, slot, rows, q, *weights, u, select.bits(u), counts, select.scratch(d, dtype), index, value
    )
    if not done:
        raise ValueError("u holds a NaN")
    return index, value
