"""x <- x - gamma g, by any optimizer of torch.optim, with g as the gradient; a prox may follow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fl_ef21.errors import InputError, nearest
from fl_ef21.shared_step import stepped
from strategies.prox import Prox

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def optimizer_named(name: str) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class and its defaults here. `momentum` is SGD with momentum 0.9; case does not matter.

    Raises: InputError where torch.optim has no such optimizer.
    """
    known = {
        key.lower(): cls
        for key, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
        and key not in ("LBFGS", "SparseAdam")  # one needs a closure, the other sparse gradients
    }  # fmt: skip
    wanted = name.lower()
    if wanted == "momentum":
        return known["sgd"], {"momentum": 0.9}
    if wanted not in known:
        raise InputError("optimizer", name, f"is not known; {nearest(wanted, [*known, 'momentum'])}")
    return known[wanted], {"weight_decay": 0.0} if wanted in ("adamw", "muon") else {}


class Descent:
    """The model and the optimizer that steps it.

    Attributes:
      x: the model (d,); the optimizers' parameters are views into it.
      before: (d,), the model before the last step.
      prox: what follows the optimizer's step, if anything.
    """

    def __init__(
        self, x: Tensor, shapes: Shapes, name: str, options: Mapping[str, Any], gamma: float,
        prox: Prox | None = None, shared: bool = False,
    ) -> None:  # fmt: skip
        """shared: others make the same step, in the same bits, and there is no optimizer in it.

        Raises: InputError for an unknown optimizer or an option it does not take.
        """
        self.x, self.prox, self._shared = x.detach().clone(), prox, shared
        self.before = self.x.clone()
        self._grad = torch.zeros_like(self.x)
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for (_, shape), value, grad in zip(shapes, _views(self.x, shapes), _views(self._grad, shapes), strict=True):
            parameter = torch.nn.Parameter(value)
            parameter.grad = grad
            (matrices if len(shape) == 2 else others).append(parameter)
        cls, defaults = optimizer_named(name)
        # Muon is defined for matrices; what is none (biases, convolutions) follows SGD with momentum
        muon = cls is torch.optim.Muon
        groups = [(cls, defaults | dict(options), matrices if muon else matrices + others)]
        if muon:
            groups.append((torch.optim.SGD, {"momentum": 0.9}, others))
        self._optimizers = [_make(cls, ps, gamma, name, opts) for cls, opts, ps in groups if ps]

    def step(self, g: Tensor, gamma: float) -> Tensor:
        """The model after one step; g (d,) of any float dtype."""
        self._grad.copy_(g)
        self.before = self.x.clone()
        if self._shared:
            self.x.copy_(stepped(self.x, self._grad, gamma))
            return self.x
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = gamma
            optimizer.step()
        if self.prox is not None:
            self.x.copy_(self.prox(self.x, gamma))
        return self.x

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The model, the one before, and what the optimizers remember of each parameter."""
        tensors, note = {"x": self.x, "before": self.before}, dict[str, Any]()
        for i, optimizer in enumerate(self._optimizers):
            for j, kept in optimizer.state_dict()["state"].items():
                for name, value in kept.items():
                    if isinstance(value, Tensor):
                        tensors[f"{i}.{j}.{name}"] = value
                    else:
                        note[f"{i}.{j}.{name}"] = value
        return tensors, note

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        self.x.copy_(tensors["x"])
        self.before = tensors["before"].clone()
        kept: list[dict[int, dict[str, Any]]] = [{} for _ in self._optimizers]
        for key, value in {**tensors, **note}.items():
            if key not in ("x", "before"):
                i, j, name = key.split(".", 2)
                kept[int(i)].setdefault(int(j), {})[name] = value.clone() if isinstance(value, Tensor) else value
        for optimizer, state in zip(self._optimizers, kept, strict=True):
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _make(
    cls: type[torch.optim.Optimizer], parameters: list[torch.nn.Parameter], gamma: float, name: str,
    options: Mapping[str, Any],
) -> torch.optim.Optimizer:  # fmt: skip
    try:
        return cls(parameters, lr=gamma, **options)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise InputError("optimizer_args", dict(options), f"does not suit {name!r}: {error}") from error


def _views(flat: Tensor, shapes: Shapes) -> Iterator[Tensor]:
    at = 0
    for _, shape in shapes:
        size = math.prod(shape)
        yield flat[at : at + size].view(shape)
        at += size
