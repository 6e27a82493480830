"""A problem over data: f_i is the mean of a model's loss over client i's samples, plus a regulariser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import pages, randomness
from fl_ef21.errors import InputError
from fl_ef21.problems.dealing import dealt, points
from fl_ef21.problems.options import BatchSize, Setting
from fl_ef21.problems.regularizers import Regularizer

Shapes = tuple[tuple[str, tuple[int, ...]], ...]

# Numbers of sample data worked on at a time, which bound memory. Evaluation takes less than a tile of clients
# does: in float64, activations that stay in the cache make a convolution twice as fast.
_TILE = 1 << 21
_EVALUATION = 1 << 17


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

    def predict(self, x: Tensor, features: Tensor) -> Tensor | None:
        """Labels (N,), None where the model's output names no class."""
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
      test: features and labels, empty where there is no test set and in a shard.
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
        for i, m in _spans(len(s), self._samples(_EVALUATION)):
            features = self.features[i : i + m].to(torch.float64)
            v, g = self.model.weighted(x, features, self.labels[i : i + m], s[i : i + m])
            value, gradient = value + v, gradient + g
        if self.regularizer is not None:
            value = value + w.sum() * self.regularizer.value(x)
            gradient = gradient + w.sum() * self.regularizer.gradient(x)
        return float(value), gradient.cpu()

    def accuracy(self, x: Tensor) -> float | None:
        features, labels = self.test
        x, right = x.to(features), 0
        for i, m in _spans(len(labels), self._samples(_EVALUATION)):
            predicted = self.model.predict(x, features[i : i + m])
            if predicted is None:
                return None
            right += int((predicted == labels[i : i + m]).sum())
        return right / len(labels) if len(labels) else None

    def shard(self, clients: range) -> Sampled:
        ids = torch.tensor(clients, dtype=torch.int64, device=self.sizes.device)
        old, m = self.first[ids], self.sizes[ids]
        new = m.cumsum(0) - m
        samples = torch.arange(int(m.sum()), device=m.device) + (old - new).repeat_interleave(m)
        return replace(
            self,
            test=(self.test[0][:0].clone(), self.test[1][:0].clone()),  # a view would travel with all it views
            features=_rows(self.features, samples),
            labels=self.labels[samples],
            first=torch.zeros_like(self.first).index_copy_(0, ids, new),
            sizes=torch.zeros_like(self.sizes).index_copy_(0, ids, m),
        )


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


def over_data(setting: Setting, model: Model, regularizer: Regularizer | None) -> Sampled:
    """The clients' samples of `setting` laid one after another, on its device and in its dtype.

    Raises: InputError where the parts and the clients do not match.
    """
    assert setting.data is not None and setting.parts is not None
    data, parts = setting.data, setting.parts
    smallest = min((len(part) for part in parts), default=0)
    if len(parts) != setting.clients or smallest == 0:
        advice = f"but the partition has {len(parts)} parts, the smallest of {smallest} samples"
        raise InputError("partition.clients", setting.clients, advice)
    sizes = torch.tensor([len(part) for part in parts], dtype=torch.int64)
    samples = np.concatenate(parts)
    share = sizes.to(torch.float64) if setting.weights == "samples" else torch.ones(len(sizes)).double()

    def put(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=setting.device)

    return Sampled(
        model,
        regularizer,
        features=torch.from_numpy(data.features[samples]).to(setting.device, setting.dtype),
        labels=put(data.labels[samples], torch.int64),
        first=(sizes.cumsum(0) - sizes).to(setting.device),
        sizes=sizes.to(setting.device),
        weights=share / share.sum(),
        batch_size=setting.batch_size,
        seed=setting.seed,
        test=(put(data.test_features, setting.dtype), put(data.test_labels, torch.int64)),
    )
