"""Mutated payloads by the thousand: `python -m tests.fuzz.campaign [--mutations 1000000] [--seed 0]`.

Half of them have their checksum made right again. The decoder must raise nothing, refuse a wrong checksum, hold at
most 10 MB at once, and whatever it accepts must be sound, and come back alike when it is sent on. Decoding and
summing at once must refuse the same, and give the same sum. The first thing found ends it, with all that is needed to
see it again; where the process itself dies, `tests.fuzz.replay` finds the payload in the file `LAST`.
"""

from __future__ import annotations

import argparse
import faulthandler
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed
from fl_ef21.threads import computing_with
from tests.fuzz.mutations import CRC, mutated, sealed
from tests.fuzz.seeds import Sort, sorts
from tests.fuzz.soundness import measured, summed_otherwise, unequal, unsound

LIMIT = 10_000_000  # bytes, beyond the payloads themselves
LAST = Path(".fuzz/last.txt")  # the sort and the payloads that are being decoded, in hexadecimal
BATCH, ENTRIES = 500, 100_000  # payloads decoded at once: so many, and with so many entries


class Found(Exception):
    """A payload that the decoder handles wrongly."""


@dataclass
class Tally:
    """What came of the mutations.

    Attributes:
      accepted: with the checksum made right again, decoded to something sound.
      reasons: how often each refusal.
      peak: most bytes held at once while decoding a batch.
    """

    mutations: int = 0
    repaired: int = 0
    accepted: int = 0
    peak: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
        return (
            f"{self.mutations:,} mutated payloads, {self.repaired:,} with the checksum made right again: "
            f"{self.accepted:,} decoded to something sound, the others refused ({reasons}); "
            f"at most {self.peak / 1e6:.1f} MB held at once"
        )


def campaign(mutations: int, seed: int = 0, last: Path | None = None) -> Tally:
    """So many mutations, spread over all sorts; each batch is written to the file `last` first. Raises: Found."""
    tally, number, started = Tally(), 0, tracemalloc.is_tracing()
    if not started:
        for sort in sorts():  # loads and compiles what is needed
            wire.decode(sort.payloads, sort.spec)
        tracemalloc.start()
    try:
        while tally.mutations < mutations:
            sort = sorts()[number % len(sorts())]
            size = min(BATCH, max(1, ENTRIES // max(1, sort.entries)), mutations - tally.mutations)
            batch(sort, size, Random(f"{seed} {number}"), tally, last)
            number += 1
    finally:
        if not started:
            tracemalloc.stop()
    return tally


def batch(sort: Sort, size: int, rng: Random, tally: Tally, last: Path | None) -> None:
    """Mutates, decodes and judges `size` payloads of one sort."""
    others = [*sort.payloads, *rng.choice(sorts()).payloads]
    repair = [row % 2 == 1 for row in range(size)]
    payloads = [mutated(rng.choice(sort.payloads), others, rng, mend) for mend in repair]
    if last:
        last.write_text("\n".join([sort.name, *(payload.hex() for payload in payloads)]))
    refused, peak = judged(sort, payloads)
    for row, payload in enumerate(payloads):
        if row not in refused and payload[-CRC:] != sealed(payload[:-CRC])[-CRC:]:
            raise Found(told(sort, payload, "a wrong checksum is accepted"))
    tally.mutations += size
    tally.repaired += sum(repair)
    tally.accepted += size - len(refused)
    tally.peak = max(tally.peak, peak)
    tally.reasons.update(r.reason for r in refused.values())


def judged(sort: Sort, payloads: Sequence[bytes]) -> tuple[dict[int, Refused], int]:
    """Who is refused, and the most bytes held at once. Raises: Found, for the first payload that does it alone."""
    found, c, refused, peak = _judged(sort, payloads)
    if found and len(payloads) > 1:
        for payload in payloads:
            judged(sort, [payload])
        raise Found(f"{sort.name}: {found}, only in a batch of {len(payloads)}: {[p.hex() for p in payloads]}")
    if found or c is None:
        raise Found(told(sort, payloads[0], found))
    return refused, peak


def _judged(sort: Sort, payloads: Sequence[bytes]) -> tuple[str, Compressed | None, dict[int, Refused], int]:
    try:
        (c, refused), peak = measured(lambda: wire.decode(payloads, sort.spec))
        if peak > LIMIT:
            return f"{peak / 1e6:.1f} MB are held at once", c, refused, peak
        wrong = unsound(c, sort.spec, refused, len(payloads))
        accepted = [row for row in range(len(payloads)) if row not in refused]
        if wrong is None and accepted:
            wrong = unequal(c, sort.spec, accepted)
        if wrong is None:
            wrong = summed_otherwise(payloads, sort.spec, c, refused)
        return wrong or "", c, refused, peak
    except Exception as error:
        return f"{type(error).__name__}: {error}", None, {}, 0


def told(sort: Sort, payload: bytes, found: str) -> str:
    """What somebody needs to see it again."""
    return f"{found}\n  sort: {sort.name}\n  payload: {payload.hex()}"


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m tests.fuzz.campaign", description="Mutated payloads, decoded.")
    ask.add_argument("--mutations", type=int, default=1_000_000)
    ask.add_argument("--seed", type=int, default=0, help="other mutations")
    given = ask.parse_args()
    began = time.monotonic()
    faulthandler.enable()
    LAST.parent.mkdir(exist_ok=True)
    try:
        with computing_with(1):
            tally = campaign(given.mutations, given.seed, LAST)
    except Found as found:
        raise SystemExit(f"found: {found}") from None
    print(f"{tally.text()}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
