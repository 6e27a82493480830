"""Per-client gradients of softmax regression, one client after another, read from where the samples lie.

    Z = A W^T + b                        (B, classes), A the client's B samples
    R = (softmax(Z) - onehot(y)) / B
    dW = R^T A,   db = R^T 1

A client's samples are copied once into a block that stays in the cache, and both products are BLAS calls of its own, so
no number depends on the clients beside it.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.select import Array


def _copy_loop(features: Array, samples: Array, A: Array) -> None:
    """A = features[samples], four rows at a time: their memory is fetched side by side."""
    k = 0
    while k + 4 <= samples.size:
        a, b = features[samples[k]], features[samples[k + 1]]
        c, d = features[samples[k + 2]], features[samples[k + 3]]
        for f in range(A.shape[1]):
            A[k, f], A[k + 1, f], A[k + 2, f], A[k + 3, f] = a[f], b[f], c[f], d[f]
        k += 4
    while k < samples.size:
        a = features[samples[k]]
        for f in range(A.shape[1]):
            A[k, f] = a[f]
        k += 1


def _residual_loop(Z: Array, bias: Array, labels: Array, samples: Array) -> None:
    """Z becomes R."""
    B, classes = Z.shape
    share = Z.dtype.type(1 / B)
    for k in range(B):
        top = Z[k, 0] + bias[0]
        for c in range(classes):
            Z[k, c] += bias[c]
            top = max(top, Z[k, c])
        total = Z.dtype.type(0)
        for c in range(classes):
            Z[k, c] = np.exp(Z[k, c] - top)
            total += Z[k, c]
        for c in range(classes):
            Z[k, c] = Z[k, c] / total * share
        Z[k, labels[samples[k]]] -= share


_copy = compiled(_copy_loop)
_residual = compiled(_residual_loop)


def _gradients_loop(
    x: Array, biased: bool, features: Array, labels: Array, samples: Array, out: Array, classes: int
) -> None:
    n, B = samples.shape
    F = features.shape[1]
    size = classes * F
    A, Z = np.empty((B, F), x.dtype), np.empty((B, classes), x.dtype)
    none = np.zeros(classes, x.dtype)
    for i in range(n):
        mine = x[i if len(x) > 1 else 0]
        _copy(features, samples[i], A)
        np.dot(A, mine[:size].reshape(classes, F).T, Z)
        _residual(Z, mine[size:] if biased else none, labels, samples[i])
        np.dot(Z.T, A, out[i, :size].reshape(classes, F))
        if biased:
            out[i, size:] = 0
            for k in range(B):
                for c in range(classes):
                    out[i, size + c] += Z[k, c]


_gradients = compiled(_gradients_loop)


def gradients(x: Array, biased: bool, features: Array, labels: Array, samples: Array, classes: int) -> Array:
    """(n, d): row i is the gradient at x[i] of the mean loss over the samples that samples[i] names.

    Args:
      x: (1, d) for all clients or (n, d), W (classes, features) and then b, if `biased`; float32 or float64.
      features, labels: (M, features) of x's dtype and (M,) int64.
      samples: (n, B) int64, rows of `features`.
    """
    out = np.empty((len(samples), x.shape[1]), x.dtype)
    _gradients(x, biased, features, labels, samples, out, classes)
    return out
