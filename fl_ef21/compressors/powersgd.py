"""PowerSGD: every weight matrix as a product of two thin ones.

Reference: Vogels, Karimireddy, Jaggi. PowerSGD: practical low-rank gradient compression. NeurIPS 2019.
There the power iteration goes on from the last round's factor; here it starts at random, so no state is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.compressors import options, quantisers, rows
from fl_ef21.compressors.quantisers import EXACT, BFloat16, Exact, Quantiser
from fl_ef21.errors import InputError
from fl_ef21.messages import All, Compressed, Factors, Floats

FACTORS = ("exact", "bfloat16", "float16")  # what factors may be sent as


@dataclass(frozen=True)
class PowerSGD:
    """The projection of every weight matrix M onto `rank` directions found by `iterations` power steps.

    Where factors are exact, alpha is the smallest rank / min(a, b) over the (a, b) matrices: with W an orthonormal
    basis of the random start, A = M^T M and P the projection onto the range of M W,
    |P M|^2 = tr(W^T A^2 W (W^T A W)^-1) >= tr(W^T A W), whose mean is rank/min(a, b) |M|^2 or more; and each
    further step is two such gains. `_rounded` says what bfloat16 leaves of it.

    Attributes:
      rank: of each factor; a tensor with one axis, or which the factors would not make smaller, goes whole.
      shapes: the parameter tensors that lie one after another in u; a matrix has the first axis as its rows.
    """

    rank: int
    shapes: tuple[tuple[int, ...], ...] = field(repr=False)
    iterations: int = 2
    values: Quantiser = EXACT
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("rank", self.rank, 1)
        options.whole("iterations", self.iterations, 1)
        if repr(self.values) not in FACTORS:
            raise InputError("values", self.values, f"must be one of {', '.join(FACTORS)} for factors")

    @classmethod
    def from_options(
        cls, *, shapes: tuple[tuple[str, tuple[int, ...]], ...], rank: int, iterations: int = 2, values: str = "exact"
    ) -> PowerSGD:
        if values not in FACTORS:
            raise InputError("values", values, f"must be one of {', '.join(FACTORS)} for factors")
        return cls(rank, tuple(shape for _, shape in shapes), iterations, quantisers.named(values))

    @property
    def contractive(self) -> bool:
        return self.alpha(0) is not None

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        n, d = u.shape
        layers = self._layers()
        starts = randomness.normal(keys, sum(r * b for _, b, r in layers)).to(u.dtype)
        each = starts.split_with_sizes([r * b for _, b, r in layers], dim=1)
        parts = u.split_with_sizes([a * b for a, b, _ in layers], dim=1)
        flat: list[Tensor] = []
        for part, start, (a, b, r) in zip(parts, each, layers, strict=True):
            m, q = part.reshape(n, a, b), start.reshape(n, r, b)
            flat.append(_factors(m, q, self.iterations) if r else part)
        said, layout = self.values(torch.cat(flat, dim=1)), LowRank(layers)
        assert isinstance(said, Floats)  # as all of FACTORS are
        values = Factors(said.flat.view(n, layout.width), layout)
        return Compressed(d, torch.full((n,), d, device=u.device), All(), values)

    def _layers(self) -> tuple[tuple[int, int, int], ...]:
        layers = []
        for shape in self.shapes:
            a, b = (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, prod(shape))
            smaller = self.rank * (a + b) < a * b
            layers.append((a, b, self.rank if smaller else 0))
        return tuple(layers)

    def alpha(self, dim: int) -> float | None:
        shares = [(r / min(a, b) if r else 1.0, r) for a, b, r in self._layers()]
        match self.values:
            case Exact():
                return min(share for share, _ in shares)
            case BFloat16():
                least = min(_rounded(share, r) if r else 1 - 2**-16 for share, r in shares)
                return least if least > 0 else None
        return None

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return self.values.bits(LowRank(self._layers()).width)


def _rounded(alpha: float, r: int) -> float:
    """What is left of a layer's contraction alpha when both of its factors of rank r go to bfloat16.

    With R = M - P^T Q and errors p of P, q of Q, each at most e = 2^-8 of its number: |p^T (Q + q)| <= w |Q| with
    w = e (1 + e) sqrt(r), |P^T q| <= e |Q|, and R is orthogonal to P^T q. So the squared error is at most
    |R|^2 + 2 w |R| |Q| + (w + e)^2 |Q|^2 <= (1 - f(s)) |M|^2 for |Q|^2 = s |M|^2 and
    f(s) = (1 - (w + e)^2) s - 2 w sqrt(s). f is convex, and grows where it is positive: E f(s) >= f(E s) >= f(alpha).
    """
    e = 2**-8
    w = e * (1 + e) * math.sqrt(r)
    return (1 - (w + e) ** 2) * alpha - 2 * w * math.sqrt(alpha)


def _factors(M: Tensor, Q: Tensor, iterations: int) -> Tensor:
    """(n, r (a + b)): orthonormal P (r, a), then Q = P M (r, b), of every M (a, b) from the start Q."""
    (n, a, b), r = M.shape, Q.shape[1]
    most = rows.largest(M.flatten(1))
    out = M.new_empty(n, r * (a + b))
    for i in range(n):  # in memory of their own: a product may round by how its operands are aligned
        m, q = M[i] / most[i], Q[i].clone()  # of size one: repeated products of tiny numbers would vanish
        for _ in range(iterations):
            p = torch.linalg.qr((q @ m.T).T).Q.T.contiguous()
            q = p @ m
        out[i] = torch.cat([p.view(-1), q.view(-1) * most[i]])
    return out


@dataclass(frozen=True)
class LowRank:
    """Where the factors lie: of an (a, b) matrix first P (r, a), then Q (r, b); all of it where r = 0.

    Attributes:
      layers: (a, b, r) of each parameter tensor.
    """

    layers: tuple[tuple[int, int, int], ...]

    @property
    def width(self) -> int:
        return sum(r * (a + b) if r else a * b for a, b, r in self.layers)

    def rebuild(self, flat: Tensor) -> Tensor:
        """P^T Q of every layer, in float32 at the least. Written as sums of outer products, which round alike in
        any tile.
        """
        flat = flat if flat.dtype == torch.float64 else flat.to(torch.float32)
        out, at = [], 0
        for a, b, r in self.layers:
            if not r:
                out.append(flat[:, at : at + a * b])
                at += a * b
                continue
            p = flat[:, at : at + r * a].reshape(len(flat), r, a, 1)
            q = flat[:, at + r * a : at + r * (a + b)].reshape(len(flat), r, 1, b)
            product = p[:, 0] * q[:, 0]
            for i in range(1, r):
                product = product + p[:, i] * q[:, i]
            out.append(product.flatten(1))
            at += r * (a + b)
        return torch.cat(out, dim=1)
