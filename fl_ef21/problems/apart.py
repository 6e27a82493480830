"""What a model gives each client, in one pass over everybody's samples: a forward pass in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.each import Each, reweighted
from fl_ef21.problems.around import Around
from fl_ef21.problems.sampled import EVALUATION, Sampled
from fl_ef21.types import Problem

Judged = tuple[Array | None, Array | None]  # losses and hits, (N,) float64


def each(problem: Problem, x: Tensor) -> Each:
    """f_i and accuracies at x (d,) of every client, NaN for those whose samples are not here.

    A client's figures are those of its true samples, whatever an attack makes of them.
    """
    while isinstance(problem, Around):
        problem = problem.problem
    if isinstance(problem, Sampled):
        return _of_samples(problem, x)
    ids = torch.arange(problem.clients)
    return Each.of_sums(problem.clients, ids.numpy(), problem.sums(x, ids))


def _of_samples(p: Sampled, x: Tensor) -> Each:
    y = x.to(p.features.device, torch.float64)
    losses, hits = _judged(p, y, p.features, p.labels)
    sizes = p.sizes.cpu().numpy().astype(np.float64)
    out = Each.nothing(p.clients)
    held = np.flatnonzero(sizes)
    out.samples[held] = sizes[held]
    if losses is None:
        ids = torch.from_numpy(held)
        out.loss[held] = p.sums(x, ids)[:, 1].numpy() / sizes[held]
    else:
        r = 0.0 if p.regularizer is None else float(p.regularizer.value(y))
        out.loss[held] = _means(losses, p, held) + r
    if hits is not None:
        out.accuracy[held] = _means(hits, p, held)
        out.test_accuracy[held] = _tested(p, y, held)
    return out


def _judged(p: Sampled, y: Tensor, features: Tensor, labels: Tensor) -> Judged:
    """Each sample's loss, and 1 where it is predicted right. None where the model does not say."""
    losses, hits = list[Tensor](), list[Tensor]()
    size = max(1, EVALUATION // math.prod(features.shape[1:]))
    for a, b in zip(torch.split(features, size), torch.split(labels, size), strict=True):
        loss, predicted = p.model.judge(y, a.to(torch.float64), b)
        losses += [] if loss is None else [loss.cpu()]
        hits += [] if predicted is None else [(predicted == b).to(torch.float64).cpu()]
    return (torch.cat(losses).numpy() if losses else None), (torch.cat(hits).numpy() if hits else None)


def _means(values: Array, p: Sampled, held: Array) -> Array:
    """(m,) over the samples of these clients, which lie one client after another."""
    found: Array = np.add.reduceat(values, p.first.cpu().numpy()[held]) / p.sizes.cpu().numpy()[held]
    return found


def _tested(p: Sampled, y: Tensor, held: Array) -> Array:
    """(m,) accuracies of these clients over test samples."""
    features, labels = p.test
    hits = _judged(p, y, features, labels)[1] if len(labels) else None
    if hits is None:
        return np.full(len(held), np.nan)
    if p.tested is not None:
        tested = p.tested.numpy()
        ends = np.concatenate([[0.0], hits.cumsum()])[np.concatenate([[0], tested.cumsum()])]
        with np.errstate(invalid="ignore"):
            found: Array = (np.diff(ends) / tested)[held]
        return found
    mine, truth = p.labels.cpu().numpy(), labels.cpu().numpy()
    classes = 1 + int(max(mine.max(initial=0), truth.max(initial=0)))
    owner = np.repeat(np.arange(len(held)), p.sizes.cpu().numpy()[held])
    mix = np.bincount(owner * classes + mine, minlength=len(held) * classes).reshape(-1, classes)
    tested = np.bincount(truth, minlength=classes)
    return reweighted(mix.astype(np.float64), np.bincount(truth, hits, minlength=classes), tested)
