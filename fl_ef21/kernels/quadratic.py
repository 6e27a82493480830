"""H (x - b_i) for many clients in one pass, computed in float64 whatever comes in and goes out."""

from __future__ import annotations

from fl_ef21.compiled import compiled
from fl_ef21.select import Array


def _gradients_loop(H: Array, x: Array, b: Array, rows: Array, out: Array) -> None:
    for i in range(rows.size):
        mine, centre, q = x[i if len(x) > 1 else 0], b[rows[i]], out[i]
        for j in range(H.size):
            q[j] = H[j] * (mine[j] - centre[j])


_gradients = compiled(_gradients_loop)


def gradients(H: Array, x: Array, b: Array, rows: Array, out: Array) -> None:
    """Fills `out` (m, d), float32 or float64.

    H (d,) and b (n, d) are float64; x is (1, d) for all clients or (m, d); rows (m,) int64 say whose b is meant.
    """
    _gradients(H, x, b, rows, out)
