"""How many threads torch computes with, for as long as it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """A fixed number of threads, on which the last bit of a matrix product may depend.

    One thread also where work is small: idle OpenMP threads spin for a while after every call and take the
    cores from the actors.
    """
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
