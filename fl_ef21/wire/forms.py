"""Values as bytes: what of each kind is sent as it is, what as numbers, and what a receiver finds wrong with them.

A form is what both sides know beforehand about the values of a message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21.messages import Values
from fl_ef21.wire.bits import Array

WORDS = {torch.float64: np.uint64, torch.float32: np.uint32, torch.bfloat16: np.uint16, torch.float16: np.uint16}
FLOATS = tuple(WORDS)  # in the order of their codes


class Form(ABC):
    """How one kind of values is written.

    A client of k entries sends `plains(k)` bytes as they are and `numbers(k)` numbers below 2^width.

    Attributes:
      parameters: bytes before them that are the same in every message.
    """

    @property
    def parameters(self) -> bytes:
        return b""

    @property
    @abstractmethod
    def code(self) -> int:
        """The low nibble of the kind byte."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Bits of a number, 1 .. 32."""

    @abstractmethod
    def plains(self, counts: Array) -> Array:
        """(n,) from (n,) int64."""

    @abstractmethod
    def numbers(self, counts: Array) -> Array:
        """(n,) from (n,) int64."""

    @abstractmethod
    def split(self, values: Any, counts: Array) -> tuple[Array, Array]:
        """Both of all clients, flat: uint8 and uint32."""

    @abstractmethod
    def join(self, plain: Array, x: Array, counts: Array) -> Values:
        """The values that are written so; zeros make zeros."""

    @abstractmethod
    def faults(self, plain: Array, x: Array, counts: Array) -> Array:
        """(n,) whether a client says what is not finite or what no sender may say."""


def array(t: Tensor) -> Array:
    """On the CPU; a float as the word that holds it."""
    t = t.detach().cpu().contiguous()
    return t.view(torch.int16).numpy() if t.dtype == torch.bfloat16 else t.numpy()


def octets(t: Tensor) -> Array:
    """Its bytes, flat."""
    return array(t).reshape(-1).view(np.uint8)


def tensor(bytes: Array, dtype: torch.dtype) -> Tensor:
    """Floats from their bytes, flat."""
    return torch.from_numpy(np.ascontiguousarray(bytes).view(f"i{dtype.itemsize}")).view(dtype)


def turned(t: Tensor) -> Array:
    """Floats of 32 or 16 bits as uint32 numbers, the sign as the lowest bit: alike in size means alike as numbers."""
    word = array(t).reshape(-1).view(WORDS[t.dtype])
    size = 8 * word.itemsize
    return ((word << 1) | (word >> (size - 1))).astype(np.uint32, copy=False)


def unturned(x: Array, dtype: torch.dtype) -> Tensor:
    """The floats of these numbers."""
    word = x.astype(WORDS[dtype], copy=False)
    return tensor((word >> 1) | (word << (8 * word.itemsize - 1)), dtype)


def limit_of(dtype: torch.dtype) -> int:
    """Infinity as a number: what is as large is not finite."""
    return int(turned(torch.tensor([torch.inf], dtype=dtype))[0])


def code_of(first: int, dtype: torch.dtype) -> int:
    return first + FLOATS.index(dtype)


def any_of_each(wrong: Array, sizes: Array) -> Array:
    """(n,) whether any of a client's flags is set; wrong flat bool, `sizes` (n,) of each client."""
    if not wrong.any():
        return np.zeros(len(sizes), dtype=bool)
    counted = np.concatenate([[0], np.cumsum(wrong)])
    ends = np.cumsum(sizes)
    found: Array = counted[ends] > counted[ends - sizes]
    return found


def not_finite(t: Tensor) -> Array:
    return ~torch.isfinite(t.reshape(-1)).numpy()
