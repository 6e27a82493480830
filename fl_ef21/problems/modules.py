"""Any torch.nn.Module as a model: its parameters are slices of x, its gradients one per client."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fl_ef21.problems.losses import Loss
from fl_ef21.problems.sampled import Shapes, gather


@dataclass(frozen=True, eq=False)
class Module:
    """A `Model`.

    Attributes:
      module, exact: the network in eval mode, in the training dtype and in float64.
      shapes: of its trainable parameters.
      start: their values as torch initialised them, (d,).
      batched: gradients of all clients in one vmap, else one client after another.
    """

    module: nn.Module
    exact: nn.Module
    loss: Loss
    shapes: Shapes
    start: Tensor
    batched: bool

    def gradients(self, x: Tensor, features: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        return (self._vmapped if self.batched else self._looped)(x, *gather(features, labels, samples))

    def _vmapped(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        def loss(p: dict[str, Tensor], a: Tensor, y: Tensor) -> Tensor:
            return self.loss.mean(functional_call(self.module, p, (a,)), y)

        g = vmap(grad(loss), in_dims=(None, 0, 0))(self._named(x), features, labels)
        return torch.cat([g[name].reshape(len(labels), math.prod(shape)) for name, shape in self.shapes], dim=1)

    @torch.enable_grad()
    def _looped(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        p = {name: u.requires_grad_() for name, u in self._named(x.detach()).items()}
        out = x.new_empty(len(labels), len(x))
        for row, a, y in zip(out, features, labels, strict=True):
            self._backward(self.loss.mean(functional_call(self.module, p, (a,)), y), p, row)
        return out

    @torch.enable_grad()
    def weighted(self, x: Tensor, features: Tensor, labels: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        p = {name: u.requires_grad_() for name, u in self._named(x.detach()).items()}
        value = self.loss.weighted(functional_call(self.exact, p, (features,)), labels, s)
        self._backward(value, p, out := torch.empty_like(x))
        return value.detach(), out

    @torch.no_grad()
    def predict(self, x: Tensor, features: Tensor) -> Tensor | None:
        outputs = functional_call(self.module, self._named(x), (features,))
        return outputs.argmax(dim=1) if outputs.ndim == 2 and outputs.shape[1] > 1 else None

    def _named(self, x: Tensor) -> dict[str, Tensor]:
        parts = torch.split(x, [math.prod(shape) for _, shape in self.shapes])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes, parts, strict=True)}

    @staticmethod
    def _backward(value: Tensor, p: dict[str, Tensor], out: Tensor) -> None:
        """Writes the gradient into out (d,); a parameter the value does not use gets zeros."""
        g = torch.autograd.grad(value, list(p.values()), materialize_grads=True)
        torch.cat([u.reshape(-1) for u in g], out=out)
