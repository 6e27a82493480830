"""A problem over data: f_i is the mean of a model's loss over client i's samples, plus a regulariser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21 import pages, randomness
from fl_ef21.problems.dealing import dealt, points
from fl_ef21.problems.options import BatchSize
from fl_ef21.problems.regularizers import Regularizer

Shapes = tuple[tuple[str, tuple[int, ...]], ...]

# Numbers of sample data worked on at a time, which bound memory. Evaluation takes less than a tile of clients
# does: in float64, activations that stay in the cache make a convolution twice as fast.
_TILE = 1 << 21
EVALUATION = 1 << 17


class Model(Protocol):
    """A loss per sample and its gradients, knowing nothing of clients, rounds or regularisers."""

    @property
    def shapes(self) -> Shapes:
        """The named parameter tensors, in the order in which they lie in x."""
        ...

    @property
    def start(self) -> Tensor:
        """(d,), on the CPU."""
        ...

    def gradients(self, x: Tensor, features: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        """(n, d): per row of samples (n, B), of the mean loss over these of features (M, *shape) and labels (M,).

        x is (d,), or (n, d) with a point for every client.
        """
        ...

    @property
    def rowwise(self) -> bool:
        """Whether, on the CPU, a row of `gradients` is bitwise the same whatever the others are."""
        ...

    def weighted(self, x: Tensor, features: Tensor, labels: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """sum_k s_k loss_k and its gradient (d,), in float64: x, features (N, *shape) and s (N,) are."""
        ...

    def total(self, x: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """sum_k loss_k, a scalar in float64: x and features (N, *shape) are."""
        ...

    def predict(self, x: Tensor, features: Tensor) -> Tensor | None:
        """Labels (N,), None where the model's output names no class."""
        ...

    def judge(self, x: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """loss_k (N,), None where only means are known, and `predict`, in one go: x and features are float64."""
        ...


@dataclass(frozen=True, eq=False)
class Sampled:
    """A `Problem`. A shard's `objective` is sum_i w_i f_i over its own clients: shards add up to f.

    Clients' gradients are on the data's device; what the server holds (x0, weights, the objective's gradient)
    is on the CPU.

    Attributes:
      features, labels: (M, *shape) in the training dtype and (M,), client after client.
      first, sizes: (clients,), where a client's samples begin and how many; size 0 where not held here.
      batch_size: samples drawn with replacement per client and round, "full" takes each once; of several, each
        client has its own, dealt in turn.
      test: features and labels, empty where there is no test set; in a shard those that its clients keep.
      tested: (clients,) int64 on the CPU, how many of them each client keeps, one after another; None where they are
        nobody's.
    """

    model: Model
    regularizer: Regularizer | None
    features: Tensor
    labels: Tensor
    first: Tensor
    sizes: Tensor
    weights: Tensor
    batch_size: BatchSize | tuple[BatchSize, ...]
    seed: int
    test: tuple[Tensor, Tensor]
    tested: Tensor | None = None

    @property
    def dim(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes)

    @property
    def shapes(self) -> Shapes:
        return self.model.shapes

    @property
    def clients(self) -> int:
        return len(self.sizes)

    @property
    def rowwise(self) -> bool:
        return self.features.device.type == "cpu" and self.model.rowwise

    def x0(self) -> Tensor:
        return self.model.start.to(self.features.dtype, copy=True)

    @property
    def costs(self) -> Tensor:
        sizes = self.sizes.cpu()
        B = dealt(draws(self.batch_size), torch.arange(self.clients))
        return torch.where(B == 0, sizes, B).to(torch.float64)

    def gradients(self, x: Tensor, clients: Tensor, round: int, step: int = 0) -> Tensor:
        """See `Problem` and `Stepped`. Raises: IndexError where a client is not held by this shard."""
        x, clients = x.to(self.features), clients.to(self.sizes)
        first, sizes = self.first[clients], self.sizes[clients]
        if not bool(sizes.all()):
            raise IndexError(f"clients {clients[sizes == 0].tolist()} are not in this shard")
        if self.batch_size == "full":
            out = self._full(x, first, sizes)
        else:
            key = randomness.keys(self.seed, purpose("sample", step), clients, round)
            if isinstance(self.batch_size, tuple):
                out = self._dealt(x, dealt(draws(self.batch_size), clients), first, sizes, key)
            else:
                out = self._mean(x, first[:, None] + randomness.below(key, self.batch_size, sizes))
        return out if self.regularizer is None else out.add_(self.regularizer.gradient(x))

    def _full(self, x: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
        """Clients of one size at a time, so that nobody's samples are padded."""
        out = x.new_empty(len(first), self.dim)
        for size in sorted(set(sizes.tolist())):
            mine = (sizes == size).nonzero()[:, 0]
            samples = first[mine, None] + torch.arange(size, device=first.device)
            out[mine] = self._mean(points(x, mine), samples)
        return out

    def _dealt(self, x: Tensor, draw: Tensor, first: Tensor, sizes: Tensor, key: Tensor) -> Tensor:
        """Clients of one batch size at a time, so that nobody's gradient depends on how many others draw."""
        out = x.new_empty(len(first), self.dim)
        for count in sorted(set(draw.tolist())):
            mine = (draw == count).nonzero()[:, 0]
            at, begin, size = points(x, mine), first[mine], sizes[mine]
            if count == 0:
                out[mine] = self._full(at, begin, size)
            else:
                out[mine] = self._mean(at, begin[:, None] + randomness.below(key[mine], count, size))
        return out

    def _mean(self, x: Tensor, samples: Tensor) -> Tensor:
        """Mean gradients (n, d) over the samples (n, B). Long rows are cut, at places set by B alone."""
        if x.ndim == 2:
            return self._mean_of_each(x, samples)
        n, B = samples.shape
        most = self._samples(_TILE)
        if n * B <= most:
            return self._on(x, samples)
        if most >= B:
            return torch.cat([self._on(x, samples[i : i + m]) for i, m in _spans(n, most // B)])
        out = x.new_zeros(n, len(x))
        for i in range(n):
            for j, m in _spans(B, most):
                out[i] += self._on(x, samples[i : i + 1, j : j + m])[0] * (m / B)
        return out

    def _mean_of_each(self, x: Tensor, samples: Tensor) -> Tensor:
        """As `_mean`, with a point for every client: x (n, d)."""
        n, B = samples.shape
        most = self._samples(_TILE)
        if most < B:
            return torch.cat([self._mean(x[i].clone(), samples[i : i + 1]) for i in range(n)])
        return torch.cat([self._on(x[i : i + m], samples[i : i + m]) for i, m in _spans(n, most // B)])

    def _on(self, x: Tensor, samples: Tensor) -> Tensor:
        return self.model.gradients(x, self.features, self.labels, samples)

    def together(self, B: int) -> int:
        """Clients with B samples each whose gradients are taken in one call of the model, at least one."""
        return max(1, self._samples(_TILE) // B)

    def _samples(self, numbers: int) -> int:
        return max(1, numbers // math.prod(self.features.shape[1:]))

    def objective(self, x: Tensor) -> tuple[float, Tensor]:
        # Samples are cast piece by piece: a float64 copy would save a sixth of the time for twice the memory.
        x = x.to(self.features.device, torch.float64)
        held = self.sizes > 0
        w = self.weights.to(x.device)[held]
        s = (w / self.sizes[held]).repeat_interleave(self.sizes[held])
        value, gradient = x.new_zeros(()), torch.zeros_like(x)
        for i, m in _spans(len(s), self._samples(EVALUATION)):
            features = self.features[i : i + m].to(torch.float64)
            v, g = self.model.weighted(x, features, self.labels[i : i + m], s[i : i + m])
            value, gradient = value + v, gradient + g
        if self.regularizer is not None:
            value = value + w.sum() * self.regularizer.value(x)
            gradient = gradient + w.sum() * self.regularizer.gradient(x)
        return float(value), gradient.cpu()

    def accuracy(self, x: Tensor) -> float | None:
        right = self._right(x, *self.test)
        return None if right is None else right / len(self.test[1])

    def _right(self, x: Tensor, features: Tensor, labels: Tensor) -> int | None:
        """How many of these are predicted right; None where there are none, or the model names no classes."""
        x, right = x.to(features), 0
        for i, m in _spans(len(labels), self._samples(EVALUATION)):
            predicted = self.model.predict(x, features[i : i + m])
            if predicted is None:
                return None
            right += int((predicted == labels[i : i + m]).sum())
        return right if len(labels) else None

    def sums(self, x: Tensor, clients: Tensor) -> Tensor:
        """See `Problem`. Raises: IndexError where a client is not held by this shard."""
        out = torch.zeros(len(clients), 4, dtype=torch.float64)
        y = x.to(self.features.device, torch.float64)
        r = 0.0 if self.regularizer is None else float(self.regularizer.value(y))
        ends = None if self.tested is None else self.tested.cumsum(0).tolist()
        for row, i in enumerate(clients.tolist()):
            first, size = int(self.first[i]), int(self.sizes[i])
            if not size:
                raise IndexError(f"client {i} is not in this shard")
            out[row, 0], out[row, 1] = size, self._total(y, first, size) + size * r
            if self.tested is not None and ends is not None and (m := int(self.tested[i])):
                mine = slice(ends[i] - m, ends[i])
                right = self._right(x, self.test[0][mine], self.test[1][mine])
                out[row, 2:] = torch.tensor([0.0, 0.0] if right is None else [float(m), float(right)])
        return out

    def _total(self, x: Tensor, first: int, size: int) -> float:
        """The sum of a client's losses."""
        total = x.new_zeros(())
        for i, m in _spans(size, self._samples(EVALUATION)):
            mine = slice(first + i, first + i + m)
            total += self.model.total(x, self.features[mine].to(torch.float64), self.labels[mine])
        return float(total)

    def shard(self, clients: range) -> Sampled:
        ids = torch.tensor(clients, dtype=torch.int64, device=self.sizes.device)
        old, m = self.first[ids], self.sizes[ids]
        new = m.cumsum(0) - m
        samples = torch.arange(int(m.sum()), device=m.device) + (old - new).repeat_interleave(m)
        test, tested = self._kept(clients)
        first, sizes = torch.zeros_like(self.first).index_copy_(0, ids, new), torch.zeros_like(self.sizes)
        features, labels = _rows(self.features, samples), self.labels[samples]
        held = replace(self, features=features, labels=labels, first=first, sizes=sizes.index_copy_(0, ids, m))
        return replace(held, test=test, tested=tested)

    def _kept(self, clients: range) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """The test samples of these clients, and whose they are; copies, as a view would travel with all it views."""
        features, labels = self.test
        if self.tested is None:
            return (features[:0].clone(), labels[:0].clone()), None
        held = torch.zeros_like(self.tested, dtype=torch.bool)
        held[torch.tensor(clients, dtype=torch.int64)] = True
        mine = held.repeat_interleave(self.tested).to(labels.device)
        return (features[mine], labels[mine]), self.tested * held


def _rows(features: Tensor, samples: Tensor) -> Tensor:
    """features[samples], on the CPU in large pages."""
    if features.device.type != "cpu":
        return features[samples]
    out = pages.empty((len(samples), *features.shape[1:]), features.dtype)
    return torch.index_select(features, 0, samples, out=out)


def gather(features: Tensor, labels: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """The rows `samples` (n, B) of features (M, *shape) and labels (M,): (n, B, *shape) and (n, B)."""
    flat = samples.reshape(-1)  # index_select, because indexing is three times slower
    picked = features.index_select(0, flat).view(*samples.shape, *features.shape[1:])
    return picked, labels.index_select(0, flat).view(samples.shape)


def draws(batch_size: BatchSize | tuple[BatchSize, ...]) -> tuple[int, ...]:
    """Samples drawn, an entry for each batch size; 0 for "full"."""
    sizes = batch_size if isinstance(batch_size, tuple) else (batch_size,)
    return tuple(0 if size == "full" else size for size in sizes)


def purpose(name: str, step: int) -> str:
    """What a draw is keyed by; the first step draws what a client without local steps does."""
    return f"{name}, step {step}" if step else name


def _spans(total: int, most: int) -> list[tuple[int, int]]:
    """0 .. total - 1 cut into (begin, length), each at most `most` long."""
    return [(i, min(most, total - i)) for i in range(0, total, most)]
