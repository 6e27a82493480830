"""The small problem on which a method is checked, and its runs: quadratics of eight coordinates, five clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from clients import METHODS
from fl_ef21.checking.claims import Broken
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.chaos import ChaosGrid
from fl_ef21.errors import InputError
from fl_ef21.facts import facts_of
from fl_ef21.faults import Faults
from fl_ef21.store import Memory
from scenarios.checking.given import Vector
from scenarios.loading import build
from scenarios.setup import Setup, prepare
from scenarios.suiting import server_of
from strategies.flower import CompressedStrategy
from strategies.rounds import Round, Silence

CLIENTS, ROUNDS = 5, 12
FITTING: dict[str, dict[str, Any]] = {
    "any": {"compressor": "topk", "k": 2}, "contractive": {"compressor": "topk", "k": 2},
    "unbiased": {"compressor": "randk", "k": 2, "scaled": True, "values": "exact"},
    "absolute": {"compressor": "hard-threshold", "threshold": 0.05, "values": "exact"}, "identity": {},
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A method to check, and what the person who asks sets, such as "method.hyper.zeta=0.5"."""

    name: str
    sets: tuple[str, ...] = ()

    @property
    def half(self) -> type[Any]:
        """Raises: InputError where there is none of this name; TypeError where it does not say what it must."""
        kind: type[Any] = METHODS[self.name]
        facts_of(kind)
        return kind

    @property
    def remembers(self) -> bool:
        return bool(server_of(self.half).remembers)

    def setup(self, sets: Sequence[str] = (), **train: Any) -> Setup:
        """Raises: InputError and ScenarioError for what cannot be."""
        facts = facts_of(self.half)
        method = {"name": self.name, "gamma": 0.05, "eta": 0.3} | ({} if self.name == "sgdm" else FITTING[facts.needs])
        table = {
            "name": "check", "rounds": ROUNDS, "seed": 3,
            "model": {"name": "quadratic", "dim": 8}, "partition": {"clients": CLIENTS, "scheme": "iid"},
            "train": {"dtype": "float64"} | train, "engine": {"actors": 0}, "method": [method],
        }  # fmt: skip
        return prepare(build(tomlkit.dumps(table), "check", Path.cwd(), [*self.sets, *sets]))


@dataclass
class Ran:
    """What a run did: its iterates, whose messages each round had, how far g was from the sum after each."""

    xs: list[Vector] = field(default_factory=list)
    who: list[list[int]] = field(default_factory=list)
    audits: list[float | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def note(self, strategy: CompressedStrategy, grid: Any, done: Round) -> None:
        self.xs.append(strategy.descent.x.numpy().copy())
        self.who.append(strategy.used.tolist())
        self.audits.append(strategy.audit(grid))
        self.refused += [done.first] if done.refused else []


def grid_of(setup: Setup) -> RayGrid:
    clients = setup.problem.clients

    def program(block: range) -> Any:
        return setup.program(block, Memory(block))

    return RayGrid(clients, batched=program, settings=Settings(0), tile=setup.tile, heal=False)


def run(setup: Setup, chaos: str = "", moved: int | None = None) -> Ran:
    """All rounds of the scenario; disturbed as `chaos` says. moved: the round after which another grid goes on.

    Raises: Broken where a round has no message that can be used.
    """
    ran, strategy = Ran([setup.problem.x0().numpy().copy()]), setup.strategy(0, b"check", remember=bool(chaos))
    grid: Any = grid_of(setup)
    strategy.nodes.enrol(grid)
    around = ChaosGrid(grid, Faults.parse(chaos), tile=1 if setup.problem.rowwise else setup.tile) if chaos else grid
    number = 0
    while number < setup.scenario.rounds:
        until = moved if moved is not None and number < moved else setup.scenario.rounds
        try:
            for done in strategy.rounds(around, until, after=number):
                ran.note(strategy, grid, done)
        except Silence as why:
            raise Broken(f"its messages are refused: {why}") from why
        number = until
        if number == moved:
            images: list[Any] = []
            grid.save(images.append)
            around = grid = grid_of(setup)
            grid.load(images)
    return ran


def same(a: Ran, b: Ran) -> bool:
    """Bitwise."""
    return all((x == y).all() for x, y in zip(a.xs, b.xs, strict=True))


def rule_of(word: str) -> Callable[[Any], Any]:
    """The function that "FILE.py:name" names, `rule` by default. Raises: InputError where there is none."""
    found = re.fullmatch(r"(.+\.py)(?::(\w+))?", word)
    if found is None or not Path(found[1]).is_file():
        raise InputError("--oracle", word, "must be FILE.py or FILE.py:function, a file that is there")
    space: dict[str, Any] = {"__name__": Path(found[1]).stem}
    exec(compile(Path(found[1]).read_text(encoding="utf-8"), found[1], "exec"), space)
    rule = space.get(found[2] or "rule")
    if not callable(rule):
        raise InputError("--oracle", word, f"{found[1]} has no function {found[2] or 'rule'!r}")
    return rule  # type: ignore[no-any-return]
