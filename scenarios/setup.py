"""From a scenario to the things that run: data, partition, problem, plans. Nothing has started yet."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from clients import METHODS
from clients.program import Program
from fl_ef21 import partition, problems
from fl_ef21.data import Dataset
from fl_ef21.engine import Settings
from fl_ef21.engine.pool import split
from fl_ef21.engine.shard import keep_memory
from fl_ef21.errors import InputError
from fl_ef21.plan import Plan
from fl_ef21.problems.attacks import attacked
from fl_ef21.problems.choosing import Choice, choose
from fl_ef21.problems.points import batches
from fl_ef21.provenance import agreed
from fl_ef21.sealing import ServerKeys
from fl_ef21.store import Store
from fl_ef21.threads import computing_with
from fl_ef21.types import Problem
from scenarios import theory
from scenarios.by_class import each
from scenarios.loading import to_toml
from scenarios.others import others
from scenarios.plans import DTYPES, aggregate, buffer, plan_of
from scenarios.samples import Own, find, given, useless
from scenarios.schema import Cuts, Engine, Scenario
from strategies.flower import CompressedStrategy
from strategies.flower_quorum import Quorum
from strategies.guard import Limits
from strategies.history import Kept
from strategies.prox import prox_of

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

    def effort(self, number: int) -> tuple[float, np.ndarray]:
        """What a method computes: stochastic gradients a local step, and (n,) of them a round besides."""
        plan = self.plans[number]
        half = plan.half(METHODS[plan.method], 1)
        passes = float(getattr(half, "passes", 0.0))
        besides = batches(self.problem).numpy() if passes else np.zeros(self.problem.clients)
        return float(getattr(half, "gradients", 1.0)), passes * besides

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
            weights=self.problem.weights if plan.weights is None else plan.weights, participation=train.participation,
            optimizer=method.optimizer, optimizer_args=method.optimizer_args, source=self.source, run=run,
            account=self.scenario.evaluate.traffic != "off", late=train.late,
            limits=Limits(**self.scenario.guard.model_dump()), aggregate=aggregate(self.scenario, number),
            quorum=Quorum(train.min_reports, train.over_selection), start_clients=train.start_clients,
            patience=train.patience, buffer=buffer(self.scenario),
            prox=None if method.prox is None else prox_of(method.prox),
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
    foreign = others(scenario)
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
    theory.refuse(scenario, partial)
    scenario = theory.resolved(scenario, problem)
    source = agreed(_shared_text(scenario), foreign)  # with the numbers of theory: clients are given those
    plans = tuple(plan_of(scenario, i, method, problem) for i, method in enumerate(scenario.method))
    if dataset is not None:  # the problem has its own copy, client after client
        nothing = np.empty((0, *dataset.shape), dtype=np.float32)
        dataset = replace(dataset, features=nothing, test_features=nothing)
    setup = Setup(scenario, problem, plans, source, dataset, counts, alone=alone, held=held)
    return _under_attack(_settled(setup, measure=not alone and here == where))


def again(setup: Setup, scenario: Scenario) -> Setup:
    """The samples and the problem of `setup` under other methods, in other rounds. Raises: InputError.

    The scenario must have the same seed, data, partition, model, train and attack.
    """
    scenario = theory.resolved(scenario, setup.problem)
    plans = tuple(plan_of(scenario, i, method, setup.problem) for i, method in enumerate(scenario.method))
    return replace(setup, scenario=scenario, plans=plans, source=agreed(_shared_text(scenario), others(scenario)))


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
