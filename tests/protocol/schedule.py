"""What goes wrong in a run, as a value: drawn from a seed, and printed so that a person can read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random

from tests.protocol.network import FATES, HARMLESS, Fate
from tests.protocol.world import WORLDS, N

REPLAYS = ("replay", "stray", "replay reply")  # what was sent before comes again
LOSSES = ("wipe", "restore", "damage", "clone", "unclone")  # clients do not have what they had
MEMBERS = ("leave", "join")
EVENTS = (*REPLAYS, "backup", *LOSSES, *MEMBERS)
CRASHES = ("after sending", "before commit", "after commit")  # of the server


@dataclass(frozen=True)
class Event:
    """Something between two rounds; `which` is a client, or an old message."""

    kind: str
    which: int


@dataclass(frozen=True)
class Step:
    """A round: what happens before it, to each client's messages, and to the server."""

    events: tuple[Event, ...] = ()
    fates: tuple[Fate, ...] = ()
    crash: str = ""
    order: int = 0

    def __str__(self) -> str:
        events = [f"{event.kind} {event.which}" for event in self.events]
        fates = [f"client {i}: {f.kind} ({f.where})" for i, f in enumerate(self.fates) if f.kind != "none"]
        return "; ".join(events + fates + ([f"server crashes {self.crash}"] if self.crash else [])) or "nothing"

    def less(self) -> Iterator[Step]:
        """The same without one of its faults."""
        for at in range(len(self.events)):
            yield replace(self, events=self.events[:at] + self.events[at + 1 :])
        for at, fate in enumerate(self.fates):
            if fate.kind != "none":
                yield replace(self, fates=(*self.fates[:at], Fate(where=fate.where), *self.fates[at + 1 :]))
        if self.crash:
            yield replace(self, crash="")


@dataclass(frozen=True)
class Schedule:
    """A whole run. Attributes: world, its name; disk, whether clients keep their state in files."""

    steps: tuple[Step, ...]
    world: str = "sgdm"
    disk: bool = False

    def text(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Schedule:
        """What `text` told."""
        told = json.loads(text)
        steps = tuple(
            Step(
                tuple(Event(**event) for event in step["events"]), tuple(Fate(**fate) for fate in step["fates"]),
                step["crash"], step["order"],
            )
            for step in told["steps"]
        )  # fmt: skip
        return cls(steps, told["world"], told["disk"])

    @property
    def undisturbed(self) -> Schedule:
        """As many rounds in which nothing goes wrong, with state in memory. One that was not committed is none."""
        return Schedule((Step(),) * sum(step.crash in ("", "after commit") for step in self.steps), self.world)

    def less(self) -> Iterator[Schedule]:
        """The same without one of its faults, or without its last round."""
        if len(self.steps) > 1:
            yield replace(self, steps=self.steps[:-1])
        for at, step in enumerate(self.steps):
            for simpler in step.less():
                yield replace(self, steps=(*self.steps[:at], simpler, *self.steps[at + 1 :]))


def drawn(
    seed: int, fates: Sequence[str] = tuple(FATES), events: Sequence[str] = EVENTS, rounds: tuple[int, int] = (2, 5)
) -> Schedule:
    """The schedule of this seed, with so many rounds; about half of the messages pass undisturbed."""
    rng = Random(seed)
    busy = rng.choice((0.2, 0.5, 0.8))  # how much goes wrong

    def fate() -> Fate:
        return Fate(rng.choice(fates) if rng.random() < busy else "none", rng.randrange(1 << 14))

    def step() -> Step:
        happens = [Event(rng.choice(events), rng.randrange(1 << 12)) for _ in range(rng.choice((0, 0, 1, 2)))]
        crash = rng.choice(CRASHES) if rng.random() < busy / 4 else ""
        return Step(tuple(happens), tuple(fate() for _ in range(N)), crash, rng.randrange(1 << 16))

    world = rng.choice(list(WORLDS))
    steps = tuple(step() for _ in range(rng.randint(*rounds)))
    return Schedule(steps, world, rng.random() < 0.15)


def harmless(seed: int) -> Schedule:
    """Crashes, repetitions and messages that come again: after each the client's reply arrives all the same."""
    return drawn(seed, fates=tuple(HARMLESS), events=REPLAYS)
