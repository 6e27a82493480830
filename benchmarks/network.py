"""The small CNN that all sides train: 50,186 parameters on 28 x 28 images of ten classes."""

from __future__ import annotations

from torch import Tensor, nn

from benchmarks.cases import CLASSES, SIDE


class Net(nn.Module):
    """Two 3x3 convolutions of 32 and 64 filters, each with ReLU and 2x2 pooling, then one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 4) ** 2, CLASSES),
        )

    def forward(self, a: Tensor) -> Tensor:
        """Scores (N, 10) of flat images (N, 784)."""
        out: Tensor = self.layers(a)
        return out
