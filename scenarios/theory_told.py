"""Constants, allowed steps and predicted complexity as plain tables, for the command line, run folders and reports."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fl_ef21.theory.complexity import table
from fl_ef21.theory.constants import Constants
from scenarios import theory
from scenarios.setup import Setup

ROUNDS_DOWN = 10.0  # by default |grad f| is to fall to a tenth of what it is at x0


def constants(c: Constants) -> dict[str, Any]:
    """What is known of the problem, flat."""
    s = c.smooth
    return {
        "clients": c.clients, "dim": c.dim, "L": s.L, "L_tilde": s.tilde, "L_mean": s.mean,
        "L_max": float(s.each.max()), "L_kind": s.kind, "L_clients": s.seen, "sigma_sq": c.noise.single,
        "sigma_sq_batch": c.noise.batch, "sigma_exact": c.noise.exact, "f0": c.f0, "f_star": c.least.value,
        "f_star_kind": c.least.kind, "delta": c.delta, "grad_norm_sq": c.gradient_sq, "zeta_sq": c.zeta_sq,
    }  # fmt: skip


def method(setup: Setup, number: int) -> dict[str, Any]:
    """What the theorem of one method says of the steps in use."""
    scenario, plan = setup.scenario, setup.plans[number]
    found = theory.allowed(scenario, number, setup.problem)
    theorem = found.theorem
    return {
        "label": plan.label, "name": plan.method, "alpha": plan.alpha, "omega": plan.omega,
        "theorem": None if theorem is None else theorem.says, "source": None if theorem is None else theorem.source,
        "gamma": str(plan.gamma), "gamma_first": plan.gamma(1), "gamma_allowed": found.gamma,
        "eta": None if theorem is None or theorem.eta is None else str(plan.eta),
        "eta_theory": None if found.eta is None else str(found.eta), "inside": found.inside, "why": list(found.why),
    }  # fmt: skip


def complexity(setup: Setup, eps: float) -> list[dict[str, Any]]:
    """The paper's table for each distinct compressor of the methods that contracts, in the order of the methods."""
    c, found = theory.known(setup.problem), dict[str, dict[str, Any]]()
    for plan in setup.plans:
        bits = [C.bits(setup.problem.dim) for C in plan.compressors]
        some = [b for b in bits if b is not None]
        sent = sum(some) / len(some) / 32 if len(some) == len(bits) else None
        if plan.alpha is None:
            continue
        name = ", ".join(dict.fromkeys(map(repr, plan.compressors)))
        rows = [asdict(row) | {"samples": row.samples} for row in table(c, plan.alpha, sent, eps)]
        found.setdefault(name, {"compressor": name, "alpha": plan.alpha, "values_sent": sent, "rows": rows})
    return list(found.values())


def panel(setup: Setup) -> dict[str, Any] | None:
    """The constants for a run folder, where the scenario asks for theory's panel."""
    return constants(theory.known(setup.problem)) if setup.scenario.evaluate.theory else None


def described(setup: Setup, eps: float | None = None) -> dict[str, Any]:
    """All of it. eps: the |grad f| that is wanted, by default a tenth of that at x0.

    Raises: InputError where some client's samples are not here.
    """
    c = theory.known(setup.problem)
    eps = eps or (c.gradient_sq**0.5 / ROUNDS_DOWN or 1.0)
    methods = [method(setup, number) for number in range(len(setup.plans))]
    return {
        "name": setup.scenario.name, "rounds": setup.scenario.rounds, "constants": constants(c), "methods": methods,
        "eps": eps, "complexity": complexity(setup, eps),
    }  # fmt: skip
