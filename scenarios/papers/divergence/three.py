"""f_i(x) = <a_i, x>^2 + |x|^2 / 4 on R^3, one sample a_i for each of three clients, started at (1, 1, 1).

With Top1 every client sends the one coordinate that points the wrong way: x grows by 1 + 11 gamma / 6 a round. The
regulariser |x|^2 / 4 is the scenario's. Source: Beznosikov, Horvath, Richtarik, Safaryan. On Biased Compression for
Distributed Learning. JMLR 2023, Example 1 [recalled; the closed form is derived].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Three(nn.Module):
    """<a, x> of samples a (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(3))

    def forward(self, a: Tensor) -> Tensor:
        """(N,)."""
        return a @ self.x


def square(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean of squares, a scalar; labels only say whose sample it is."""
    return outputs.square().mean()
