"""How much memory a run will need, item by item, and where its clients' state lies for it to fit.

Known before anything of it is allocated: data and model are loaded, no actor has started. Numbers in capitals were
measured on Linux with the CPU builds of torch 2.13 and Ray 2.55 and rounded up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from clients import METHODS
from fl_ef21.engine.grid import CHUNK
from fl_ef21.errors import InputError
from fl_ef21.facts import facts_of
from fl_ef21.oracle import state_type
from fl_ef21.plan import Plan
from fl_ef21.state import MOMENTA
from fl_ef21.tiers import Place
from scenarios import places
from scenarios.doctor import free_memory, resident_memory
from scenarios.schema import Engine
from scenarios.setup import Setup, device
from scenarios.suiting import server_of
from scenarios.units import binary
from strategies.rounds import TOGETHER

MiB = 2**20
ACTOR = 400 * MiB  # of an actor besides its clients; it does not give small pieces back (engine/shard.py)
RAY = 450 * MiB  # of Ray's own processes, and of its client in this one
CLIENT = 1024  # of a client's bookkeeping, in its shard and on the driver
ASKED = 6 * 1024  # of the driver for each client asked: messages both ways
DENSE = 2  # copies of an uncompressed message: in Ray's store, and received
DECODED = 6  # copies of what is decoded at once: as numbers, checked, summed in float64
ENTRY = 48  # bytes of the driver for every entry of a sparse message, likewise
OUTGOING = 3  # copies of a message in an actor: computed, joined, encoded
ARRAYS = 8  # of a tile's size that exist at once while it is computed
SERVER = 12  # float64 vectors of the server: model, g, optimizer, sums, gradients at evaluations
HELD = 4  # vectors of a shard whose model comes in increments: w before and after one, the increments, one decoded
SHIFTED = 5  # of its server: w before and after, x - w, the increment decoded, the log of increments
RESERVE = 0.05  # of what is free that is left free
CUDA = 1024 * MiB  # of a GPU for each actor's context; not measured

Kind = Literal["device", "host", "mapped"]


@dataclass(frozen=True)
class State:
    """One client's vectors under one method. `widths`: bytes of a number, for every field."""

    clients: int
    dim: int
    widths: tuple[int, ...]

    @property
    def client(self) -> int:
        return 2 * self.dim * sum(self.widths)

    @property
    def bytes(self) -> int:
        return self.clients * self.client

    def __str__(self) -> str:
        kinds = [f"{2 * self.widths.count(w)} vectors x {w} B" for w in sorted(set(self.widths), reverse=True)]
        each = " + ".join(kinds) or "nothing"
        each = f"({each})" if len(kinds) > 1 else each
        return f"{self.clients:,} clients x {self.dim:,} x {each}"


@dataclass(frozen=True)
class Footprint:
    """What a run needs and has.

    Attributes:
      state: of the method with the largest; methods run one after another.
      kind, device, folder: where it lies.
      budget: bytes of it that may be in memory, over all actors; None where nobody knows what is free.
      items: name to bytes, all that is still to come in this machine's memory.
      here: bytes that this process has already, data included.
      free: bytes, None where the system does not say.
    """

    state: State
    kind: Kind
    device: str
    folder: Path
    budget: int | None
    items: dict[str, int]
    here: int
    free: int | None

    @property
    def needed(self) -> int:
        return sum(self.items.values())

    def lines(self) -> list[str]:
        """For a person, before the run starts."""
        where = {"device": "memory of the GPU" if self.device != "cpu" else "memory", "host": "host memory",
                 "mapped": f"files in {self.folder}"}[self.kind]  # fmt: skip
        free = "" if self.free is None else f" of {binary(self.free)} free"
        items = ", ".join(f"{name} {binary(size)}" for name, size in self.items.items() if size >= MiB)
        return [
            f"client state {binary(self.state.bytes)} in {where} ({self.state})",
            f"memory: {binary(self.needed)}{free}, beside {binary(self.here)} that is loaded already: {items}",
        ]

    def place(self, clients: int) -> Place:
        """What a shard with so many clients is told."""
        total = self.state.bytes if self.budget is None else self.budget
        return Place(self.kind, self.device, self.folder, total * clients // self.state.clients)

    def record(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "state": self.kind,
            "state_bytes": self.state.bytes,
            "budget_bytes": self.budget,
            "here_bytes": self.here,
            "needed_bytes": self.needed,
            "free_bytes": self.free,
            "items": self.items,
        }


def measure(setup: Setup, free: int | None = None) -> Footprint:
    """The sum, and the fastest place that fits. `free`: bytes, else what is free now.

    Raises: InputError with the sum where it does not fit, or where state_dir cannot take the state.
    """
    engine, where = setup.scenario.engine, device(setup.scenario)
    free = free_memory() if free is None else free
    state = max((_state(setup, plan) for plan in setup.plans), key=lambda one: one.bytes)
    items = _besides(setup, where)
    spare = None if free is None else int(free * (1 - RESERVE))
    given = None if engine.memory_gib is None else int(engine.memory_gib * 2**30)
    budget = given if given is not None or spare is None else max(0, spare - sum(items.values()))
    folder, kind = places.folder(engine.state_dir), _kind(state, where, engine, budget)
    near = state.bytes if budget is None or places.in_memory(folder) else min(state.bytes, budget)
    inside = {"device": state.bytes if where == "cpu" else 0, "host": state.bytes, "mapped": near}[kind]
    starting = 2 * (_held(setup.problem) - _everywhere(setup)) if items["data"] else 0  # in the driver, in Ray's store
    items["starting"] = max(0, starting - inside - items["messages"])  # which come later
    items = {"client state": inside} | items
    found = Footprint(state, kind, where, folder, budget, items, resident_memory() or 0, free)
    _fits(found, given, spare)
    if kind == "mapped":
        _least(setup, state, budget)
        places.check(folder, state.bytes)
    return found


def _state(setup: Setup, plan: Plan) -> State:
    narrow = plan.dtype if setup.momentum is None else setup.momentum
    names = [f.name for f in fields(state_type(plan.half(METHODS[plan.method], 1)))]
    widths = tuple((narrow if name in MOMENTA else plan.dtype).itemsize for name in names)
    return State(setup.problem.clients, setup.problem.dim, widths)


def _besides(setup: Setup, where: str) -> dict[str, int]:
    """Everything but client state, as far as it is not in memory yet."""
    problem, actors = setup.problem, min(setup.scenario.engine.actors, setup.shards)
    d, width = problem.dim, setup.plans[0].dtype.itemsize
    everywhere = _everywhere(setup)
    asked, entries = _asked(setup), max(_entries(setup, plan) for plan in setup.plans)
    dense = _dense(setup)
    decoded = min(dense * d * 8, TOGETHER) * DECODED
    message = max(entries * ENTRY * asked, _first(setup) * d * width * DENSE) + decoded
    outgoing = min(CHUNK + setup.tile, problem.clients) * max(entries, d if dense else 0) * (width + 8)
    on_gpu = where != "cpu"
    return {
        "data": 0 if on_gpu or not actors else _held(problem) + (actors - 1) * everywhere,
        "bookkeeping": problem.clients * CLIENT,
        "actors": actors * ACTOR + (RAY if actors else 0),
        "tiles": max(1, actors) * (0 if on_gpu else ARRAYS * setup.tile * d * width + OUTGOING * outgoing),
        "messages": max(asked, dense) * ASKED + message,
        "model": SERVER * 8 * d + (2 * (actors + 1) + _copies(setup, actors)) * d * width,
        "clients' g at the server": 2 * problem.clients * d * width if _held_at_server(setup) else 0,
    }  # fmt: skip


def _held_at_server(setup: Setup) -> bool:
    """Whether the server keeps every client's g_i, and needs as much again to work on, or what it was sent of it."""
    robust = any(method.aggregate != "mean" for method in setup.scenario.method)
    return robust or setup.scenario.guard.action == "evict"


def _copies(setup: Setup, actors: int) -> int:
    """Vectors that a compressed downlink adds: a shard's w, one for however many clients, and the server's.

    Where clients make the server's step they hold two.
    """
    held = max((1 + facts_of(METHODS[p.method]).steps for p in setup.plans if p.downlink is not None), default=0)
    return held * (HELD * max(1, actors) + SHIFTED)


def _asked(setup: Setup) -> int:
    return max(1, round(setup.scenario.train.participation * setup.problem.clients))


def _entries(setup: Setup, plan: Plan) -> int:
    """Numbers in one compressed message, at the most."""
    if plan.compressor.bits(setup.problem.dim) is None:
        return setup.problem.dim
    u = torch.ones(1, setup.problem.dim, dtype=plan.dtype)
    return int(plan.compressor(u, torch.zeros(1, dtype=torch.int64)).counts.sum())


def _first(setup: Setup) -> int:
    """Uncompressed messages that are there at once: first gradients."""
    dense = any(METHODS[plan.method].dense_start for plan in setup.plans)
    return setup.problem.clients if dense and setup.scenario.train.start == "gradient" else 0


def _dense(setup: Setup) -> int:
    """Uncompressed vectors that are asked for: first gradients, or every client's g at an audit, group by group."""
    remembers = any(server_of(METHODS[plan.method]).remembers for plan in setup.plans)
    audit = setup.scenario.evaluate.audit and remembers
    return setup.problem.clients if audit or _first(setup) else 0


def _everywhere(setup: Setup) -> int:
    """Bytes of data that every shard has."""
    return _held(setup.problem.shard(range(0)))


def _held(thing: Any) -> int:
    """Bytes of the tensors in a dataclass, a tuple or a tensor."""
    if isinstance(thing, torch.Tensor):
        return thing.numel() * thing.element_size()
    if is_dataclass(thing):
        return sum(_held(getattr(thing, f.name)) for f in fields(thing))
    return sum(map(_held, thing)) if isinstance(thing, tuple) else 0


def _kind(state: State, where: str, engine: Engine, budget: int | None) -> Kind:
    """What the scenario says, else the fastest that fits. Raises: InputError where the GPU cannot take the state."""
    if engine.state in ("auto", "device") and where != "cpu":
        room = sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))
        room -= max(1, engine.actors) * CUDA
        if engine.memory_gib is not None and budget is not None:
            room = min(room, budget)
        if state.bytes <= room:
            return "device"
        if engine.state == "device":
            advice = f"the GPU has room for {binary(max(0, room))} of it and it takes {binary(state.bytes)} ({state})"
            raise InputError("engine.state", "device", f'{advice}; use "auto"')
    if engine.state != "auto":
        return engine.state
    return "host" if budget is None or state.bytes <= budget else "mapped"


def _least(setup: Setup, state: State, budget: int | None) -> None:
    """A tile must fit the share of every shard."""
    least = setup.tile * state.client * setup.shards
    if budget is not None and budget < least:
        advice = (
            f"is less than one tile of client state for each of {setup.shards} shards, {binary(least)} in all; "
            f"raise it, use fewer actors, or free memory"
        )
        raise InputError("engine.memory_gib", _gib(budget), advice)


def _fits(found: Footprint, given: int | None, spare: int | None) -> None:
    state, ways = found.state, _ways(found)
    if given is not None and found.items["client state"] > given:
        told = f"client state takes {binary(state.bytes)} ({state}); {ways}"
        raise InputError("engine.memory_gib", _gib(given), told)
    if spare is not None and found.needed > spare and not _cluster():
        assert found.free is not None
        items = ", ".join(f"{name} {binary(size)}" for name, size in found.items.items() if size >= MiB)
        told = f"the run needs {binary(found.needed)} of memory ({items}) and {binary(found.free)} are free; {ways}"
        raise InputError("engine.memory_gib", _gib(found.budget or 0), told)


def _gib(size: int) -> float:
    """As a scenario would write it, to four digits."""
    return float(f"{size / 2**30:.4g}")


def _ways(found: Footprint) -> str:
    """What a person can do."""
    ways: Sequence[str] = [
        'engine.state = "mapped" keeps state in files' if found.kind != "mapped"
        else "engine.memory_gib says how much of it is in memory",
        'train.momentum_dtype = "bfloat16" takes less for momenta',
        'train.start = "zero" spares uncompressed messages' if found.items["messages"]
        > found.needed // 4 else "",
        "or take fewer clients",
    ]  # fmt: skip
    return ", ".join(way for way in ways if way)


def _cluster() -> bool:
    """Whether Ray runs already over several machines: then what is free here says little."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized() and len(ray.nodes()) > 1
