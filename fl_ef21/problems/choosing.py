"""Which way to take a network's gradients is the fastest, measured where they will be taken.

The loop over clients is displaced only by what is clearly faster, so that noise seldom decides. The ways differ
in the last bits, so a run tells which it took: scenarios/setup.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from fl_ef21.problems.local import Local
from fl_ef21.problems.modules import Module
from fl_ef21.problems.sampled import Sampled
from fl_ef21.types import Problem

CLEARLY = 1.15  # times as fast as the loop
CALL = 0.12  # seconds that a call of the loop should not exceed: else fewer clients, then smaller batches are tried
FEW = 4  # clients at the least
BUDGET = 0.6  # seconds for all repetitions
MOST = 7  # repetitions


@dataclass(frozen=True)
class Choice:
    """How a network's gradients are taken.

    Attributes:
      seconds: for a client, at best; by way, empty where nothing was measured.
    """

    way: str
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{way} {1e3 * t:.3g} ms" for way, t in self.seconds.items())
        return f"gradients by {self.way}" + (f" (a client takes: {told})" if told else "")


def choose(problem: Problem, tile: int, *, measure: bool = True) -> tuple[Problem, Choice | None]:
    """The problem with the way settled, and what was chosen; None where there is nothing to choose.

    tile: clients computed together. Without `measure` an open choice stays at what usually is the best.
    """
    sampled = problem.problem if isinstance(problem, Local) else problem
    if not isinstance(sampled, Sampled) or not isinstance(sampled.model, Module):
        return problem, None
    model = sampled.model
    choice = Choice(model.way)
    if model.open and measure:
        seconds = _measured(sampled, model, tile)
        fastest = min(seconds, key=lambda way: seconds[way])
        choice = Choice(fastest if seconds["loop"] >= CLEARLY * seconds[fastest] else "loop", seconds)
    settled: Sampled = replace(sampled, model=replace(model.taking(choice.way), open=()))
    return replace(problem, problem=settled) if isinstance(problem, Local) else settled, choice


def _measured(problem: Sampled, model: Module, tile: int) -> dict[str, float]:
    """Seconds a client, by way: the least of several repetitions, which take turns."""
    B = max(1, round(float(problem.costs.mean())))
    n = min(tile, problem.together(B))
    x, ways = problem.x0(), {way: model.taking(way) for way in model.open}

    def seconds(way: str, n: int, B: int) -> float:
        samples = torch.arange(n * B, device=problem.labels.device).view(n, B) % len(problem.labels)
        began = _now(samples.device)
        ways[way].gradients(x.to(problem.features), problem.features, problem.labels, samples)
        return (_now(samples.device) - began) / n

    once = [seconds("loop", 1, B) for _ in range(2)][-1]
    n = min(n, max(FEW, int(CALL / once)))
    B = max(1, min(B, int(B * CALL / (n * once))))
    for way in ways:  # the first call is slower
        seconds(way, n, B)
    found, end = {way: float("inf") for way in ways}, time.perf_counter() + BUDGET
    for repetition in range(MOST):
        if repetition and time.perf_counter() > end:
            break
        found = {way: min(best, seconds(way, n, B)) for way, best in found.items()}
    return found


def _now(device: torch.device) -> float:
    """Seconds; of this thread's work alone where it is the only one, so that other processes disturb less."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.thread_time()
    return time.perf_counter()
