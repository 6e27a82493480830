"""Schedules are short and many: one thread, and what is loaded already is left out of garbage collections."""

import gc
from collections.abc import Iterator

import pytest

from fl_ef21.threads import computing_with


@pytest.fixture(autouse=True, scope="package")
def quick() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    with computing_with(1):
        yield
    gc.unfreeze()
