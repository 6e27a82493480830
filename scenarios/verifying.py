"""`fl-ef21 verify`: random rounds of a durable run, computed again in this process and compared with its journal."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from fl_ef21.cut import Cut
from fl_ef21.engine import Settings
from fl_ef21.errors import Refused
from scenarios import footprint
from scenarios.checks import Check, opened
from scenarios.lasting import SERVER, cut_before, images
from scenarios.run_file import RunFile
from scenarios.runner import resident
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.journal import Journal
from strategies.rounds import Commit

Stretch = tuple[Cut | None, int, list[int]]  # where it begins, the round after which, and the drawn rounds in it


def verify(folder: Path, rounds: int, seed: int | None) -> list[Check]:
    """A line for each of so many drawn rounds, and one for how many were computed on the way to them.

    Raises: InputError where the folder holds no durable run; Refused where its journal is damaged.
    """
    with opened(folder) as (run, setup, journal):
        done = [(m, r) for m in range(len(setup.plans)) for r in range(1, journal.last(m) + 1)]
        drawn = sorted(random.Random(seed).sample(done, min(rounds, len(done))))
        found, computed = list[Check](), 0
        for number in sorted({m for m, _ in drawn}):
            wanted = [r for m, r in drawn if m == number]
            for begin, after, some in _stretches(run, number, wanted):
                checks = list(_stretch(run, setup, journal, number, begin, after, some))
                found += [check for check in checks if not check.good or check.what in {f"round {r}" for r in some}]
                computed += len(checks)
        told = f"{computed} rounds were computed again for {len(drawn)} of {len(done)}"
        return [*found, Check("all", "rounds", bool(drawn), told if drawn else "no round was committed yet")]


def _stretches(run: RunFile, number: int, wanted: Sequence[int]) -> list[Stretch]:
    """The fewest rounds that lead to the wanted ones: from the last cut before each, or on from the one before."""
    found = list[Stretch]()
    for round in wanted:
        # on Flower's runtimes cuts lack the clients, so they are computed from their beginning
        begin = cut_before(run.folder, run.nonce, number, round) if run.runtime == "resident" else None
        after = 0 if begin is None else int(begin.about["round"])
        if found and found[-1][2][-1] >= after:
            found[-1][2].append(round)
        else:
            found.append((begin, after, [round]))
    return found


def _stretch(
    run: RunFile, setup: Setup, journal: Journal, number: int, begin: Cut | None, after: int, wanted: Sequence[int]
) -> Iterator[Check]:
    """A line for each round after `after`, up to the last of the wanted ones."""
    engine, label = setup.scenario.engine, setup.plans[number].label
    settings = Settings(0, engine.cpus_per_actor, engine.gpus_per_actor)
    strategy = setup.strategy(number, run.nonce)
    strategy.ledger.term = max(journal.term, run.term) + 1  # clients follow no server that is older than they know
    with resident(setup, settings, footprint.measure(setup).place) as grid:
        if begin is not None:
            strategy.restore(*begin.load(SERVER))
            grid.load(images(begin))
        strategy.nodes.enrol(grid)
        for done in strategy.rounds(grid, wanted[-1], after=after):
            yield _compared(label, strategy, journal, number, done.number)


def _compared(label: str, strategy: CompressedStrategy, journal: Journal, number: int, round: int) -> Check:
    what = f"round {round}"
    if round <= journal.folded(number):  # its payloads are gone
        digest = next(digest for at, digest, _ in journal.rounds(number) if at == round)
        same = strategy.digest() == digest
        return Check(label, what, same, f"digest {digest.hex()}" if same else "x, g or a client's point differs")
    try:
        kept = next(iter(journal.commits(number, round - 1, round)), None)
    except Refused as why:
        return Check(label, what, False, str(why))
    if kept is None:
        return Check(label, what, False, "the journal has no such round")
    wrong = _differences(strategy.commit(), kept)
    return Check(label, what, not wrong, wrong or f"{len(kept.payloads)} payloads, digest {kept.digest.hex()}")


def _differences(computed: Commit, kept: Commit) -> str:
    if computed.clients.tolist() != kept.clients.tolist():
        return "other clients answered"
    pairs = zip(computed.clients.tolist(), computed.payloads, kept.payloads, strict=True)
    other = [client for client, mine, theirs in pairs if mine != theirs]
    if other:
        return f"{len(other)} of {len(kept.payloads)} payloads differ, the first of client {other[0]}"
    return "" if computed.digest == kept.digest else "x or g differ, though the payloads are the same"
