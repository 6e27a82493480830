"""Shadow compressors: what others would have sent of the very vectors that a method's own compressor is given.

They only look on. A client answers with figures, never with what they made, so nothing of them enters g or a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.blocks import Array
from fl_ef21.types import Compress, Compressor

OWN = "own"  # stands where a shadow's word does, for the method's own compressor
_FIGURES = np.dtype("<f8")  # of a client: payload bytes and kept energy of its own compressor, then of every shadow


@dataclass(frozen=True)
class Shadow:
    """Attributes: word, what the scenario calls it; C."""

    word: str
    C: Compressor


@dataclass(frozen=True)
class Seen:
    """What one shadow would have done in a round, as means over the clients that were asked.

    Attributes:
      word: the scenario's, or `OWN`.
      alpha: the contraction that the compressor claims, None where it claims none.
      clients: over how many the means are.
      payload_bytes: of a message; None where nobody could say.
      kept_energy: 1 - |C(u) - u|^2 / |u|^2, below 0 for what is worse than sending nothing; None where nobody
        could say.
    """

    word: str
    alpha: float | None
    clients: int
    payload_bytes: float | None
    kept_energy: float | None

    def figures(self) -> dict[str, float | None]:
        """All but the word, under these names."""
        return {name: value for name, value in vars(self).items() if name != "word"}


def weigh(u: Tensor, C: Compress, layers: wire.Layers = ()) -> Array:
    """Payload bytes and kept energy (n, 2) of C on each row of u (n, d), by really encoding its messages.

    NaN for all rows where C refuses them. A row of zeros has no energy: NaN.
    """
    try:
        c = C(u)
        payloads = wire.encode(c, layers)
    except (ValueError, torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # a vector without a message
        return np.full((len(u), 2), np.nan)
    exact = u.to(torch.float64)
    lost, whole = (exact - c).square().sum(dim=1), exact.square().sum(dim=1)
    kept = torch.where(whole > 0, 1 - lost / whole, torch.nan)
    return np.stack([np.array([len(one) for one in payloads], dtype=float), kept.cpu().numpy()], axis=1)


def pack(figures: Sequence[Array]) -> list[bytes]:
    """A payload for each client, from one (n, 2) array for each compressor."""
    return [one.astype(_FIGURES).tobytes() for one in np.stack(figures, axis=1)]


def means(named: Sequence[tuple[str, float | None]], payloads: Sequence[bytes]) -> list[Seen]:
    """What payloads of `pack` come to, for compressors of these words and alphas.

    Payloads of another length are passed over, as is the empty one of a client that begins with a gradient.
    """
    told = [payload for payload in payloads if len(payload) == 2 * len(named) * _FIGURES.itemsize]
    table = np.frombuffer(b"".join(told), _FIGURES).reshape(len(told), len(named), 2)
    return [
        Seen(word, alpha, int(np.isfinite(table[:, j, 0]).sum()), _mean(table[:, j, 0]), _mean(table[:, j, 1]))
        for j, (word, alpha) in enumerate(named)
    ]


def _mean(numbers: Array) -> float | None:
    finite = numbers[np.isfinite(numbers)]
    return float(finite.mean()) if len(finite) else None
