"""Any torch.nn.Module as a model: its parameters are slices of x, its gradients one per client.

There are three ways to take clients' gradients (choosing.py finds the fastest):
    vmap             all clients of a tile in one call
    loop             one client after another
    channels-last    the same, with the channels of images innermost, which suits convolutions
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fl_ef21.problems.losses import Loss, PerSample
from fl_ef21.problems.sampled import Shapes, gather

WAYS = ("vmap", "loop", "channels-last")


@dataclass(frozen=True, eq=False)
class Module:
    """A `Model`.

    Attributes:
      module, exact: the network in eval mode, in the training dtype and in float64. The trainable parameters
        of `module` are scratch: a loop over clients writes x into them.
      shapes: of its trainable parameters.
      start: their values as torch initialised them, (d,).
      way: how clients' gradients are taken, one of WAYS.
      open: the ways that work, while it is still to be measured which is the fastest; else empty.
    """

    module: nn.Module
    exact: nn.Module
    loss: Loss
    shapes: Shapes
    start: Tensor
    way: str
    open: tuple[str, ...] = ()

    @property
    def rowwise(self) -> bool:
        return self.way != "vmap"

    def taking(self, way: str) -> Module:
        """The same model with its gradients taken this way."""
        if way == "channels-last":
            laid = deepcopy(self.module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return replace(self, module=laid, way=way)
        return replace(self, way=way)

    def gradients(self, x: Tensor, features: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        return (self._vmapped if self.way == "vmap" else self._looped)(x, *gather(features, labels, samples))

    def _vmapped(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        def loss(p: dict[str, Tensor], a: Tensor, y: Tensor) -> Tensor:
            return self.loss.mean(functional_call(self.module, p, (a,)), y)

        g = vmap(grad(loss), in_dims=(None if x.ndim == 1 else 0, 0, 0))(self._named(x), features, labels)
        return torch.cat([g[name].reshape(len(labels), math.prod(shape)) for name, shape in self.shapes], dim=1)

    @torch.enable_grad()
    def _looped(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """The network is called as it stands: to hand it other parameters costs as much as a small network."""
        p: list[Tensor] = [u for u in self.module.parameters() if u.requires_grad]
        out = x.new_empty(len(labels), x.shape[-1])
        for n, (row, a, y) in enumerate(zip(out, features, labels, strict=True)):
            if n == 0 or x.ndim == 2:
                with torch.no_grad():
                    torch._foreach_copy_(p, list(self._named(x if x.ndim == 1 else x[n]).values()))
            if self.way == "channels-last" and a.ndim == 4:
                a = a.contiguous(memory_format=torch.channels_last)
            self._backward(self.loss.mean(self.module(a), y), p, row)
        return out

    @torch.enable_grad()
    def weighted(self, x: Tensor, features: Tensor, labels: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        p = {name: u.requires_grad_() for name, u in self._named(x.detach()).items()}
        value = self.loss.weighted(functional_call(self.exact, p, (features,)), labels, s)
        self._backward(value, list(p.values()), out := torch.empty_like(x))
        return value.detach(), out

    @torch.no_grad()
    def total(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        outputs = functional_call(self.exact, self._named(x), (features,))
        return self.loss.weighted(outputs, labels, torch.ones_like(labels, dtype=x.dtype))

    @torch.no_grad()
    def predict(self, x: Tensor, features: Tensor) -> Tensor | None:
        return _classes(functional_call(self.module, self._named(x), (features,)))

    @torch.no_grad()
    def judge(self, x: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor | None]:
        outputs = functional_call(self.exact, self._named(x), (features,))
        losses = self.loss.each(outputs, labels) if isinstance(self.loss, PerSample) else None
        return losses, _classes(outputs)

    def _named(self, x: Tensor) -> dict[str, Tensor]:
        """The parameters in x (d,), or those of all clients in x (n, d)."""
        parts = torch.split(x, [math.prod(shape) for _, shape in self.shapes], dim=-1)
        lead = x.shape[:-1]
        return {name: part.view(*lead, *shape) for (name, shape), part in zip(self.shapes, parts, strict=True)}

    @staticmethod
    def _backward(value: Tensor, p: Sequence[Tensor], out: Tensor) -> None:
        """Writes the gradient into out (d,); a parameter the value does not use gets zeros."""
        g = torch.autograd.grad(value, list(p), materialize_grads=True)
        torch.cat([u.reshape(-1) for u in g], out=out)


def _classes(outputs: Tensor) -> Tensor | None:
    """(N,), the likeliest; None where outputs name no classes."""
    return outputs.argmax(dim=1) if outputs.ndim == 2 and outputs.shape[1] > 1 else None
