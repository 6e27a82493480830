"""The decoder under atheris, guided by coverage: `python -m tests.fuzz.fuzz_decode FOLDER [libFuzzer's options]`.

The folder collects what reached something new, and starts with one payload of every sort; a file that it left is
tried once more. Two bytes before a
payload say for which sort of receiver it is, and whether its checksum is made right again. Half of the mutations
are libFuzzer's, half are ours. It stops, with a file that holds the payload, where the decoder raises anything or
accepts what is not sound.

Kernels compiled by numba are not instrumented: what they do shows in what comes out of them.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from random import Random
from types import FunctionType, ModuleType
from typing import Any

import atheris

from fl_ef21 import messages, wire
from tests.fuzz.campaign import judged
from tests.fuzz.mutations import mutated, sealed
from tests.fuzz.seeds import Sort, sorts

MEND = 0x80  # bit of the second byte: make the checksum right again


def split(data: bytes) -> tuple[Sort, bytes]:
    """The receiver and the payload that an input stands for."""
    number, mend = data[0] | (data[1] & ~MEND) << 8, data[1] & MEND
    payload = data[2:]
    return sorts()[number % len(sorts())], sealed(payload[:-4]) if mend and len(payload) >= 4 else payload


def one(data: bytes) -> None:
    """Raises: Found, where the decoder handles this input wrongly."""
    if len(data) >= 2:
        sort, payload = split(data)
        judged(sort, [payload])


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Another input of at most so many bytes."""
    rng = Random(seed)
    if len(data) < 6 or rng.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    sort, payload = split(data)
    return (data[:2] + mutated(payload, sort.payloads, rng, repair=rng.random() < 0.9))[:most]


def instrument(module: ModuleType) -> None:
    """Tells atheris of every branch of this module's functions, those that numba compiles left out."""

    def each(owner: Any) -> None:
        for part in list(vars(owner).values()):
            part = getattr(part, "__func__", getattr(part, "fget", part))
            if isinstance(part, FunctionType) and part.__module__ == module.__name__:
                atheris.instrument_func(part)
            elif inspect.isclass(part) and part.__module__ == module.__name__ and part is not owner:
                each(part)

    each(module)


def seed(folder: Path) -> None:
    """Writes the corpus to start from."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sort in enumerate(sorts()):
        for mend in (0, MEND):
            head = bytes([number & 255, number >> 8 | mend])
            (folder / f"sort-{number}-{mend}").write_bytes(head + min(sort.payloads, key=len))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    if not (folder := Path(sys.argv[1])).is_file():
        seed(folder)
    names = [name for name in sys.modules if name == wire.__name__ or name.startswith(f"{wire.__name__}.")]
    for name in (*names, messages.__name__):
        instrument(sys.modules[name])
    atheris.Setup([sys.argv[0], "-max_len=6000", *sys.argv[1:]], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
