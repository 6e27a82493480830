"""What is counted while a method runs, how a method ended, and where figures go as they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from fl_ef21.blocks import Array
from fl_ef21.flower_traffic import Cost
from fl_ef21.traffic import LAYERS, Traffic
from scenarios.fairness import Clients
from strategies.rounds import Round

Row = dict[str, Any]
NO_QUORUM = "no quorum"  # what the reason begins with where a run was paused since too few clients answered
TRAFFIC = tuple(f"{way}_{layer}" for way in ("uplink", "downlink") for layer in LAYERS if layer != "payload_bytes")


@dataclass
class Tally:
    """Cumulative figures of one method while it runs."""

    round: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    answers: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    traffic: dict[str, int] = field(default_factory=dict)
    quarantined: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)
    abandoned: int = 0
    surplus: int = 0
    virtual_seconds: float | None = None
    server_seconds: float | None = None
    staleness: dict[str, int] = field(default_factory=dict)  # rounds to messages; texts, as JSON has them

    def add(self, done: Round, seconds: float) -> None:
        self.round = done.number
        self.uplink_bytes += done.uplink_bytes
        self.downlink_bytes += done.downlink_bytes
        self.answers += done.participants
        self.rejected += sum(done.refused.values())
        for reason, count in done.refused.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        self.quarantined += done.quarantined
        self.evicted += done.evicted
        self.abandoned += done.abandoned
        self.surplus += done.surplus
        self.seconds += seconds
        for rounds in done.staleness:
            self.staleness[str(rounds)] = self.staleness.get(str(rounds), 0) + 1
        for name, total in ({} if done.traffic is None else done.traffic.totals()).items():
            self.traffic[name] = self.traffic.get(name, 0) + total

    def note(self) -> dict[str, Any]:
        """As JSON can keep it; `Tally(**note)` is this tally."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """How a method ended: finished, stopped (by a rule), diverged, interrupted or failed.

    Attributes:
      asides: wire bytes of all that is no round.
      ledger_bytes: what is kept of clients' payloads, in memory and on disk.
      devices: what each class of devices did, None without virtual time.
      clients: what the model gave each at the end; None where that was not measured, or by an earlier start.
    """

    status: str
    reason: str
    tally: Tally
    rows: list[Row]
    asides: Cost = field(default_factory=lambda: Cost(0, 0))
    ledger_bytes: int = 0
    devices: dict[str, Any] | None = None
    clients: Clients | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do for this method."""
        return self.status in ("finished", "stopped", "diverged")

    def note(self) -> dict[str, Any]:
        """All but the rows and the clients, as JSON can keep it."""
        asides = [int(self.asides.up), int(self.asides.down)]
        told = {"status": self.status, "reason": self.reason, "tally": self.tally.note(), "asides": asides}
        return told | {"ledger_bytes": self.ledger_bytes, "devices": self.devices}

    @classmethod
    def of(cls, note: Mapping[str, Any], rows: list[Row]) -> Outcome:
        tally, asides = Tally(**note["tally"]), Cost(*note["asides"])
        return cls(note["status"], note["reason"], tally, rows, asides, note["ledger_bytes"], note.get("devices"))


class Keep(Protocol):
    """Where what a method measures goes, as it happens.

    Attributes:
      lasting: whether somebody can go on after a failure, so that clients must not forget.
    """

    lasting: bool

    def row(self, row: Row) -> None:
        """An evaluated round."""
        ...

    def shadow(self, row: Row) -> None:
        """Figures of a shadow compressor."""
        ...

    def traffic(self, done: Traffic) -> None:
        """What a round cost."""
        ...

    def timeline(self, rows: Array, round: int | None) -> None:
        """What became known of clients' time in a round; None: at the end."""
        ...

    def commit(self, rows: Sequence[Row], shadows: Sequence[Row]) -> None:
        """A round is done, and these rows came since the one before."""
        ...

    def cut(self, now: bool) -> None:
        """Between two rounds: a cut may be taken, or must be if `now`."""
        ...

    def tell(self, row: Row) -> None:
        """A round is over; `row` is the last evaluated one."""
        ...
