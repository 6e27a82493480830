"""Two small networks for images and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected layers with ReLU between them; images are flattened."""

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU()]
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.layers(a)
        return out


class CNN(nn.Module):
    """Two 3x3 convolutions of `channels` filters, each with GroupNorm, 2x2 pooling and ReLU, then one linear
    layer. 20,586 parameters for channels (16, 32) on 28x28 images of ten classes.

    `shape` is (colours, height, width), each side at least 4. GroupNorm keeps no running statistics, so a
    client's gradient depends on its own samples alone.
    """

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, int], classes: int) -> None:
        super().__init__()
        colours, height, width = shape
        first, second = channels
        self.layers = nn.Sequential(
            nn.Conv2d(colours, first, 3, padding=1),
            nn.GroupNorm(math.gcd(first, 4), first),
            nn.MaxPool2d(2),  # before ReLU, which then has a quarter to do and gives the same numbers
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.GroupNorm(math.gcd(second, 4), second),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * (height // 4) * (width // 4), classes),
        )

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.layers(a)
        return out
