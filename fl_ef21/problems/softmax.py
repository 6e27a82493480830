"""Softmax regression with its gradient in closed form.

With samples a_k, labels y_k and x = (W, b), W (classes, features), b (classes) or absent:

    loss = -(1/B) sum_k log softmax(W a_k + b)[y_k]
    R    = (softmax(W A^T + b) - onehot(y)) / B           (classes, B)
    dW   = R A,   db = R 1

Each client has products of its own, so on one thread its gradient is bitwise the same in every tile: on the CPU by
`fl_ef21.kernels.softmax`, elsewhere by batched products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.kernels import softmax as kernel
from fl_ef21.problems.losses import cross_entropy
from fl_ef21.problems.sampled import Shapes, gather


@dataclass(frozen=True)
class Softmax:
    """Attributes: features and classes, how many; bias, whether b is there. x starts at zero."""

    features: int
    classes: int
    bias: bool

    rowwise: ClassVar[bool] = True

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

    def gradients(self, x: Tensor, features: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        points = x.reshape(-1, x.shape[-1])  # (1, d) or (n, d)
        if x.device.type == "cpu":
            rows = (
                points.contiguous().numpy(),
                self.bias,
                features.flatten(1).numpy(),
                labels.numpy(),
                samples.numpy(),
            )
            return torch.from_numpy(kernel.gradients(*rows, self.classes))
        return self._batched(points, *gather(features, labels, samples))

    def _batched(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """x (1, d) or (n, d), features (n, B, *shape), labels (n, B)."""
        n, B = labels.shape
        size, A = self.classes * self.features, features.flatten(2)
        W = x[:, :size].reshape(-1, self.classes, self.features).expand(n, -1, -1)
        R = torch.bmm(W, A.transpose(1, 2))
        R = torch.softmax(R + x[:, size:, None] if self.bias else R, dim=1)
        R.scatter_add_(1, labels[:, None], R.new_full((), -1.0).expand(n, 1, B)).div_(B)
        dW = torch.bmm(R, A).flatten(1)
        return torch.cat([dW, R.sum(dim=2)], dim=1) if self.bias else dW

    def weighted(self, x: Tensor, features: Tensor, labels: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        A = features.flatten(1)
        logp = torch.log_softmax(self._outputs(x, A), dim=1)
        value = -(logp.gather(1, labels[:, None])[:, 0] * s).sum()
        R = logp.exp_()
        R[torch.arange(len(R), device=R.device), labels] -= 1
        R *= s[:, None]
        dW = (R.T @ A).flatten()
        return value, torch.cat([dW, R.sum(dim=0)]) if self.bias else dW

    def total(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        logp = torch.log_softmax(self._outputs(x, features.flatten(1)), dim=1)
        return -logp.gather(1, labels[:, None]).sum()

    def predict(self, x: Tensor, features: Tensor) -> Tensor:
        return self._outputs(x, features.flatten(1)).argmax(dim=1)

    def judge(self, x: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self._outputs(x, features.flatten(1))
        return cross_entropy(outputs, labels), outputs.argmax(dim=1)

    def _outputs(self, x: Tensor, A: Tensor) -> Tensor:
        W, b = self._split(x)
        return A @ W.T if b is None else torch.addmm(b, A, W.T)
