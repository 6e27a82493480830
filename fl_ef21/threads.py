"""How many threads torch and the kernels' BLAS compute with, for as long as it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

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
        with _blas().limit(limits=threads):
            yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


@cache
def _blas() -> Any:
    """The BLAS libraries that this process has loaded, scipy's among them, which numba's products use."""
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
