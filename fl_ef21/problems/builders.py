"""One builder per model name: checks the options under [model] and makes the problem.

A builder's keyword arguments are the options it takes, with their defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fl_ef21.errors import InputError
from fl_ef21.problems.adopt import PER_CLIENT, adopt, settle
from fl_ef21.problems.holding import over_data
from fl_ef21.problems.loading import load
from fl_ef21.problems.losses import CROSS_ENTROPY, Loss, find_loss
from fl_ef21.problems.networks import CNN, MLP
from fl_ef21.problems.noise import Gaussian, Noise, ThreePoint
from fl_ef21.problems.options import Setting, flag, number, numbers, whole, word
from fl_ef21.problems.quadratic import Quadratic, centres, spectrum
from fl_ef21.problems.regularizers import L2, Nonconvex, Regularizer
from fl_ef21.problems.sampled import Sampled
from fl_ef21.problems.softmax import Softmax


def logistic(setting: Setting, *, regularizer: float = 0.0, bias: bool = False) -> Sampled:
    """Softmax regression, started at zero, plus regularizer / 2 |x|^2."""
    return over_data(setting, _softmax(setting, bias), _l2(regularizer))


def logistic_nonconvex(setting: Setting, *, regularizer: float = 1e-4, bias: bool = False) -> Sampled:
    """Softmax regression plus regularizer sum_j x_j^2 / (1 + x_j^2), as in the EF21-SGDM paper."""
    lam = number("regularizer", regularizer, least=0)
    return over_data(setting, _softmax(setting, bias), Nonconvex(lam) if lam else None)


def mlp(setting: Setting, *, hidden: Any = (64,), regularizer: float = 0.0, per_client: str = "auto") -> Sampled:
    """Fully connected ReLU network with cross-entropy, plus regularizer / 2 |x|^2."""
    if not isinstance(hidden, list | tuple) or not hidden:
        raise InputError("model.hidden", hidden, "must be a list of layer widths, such as [64]")
    widths = [whole(f"hidden[{j}]", width) for j, width in enumerate(hidden)]
    shape, classes = _shape(setting)
    create = partial(MLP, math.prod(shape), widths, classes)
    return _network("mlp", setting, create, CROSS_ENTROPY, regularizer, per_client)


def cnn(setting: Setting, *, channels: Any = 16, regularizer: float = 0.0, per_client: str = "auto") -> Sampled:
    """Two convolutions with GroupNorm and a linear layer, cross-entropy, plus regularizer / 2 |x|^2.

    channels: filters of the first convolution, with twice as many in the second; or a list of both.
    """
    shape, classes = _shape(setting)
    if len(shape) != 3 or min(shape[1:]) < 4:
        advice = f"needs images (colours, height, width) of at least 4 x 4, not samples of shape {shape}"
        raise InputError("model.name", "cnn", advice)
    widths = channels if isinstance(channels, list | tuple) else [whole("channels", channels), 2 * channels]
    if len(widths) != 2:
        raise InputError("model.channels", channels, "must be a whole number or a list of two")
    first, second = (whole(f"channels[{j}]", width) for j, width in enumerate(widths))
    create = partial(CNN, (shape[0], shape[1], shape[2]), (first, second), classes)
    return _network("cnn", setting, create, CROSS_ENTROPY, regularizer, per_client)


def user(
    name: str,
    setting: Setting,
    *,
    args: Any = None,
    loss: str = "cross-entropy",
    regularizer: float = 0.0,
    per_client: str = "auto",
) -> Sampled:
    """A torch.nn.Module named "package.module:Class", plus regularizer / 2 |x|^2.

    args are its keyword arguments; loss is cross-entropy, mse or "package.module:function", where
    function(outputs, labels) is the mean over samples.
    """
    cls, given = load("model.name", name), {} if args is None else args
    if not isinstance(cls, type) or not issubclass(cls, nn.Module):
        raise InputError("model.name", name, "is not a class derived from torch.nn.Module")
    if not isinstance(given, dict):
        raise InputError("model.args", args, "must be a table of keyword arguments")

    def create() -> nn.Module:
        try:
            return cls(**given)
        except Exception as error:
            raise InputError("model.args", given, f"{name} fails: {type(error).__name__}: {error}") from error

    return _network(name, setting, create, find_loss(loss), regularizer, per_client)


def quadratic(
    setting: Setting,
    *,
    L: float = 1.0,
    mu: float | None = None,
    dim: int = 100,
    sigma: float | None = None,
    noise: str | float = "gaussian",
    x0: Any = 1.0,
    heterogeneity: float = 1.0,
) -> Quadratic:
    """1/2 (x - b_i)^T H (x - b_i), eigenvalues from mu to L, b_i normal times heterogeneity; known noise.

    mu is L / 10 unless given. sigma^2 = E|xi|^2 of one draw, 1 unless given. noise is gaussian, three-point
    or none; a number is gaussian noise of that sigma.
    """
    top, d = number("L", L, above=0), whole("dim", dim)
    low = top / 10 if mu is None else number("mu", mu, above=0)
    if low > top:
        raise InputError("model.mu", mu, f"must not exceed L = {top:g}")
    spread = number("heterogeneity", heterogeneity, least=0)
    b = centres(setting.seed, setting.clients, d, spread)
    return _quadratic(setting, spectrum(low, top, d), b, numbers("x0", x0, d), _noise(noise, sigma, d))


def theorem1(setting: Setting, *, L: float = 1.0, sigma: float = 1.0, x0: Any = (0.0, -1.0)) -> Quadratic:
    """L/2 |x|^2 on R^2 with three-point noise: Theorem 1 of the EF21-SGDM paper, where EF21-SGD fails."""
    H = spectrum(top := number("L", L, above=0), top, 2)
    b = torch.zeros(setting.clients, 2, dtype=torch.float64)
    return _quadratic(setting, H, b, numbers("x0", x0, 2), ThreePoint(number("sigma", sigma, least=0)))


def _l2(regularizer: Any) -> Regularizer | None:
    lam = number("regularizer", regularizer, least=0)
    return L2(lam) if lam else None


def _shape(setting: Setting) -> tuple[tuple[int, ...], int]:
    """Shape of a sample and the number of classes."""
    assert setting.data is not None
    return setting.data.shape, len(setting.data.classes)


def _softmax(setting: Setting, bias: Any) -> Softmax:
    shape, classes = _shape(setting)
    return Softmax(math.prod(shape), classes, flag("bias", bias))


def _network(
    name: str,
    setting: Setting,
    create: Callable[[], nn.Module],
    loss: Loss,
    regularizer: Any,
    per_client: Any,
) -> Sampled:
    r, how = _l2(regularizer), word("per_client", per_client, PER_CLIENT)
    assert setting.data is not None
    features = torch.tensor(setting.data.features[:2], dtype=setting.dtype)
    if not len(features):  # they lie elsewhere
        features = torch.zeros(2, *setting.data.shape, dtype=setting.dtype)
    # The highest label shows at once whether the module has an output for every class.
    labels = torch.full((len(features),), len(setting.data.classes) - 1)
    model = adopt(name, create, loss, setting.seed, features, labels)
    return over_data(setting, settle(name, model, how, setting.device, features, setting.shards), r)


def _noise(noise: Any, sigma: Any, dim: int) -> Noise | None:
    if not isinstance(noise, str):
        if sigma is not None:
            raise InputError("model.sigma", sigma, f"is already given by noise = {noise!r}; keep one of them")
        return Gaussian(number("noise", noise, least=0))
    kind = word("noise", noise, ("gaussian", "three-point", "none"))
    if kind == "none":
        if sigma is not None:
            raise InputError("model.sigma", sigma, 'has no meaning with noise = "none"; remove one of them')
        return None
    if kind == "three-point" and dim < 2:
        raise InputError("model.noise", noise, "lies in the plane, so it needs dim >= 2")
    size = number("sigma", 1.0 if sigma is None else sigma, least=0)
    return Gaussian(size) if kind == "gaussian" else ThreePoint(size)


def _quadratic(setting: Setting, H: Tensor, b: Tensor, x0: list[float], noise: Noise | None) -> Quadratic:
    if setting.weights != "equal":
        raise InputError("train.weights", setting.weights, 'there are no samples to count; use "equal"')
    n = setting.clients
    return Quadratic(
        H.to(setting.device),
        b.to(setting.device),
        range(n),
        torch.tensor(x0, dtype=setting.dtype),
        torch.full((n,), 1 / n, dtype=torch.float64),
        noise,
        setting.batch_size,
        setting.seed,
    )
