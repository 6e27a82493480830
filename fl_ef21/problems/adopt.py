"""Makes a model of a torch.nn.Module and tries it on real samples: what cannot work says so at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from fl_ef21.errors import InputError
from fl_ef21.problems.losses import BUILT_IN, Loss
from fl_ef21.problems.modules import WAYS, Module

PER_CLIENT = ("auto", *WAYS)


def adopt(
    name: str, create: Callable[[], nn.Module], loss: Loss, seed: int, features: Tensor, labels: Tensor
) -> Module:
    """The model of the module that `create` makes, initialised from `seed`; on the CPU, looping over clients.

    features (N, *shape) in the training dtype and labels (N,) are a few samples to try.

    Raises: InputError that names model.name or model.loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = create().eval()
    _check_layers(name, module)
    trainable = {key: p.detach() for key, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        raise InputError("model.name", name, "has no parameters to train")
    start = torch.cat([p.reshape(-1) for p in trainable.values()])
    shapes = tuple((key, tuple(p.shape)) for key, p in trainable.items())
    exact = deepcopy(module).to(torch.float64)
    model = Module(module.to(features.dtype), exact, loss, shapes, start, way="loop")
    _check_outputs(name, model, features, labels)
    return model


def settle(
    name: str, model: Module, per_client: str, device: torch.device, features: Tensor,
    shards: torch.device | None = None,
) -> Module:  # fmt: skip
    """The model on its device, with the way to take gradients that `per_client` asks for on the shards' device.

    "auto" leaves it open and takes, until somebody measures, what usually is the best. Warns where vmap cannot
    batch the module, which is then looped over. Raises: InputError where channels-last cannot be.
    """
    convolves = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in model.module.modules())
    ways = ["loop"]
    if per_client in ("auto", "vmap"):
        if why := _failure(model.taking("vmap"), features):
            warnings.warn(f"vmap cannot batch {name}, so clients are looped over: {why}", stacklevel=2)
        else:
            ways.append("vmap")
    if per_client == "channels-last" or (per_client == "auto" and convolves):
        why = _failure(model.taking("channels-last"), features)
        if why and per_client != "auto":
            raise InputError("model.per_client", per_client, f"{name} cannot: {why}")
        ways += [] if why else ["channels-last"]
    model = replace(model, module=model.module.to(device), exact=model.exact.to(device))
    if per_client != "auto":
        return model.taking(ways[-1])
    # On a CPU, vmap turns convolutions into slow grouped ones: often half the speed of the loop.
    usual = "vmap" if "vmap" in ways and not (convolves and (shards or device).type == "cpu") else "loop"
    return replace(model, way=usual, open=tuple(ways) if len(ways) > 1 else ())


def _failure(model: Module, features: Tensor) -> str:
    """Why gradients cannot be taken this way, in a line; empty where they can."""
    labels = torch.zeros(len(features), dtype=torch.int64)
    try:
        model.gradients(model.start.to(features), features, labels, torch.arange(len(labels))[None])
    except Exception as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def _check_layers(name: str, module: nn.Module) -> None:
    for where, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            advice = f"its layer {where!r} is {type(layer).__name__}, which mixes samples; use GroupNorm"
            raise InputError("model.name", name, advice)
    if any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in module.modules()):
        warnings.warn(f"{name} runs in eval mode: its dropout is off", stacklevel=3)


def _check_outputs(name: str, model: Module, features: Tensor, labels: Tensor) -> None:
    def attempt(field: str, value: str, what: str, call: Callable[[], Tensor]) -> Tensor:
        try:
            return call()
        except Exception as error:
            raise InputError(field, value, f"{what}: {type(error).__name__}: {error}") from error

    shape = tuple(features.shape)
    out = attempt("model.name", name, f"fails on samples {shape}", lambda: model.module(features))
    if not isinstance(out, Tensor) or out.shape[:1] != labels.shape:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError("model.name", name, f"must turn samples {shape} into one row each, not {found}")
    width, classes = out[0].numel(), int(labels.max()) + 1
    if model.loss.name in BUILT_IN and 1 < width < classes:
        raise InputError("model.loss", model.loss.name, f"needs {classes} outputs, one a class, not {width}")
    what = f"fails on outputs {tuple(out.shape)} for {classes} classes"
    value = attempt("model.loss", model.loss.name, what, lambda: model.loss.mean(out, labels))
    if not isinstance(value, Tensor) or value.ndim != 0:
        raise InputError("model.loss", model.loss.name, "must return a scalar tensor")
    x = model.start.to(features)
    attempt(
        "model.name",
        name,
        "has no gradient",
        lambda: model.gradients(x, features, labels, torch.arange(len(labels))[None]),
    )
    what, s = "fails in float64, in which f is measured", torch.ones(len(labels), dtype=torch.float64)
    attempt("model.name", name, what, lambda: model.weighted(x.double(), features.double(), labels, s)[0])
