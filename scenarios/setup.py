"""From a scenario to the things that run: data, partition, problem, plans. Nothing has started yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from clients import METHODS
from clients.program import Program
from fl_ef21 import partition, problems
from fl_ef21.compressors import make, short
from fl_ef21.compressors.levels import make_levels
from fl_ef21.data import Dataset
from fl_ef21.engine import Settings
from fl_ef21.engine.pool import split
from fl_ef21.engine.shard import keep_memory
from fl_ef21.errors import InputError
from fl_ef21.plan import Plan
from fl_ef21.problems.attacks import attacked
from fl_ef21.problems.choosing import Choice, choose
from fl_ef21.provenance import agreed
from fl_ef21.schedule import Schedule
from fl_ef21.sealing import ServerKeys
from fl_ef21.shadow import Shadow
from fl_ef21.store import Store
from fl_ef21.threads import computing_with
from fl_ef21.types import Compressor, Problem
from fl_ef21.wire import layers_of
from scenarios.by_class import each
from scenarios.loading import to_toml
from scenarios.samples import Own, find, given, useless
from scenarios.schema import Cuts, Engine, Scenario
from scenarios.schema_method import Method, default_values
from scenarios.schema_rounds import at_work
from strategies import SERVERS
from strategies.descent import Descent
from strategies.flower import CompressedStrategy
from strategies.flower_buffer import Buffer
from strategies.flower_quorum import Quorum
from strategies.guard import Limits
from strategies.history import Kept
from strategies.robust_named import Aggregate, aggregate_of

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
COMPRESSOR_KEYS = (
    "k", "fraction", "block", "threshold", "levels", "bucket", "rank", "iterations", "scaled", "contractive", "values",
    "scale_block",
)  # fmt: skip
TILE_BYTES = 4 << 20  # one array of a tile, so that a tile's few arrays stay in the cache
TILE_MOST = 32
TILES_LEAST = 8  # so that few clients, too, spread over the actors


@dataclass(frozen=True)
class Setup:
    """A scenario made concrete.

    Attributes:
      problem: over all clients.
      plans: one for each [[method]].
      source: what server and clients must agree on.
      dataset, label_counts: what was split and how, None for synthetic problems; the data set without its features,
        which the problem holds. label_counts (clients, classes).
      choice: how clients' gradients are taken, None where there is nothing to choose.
      alone: clients are computed one at a time, as on Flower's runtimes.
      held: the clients whose samples are here: everybody's, but on a device and on a server beside devices.
      keys: what the server signs with and holds replies against; None where nothing is signed.
    """

    scenario: Scenario
    problem: Problem
    plans: tuple[Plan, ...]
    source: bytes
    dataset: Dataset | None
    label_counts: np.ndarray | None
    choice: Choice | None = None
    alone: bool = False
    held: range = range(0)
    keys: ServerKeys | None = None

    @property
    def resolved(self) -> Scenario:
        """The scenario with what was chosen, so that who repeats it takes the same."""
        if self.choice is None:
            return self.scenario
        model = self.scenario.model.model_copy(update={"per_client": self.choice.way})
        return self.scenario.model_copy(update={"model": model})

    @property
    def tile(self) -> int:
        """Clients computed together: a function of n and d alone, so that no result depends on the actors."""
        if self.alone:
            return 1
        fit = TILE_BYTES // (self.problem.dim * self.plans[0].dtype.itemsize)
        spread = math.ceil(self.problem.clients / TILES_LEAST)
        return max(1, min(TILE_MOST, fit, spread))

    @property
    def asks_clients(self) -> bool:
        """Whether clients measure f, each over its own samples: the server is not to, or has not all of them."""
        where = self.scenario.evaluate.where
        return where == "clients" or (where == "auto" and len(self.held) < self.problem.clients)

    @property
    def tests_here(self) -> bool:
        """Whether there are test samples that are no client's, so that the server has them."""
        return self.dataset is not None and self.dataset.test_groups is None and len(self.dataset.test_labels) > 0

    @property
    def shards(self) -> int:
        """Blocks of clients that compute side by side."""
        return len(split(self.problem.clients, max(1, self.scenario.engine.actors), self.tile))

    @property
    def momentum(self) -> torch.dtype | None:
        """What momenta are rounded to between rounds, if they are."""
        name = self.scenario.train.momentum_dtype
        return None if name is None else DTYPES[name]

    def program(self, clients: range, store: Store) -> Program:
        """The client side for some of the clients; all of them share what is loaded already."""
        problem = self.problem if clients == self.held else self.problem.shard(clients)
        return Program(problem, self.plans, store, self.source, self.tile)

    def strategy(self, number: int, run: bytes, remember: bool = False) -> CompressedStrategy:
        """The server side of one method, at its start. `run` tells runs of one scenario apart.

        remember: also every client's payloads, so that one that lost its state can be helped, and may leave.
        """
        plan, method, train = self.plans[number], self.scenario.method[number], self.scenario.train
        strategy = CompressedStrategy(
            plan, METHODS[plan.method], number=number, x=self.problem.x0(), shapes=self.problem.shapes,
            weights=self.problem.weights, participation=train.participation,
            optimizer=method.optimizer, optimizer_args=method.optimizer_args, source=self.source, run=run,
            account=self.scenario.evaluate.traffic != "off", late=train.late,
            limits=Limits(**self.scenario.guard.model_dump()), aggregate=_aggregate(self.scenario, number),
            quorum=Quorum(train.min_reports, train.over_selection), start_clients=train.start_clients,
            patience=train.patience, buffer=_buffer(self.scenario),
        )  # fmt: skip
        if self.keys is not None:
            strategy.nodes.authenticate(self.keys)
        helped = remember or self.alone or self.scenario.chaos is not None
        evicting = self.scenario.guard.action == "evict" and strategy.rows is None
        if (helped or evicting) and strategy.server.remembers:
            origins = [strategy.ledger.points[i] for i in range(strategy.clients)]
            strategy.history = Kept(strategy.adder.forms, strategy.dim, plan.dtype, origins)
        return strategy


def prepare(scenario: Scenario, *, alone: bool = False, own: Own | None = None, elsewhere: bool = False) -> Setup:
    """Load, split, build and check everything. Raises: InputError for whatever cannot work.

    alone: clients are computed one at a time, so nothing is measured to choose how. own: of a device that was told
    where its samples are. elsewhere: samples may lie on devices alone.
    """
    dataset, parts, counts, partial, held = None, None, None, False, range(scenario.partition.clients)
    if problems.needs_data(scenario.model.name):
        found = find(scenario, own, elsewhere)
        dataset, parts, partial, held = found.dataset, found.parts, found.partial, found.held
        counts = None if partial else partition.label_counts(dataset, parts)
    elif own is not None:
        raise useless(scenario, own)
    train = scenario.train
    where = device(scenario)
    here = where if torch.cuda.is_available() else "cpu"
    problem = problems.build(
        scenario.model.name, clients=scenario.partition.clients, data=dataset, parts=parts,
        options=given(scenario.model, ("name",)), weights=train.weights,
        batch_size=each(scenario, "train.batch_size", train.batch_size),
        seed=scenario.seed, dtype=DTYPES[train.dtype], device=here, shards=where,
        local_steps=each(scenario, "train.local_steps", train.local_steps),
        local_rate=train.local_rate, partial=partial,
    )  # fmt: skip
    plans = tuple(_plan(scenario, i, method, problem) for i, method in enumerate(scenario.method))
    if dataset is not None:  # the problem has its own copy, client after client
        nothing = np.empty((0, *dataset.shape), dtype=np.float32)
        dataset = replace(dataset, features=nothing, test_features=nothing)
    setup = Setup(scenario, problem, plans, agreed(_shared_text(scenario)), dataset, counts, alone=alone, held=held)
    return _under_attack(_settled(setup, measure=not alone and here == where))


def again(setup: Setup, scenario: Scenario) -> Setup:
    """The samples and the problem of `setup` under other methods, in other rounds. Raises: InputError.

    The scenario must have the same seed, data, partition, model, train and attack.
    """
    plans = tuple(_plan(scenario, i, method, setup.problem) for i, method in enumerate(scenario.method))
    return replace(setup, scenario=scenario, plans=plans, source=agreed(_shared_text(scenario)))


def _under_attack(setup: Setup) -> Setup:
    """Some of whose clients do what [attack] says."""
    attack, dataset = setup.scenario.attack, setup.dataset
    if attack is None:
        return setup
    problem = attacked(
        setup.problem, attack.name, attack.clients, attack.share, attack.scale, attack.z, attack.from_round,
        classes=len(dataset.classes) if dataset is not None else 0,
    )  # fmt: skip
    return replace(setup, problem=problem)


def _settled(setup: Setup, measure: bool) -> Setup:
    """Chooses how clients' gradients are taken, measured as an actor would compute."""
    engine = setup.scenario.engine
    keep_memory()
    with computing_with(Settings(cpus_per_actor=engine.cpus_per_actor).threads):
        problem, choice = choose(setup.problem, setup.tile, measure=measure)
    return replace(setup, problem=problem, choice=choice)


def _shared_text(scenario: Scenario) -> str:
    """What server and clients must agree on: all but where each keeps its data, how it computes, and what is kept."""
    data = scenario.data.model_copy(update={"path": None, "test_path": None})
    model = scenario.model.model_copy(update={"per_client": None})
    free = {"data": data, "model": model, "engine": Engine(), "cuts": Cuts(), "durability": "memory", "chaos": None}
    free["devices"] = None
    return to_toml(scenario.model_copy(update=free))


def device(scenario: Scenario) -> str:
    """Where clients compute: a GPU if the scenario gives actors a share of one.

    Raises: InputError where this machine has none; what a cluster has is known once it was joined.
    """
    share = scenario.engine.gpus_per_actor
    if share == 0:
        return "cpu"
    if not torch.cuda.is_available() and scenario.engine.address is None:
        raise InputError("engine.gpus_per_actor", share, "this machine has no GPU; use 0 to compute on the CPU")
    return "cuda"


def _plan(scenario: Scenario, number: int, method: Method, problem: Problem) -> Plan:
    options = {key: getattr(method, key) for key in COMPRESSOR_KEYS if getattr(method, key) is not None}
    options = {key: each(scenario, f"method[{number}].{key}", value) for key, value in options.items()}
    try:
        levels = make_levels(method.compressor, dim=problem.dim, shapes=problem.shapes, **options)
        Descent(torch.zeros(problem.dim), problem.shapes, method.optimizer, method.optimizer_args, 1.0)
    except InputError as error:
        raise InputError(f"method[{number}].{error.field}", error.value, error.advice) from error
    _aggregate(scenario, number)
    return Plan(
        label=method.label, method=method.name, eta=_schedule(method.eta), gamma=_schedule(method.gamma),
        compressor=levels[0], start=scenario.train.start, seed=scenario.seed, dtype=DTYPES[scenario.train.dtype],
        levels=levels if len(levels) > 1 else (), downlink=_downlink(scenario, number, problem),
        shadows=tuple(_shadow(scenario, i, word, problem) for i, word in enumerate(scenario.shadow)),
        layers=layers_of(problem.shapes) if method.layer_aware else (),
    )  # fmt: skip


def _buffer(scenario: Scenario) -> Buffer | None:
    train = scenario.train
    if train.mode == "synchronous" or train.buffer is None:
        return None
    return Buffer(train.buffer, at_work(train, scenario.partition.clients))


def _aggregate(scenario: Scenario, number: int) -> Aggregate | None:
    """What makes g of the clients' g_i; None for their sum. Raises: InputError."""
    method, field = scenario.method[number], f"method[{number}]"
    if method.aggregate == "mean" and method.mixing is None:
        return None
    try:
        found = aggregate_of(method.aggregate, method.mixing, scenario.seed)
    except InputError as error:
        raise InputError(f"{field}.{error.field}", error.value, error.advice) from error
    if not SERVERS[METHODS[method.name].server].remembers:
        knowing = ", ".join(name for name, half in METHODS.items() if SERVERS[half.server].remembers)
        advice = f"needs a method whose server knows every client's g_i: {knowing}; the increments of others are sparse"
        raise InputError(f"{field}.aggregate", method.aggregate, advice)
    return found


def _named(scenario: Scenario, word: str, field: str, problem: Problem) -> Compressor:
    """The compressor of a word, its values as a method's would be. Raises: InputError about `field`."""
    try:
        name, options = short.parse(word)
        options.setdefault("values", default_values(name, scenario.train.dtype))
        return make(name, dim=problem.dim, shapes=problem.shapes, **options)
    except InputError as error:
        where = field if error.field == "compressor" else f"{field}.{error.field}"
        raise InputError(where, error.value, error.advice) from error


def _downlink(scenario: Scenario, number: int, problem: Problem) -> Compressor | None:
    """The compressor of the model's way down. Raises: InputError."""
    word, field = scenario.method[number].downlink, f"method[{number}].downlink"
    if word is None:
        return None
    C = _named(scenario, word, field, problem)
    if not C.contractive:
        advice = 'must contract, so that what is left out of the model gets smaller: such as "topk:0.05" or "sign"'
        raise InputError(field, word, advice)
    return C


def _shadow(scenario: Scenario, i: int, word: str, problem: Problem) -> Shadow:
    return Shadow(word, _named(scenario, word, f"shadow[{i}]", problem))


def _schedule(given: Any) -> Schedule:
    if isinstance(given, int | float):
        return Schedule(float(given))
    fields: Mapping[str, float] = given.model_dump()
    return Schedule(**fields)
