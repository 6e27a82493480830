"""Softmax regression with its gradient in closed form.

With samples a_k, labels y_k and x = (W, b), W (classes, features), b (classes) or absent:

    loss = -(1/B) sum_k log softmax(W a_k + b)[y_k]
    R    = (softmax(W A^T + b) - onehot(y)) / B           (classes, B)
    dW   = R A,   db = R 1

Each client has products of its own, so on one thread its gradient is bitwise the same in every tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.problems.sampled import Shapes


@dataclass(frozen=True)
class Softmax:
    """Attributes: features and classes, how many; bias, whether b is there. x starts at zero."""

    features: int
    classes: int
    bias: bool

    @property
    def shapes(self) -> Shapes:
        W = ("W", (self.classes, self.features))
        return (W, ("b", (self.classes,))) if self.bias else (W,)

    @property
    def start(self) -> Tensor:
        return torch.zeros(self.classes * (self.features + self.bias))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        size = self.classes * self.features
        return x[:size].view(self.classes, self.features), x[size:] if self.bias else None

    def gradients(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        n, B = labels.shape
        if n == B == 1:  # torch multiplies a single vector by another routine, which rounds differently
            return self.gradients(x, features.expand(2, *features.shape[1:]), labels.expand(2, 1))[:1]
        W, b = self._split(x)
        A = features.flatten(2)
        R = torch.bmm(W.expand(n, -1, -1), A.transpose(1, 2))
        R = torch.softmax(R if b is None else R + b[:, None], dim=1)
        R.scatter_add_(1, labels[:, None], R.new_full((), -1.0).expand(n, 1, B)).div_(B)
        # Matrix products round by the alignment of their result, so every client's begins a cache line.
        out = x.new_empty(n, -(-len(x) // 16) * 16)[:, : len(x)]
        torch.bmm(R, A, out=out[:, : W.numel()].view(n, *W.shape))
        if b is not None:
            torch.sum(R, dim=2, out=out[:, W.numel() :])
        return out.contiguous()

    def each(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        n, B = labels.shape
        if n == B == 1:  # as in `gradients`
            return self.each(x.expand(2, -1), features.expand(2, *features.shape[1:]), labels.expand(2, 1))[:1]
        size, A = self.classes * self.features, features.flatten(2)
        rows = x.new_empty(n, -(-size // 16) * 16)[:, :size]  # every client's W, and dW, begins a cache line
        W = rows.copy_(x[:, :size]).view(n, self.classes, self.features)
        R = torch.bmm(W, A.transpose(1, 2))
        R = torch.softmax(R + x[:, size:, None] if self.bias else R, dim=1)
        R.scatter_add_(1, labels[:, None], R.new_full((), -1.0).expand(n, 1, B)).div_(B)
        torch.bmm(R, A, out=W)
        return torch.cat([rows, R.sum(dim=2)], dim=1) if self.bias else rows.contiguous()

    def weighted(self, x: Tensor, features: Tensor, labels: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        A = features.flatten(1)
        logp = torch.log_softmax(self._outputs(x, A), dim=1)
        value = -(logp.gather(1, labels[:, None])[:, 0] * s).sum()
        R = logp.exp_()
        R[torch.arange(len(R), device=R.device), labels] -= 1
        R *= s[:, None]
        dW = (R.T @ A).flatten()
        return value, torch.cat([dW, R.sum(dim=0)]) if self.bias else dW

    def predict(self, x: Tensor, features: Tensor) -> Tensor:
        return self._outputs(x, features.flatten(1)).argmax(dim=1)

    def _outputs(self, x: Tensor, A: Tensor) -> Tensor:
        W, b = self._split(x)
        return A @ W.T if b is None else torch.addmm(b, A, W.T)
