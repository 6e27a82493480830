"""Fed-EF, client half. Server half: strategies/mean.py.

    q <- (x - y_K) / (r K)         where K local steps led, in gradients
    c <- C(e + q)                  the message
    e <- e + q - c                 what was not sent

Fed-EF-SGD is the plain server, Fed-EF-AMS is optimizer = "adam" with optimizer_args = { amsgrad = true } (torch
corrects Adam's bias, the paper does not). Unlike in EF14 the step size is not in the error: with gamma constant and C
homogeneous the two are one method. Who is not asked keeps e, which has grown stale when it is next.

Reference: Li, Li. Analysis of Error Feedback in Federated Non-Convex Optimization with Biased Compression: Fast
Convergence and Partial Participation. ICML 2023 (arXiv 2211.14292), Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    e: Vector  # error: what the messages so far have left out


@dataclass(frozen=True)
class FedEF:
    """Error feedback on local displacements."""

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False

    def start(self, q: Vector) -> State:
        return State(e=torch.zeros_like(q))

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        p = s.e + q
        c = C(p)
        e = p - c
        return State(e), c
