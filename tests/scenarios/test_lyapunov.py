"""The live panel of theory: its figures beside the recurrence written out, and runs that it does not change."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from fl_ef21.errors import InputError
from fl_ef21.problems.exact import gradient
from fl_ef21.theory.measured import pack, total
from scenarios import theory
from scenarios.lyapunov import COLUMNS
from scenarios.manner import Manner
from scenarios.progress import Progress, Silent
from scenarios.results import Result
from scenarios.runner import resume
from scenarios.schema import Scenario
from scenarios.setup import prepare

N, D, K, T = 4, 12, 3, 12
METHODS: list[dict[str, Any]] = [
    {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.05, "compressor": "topk", "k": K},
    {"name": "ef21-sgd", "gamma": 0.05, "compressor": "topk", "k": K},
    {"name": "sgdm", "eta": 0.3, "gamma": 0.05},
    {"name": "ef21-sgd2m", "eta": 0.3, "gamma": 0.05, "compressor": "topk", "k": K},
]


def watched(*methods: dict[str, Any], **changes: Any) -> Scenario:
    table: dict[str, Any] = {
        "name": "watched", "rounds": T, "seed": 3, "partition": {"clients": N}, "engine": {"actors": 0},
        "model": {"name": "quadratic", "dim": D, "sigma": 1.0}, "train": {"batch_size": 2, "dtype": "float64"},
        "method": list(methods), "evaluate": {"every": 1, "theory": True},
    }  # fmt: skip
    for key, value in changes.items():
        table[key] = table.get(key, {}) | value if isinstance(value, dict) else value
    return Scenario.model_validate(table)


def run(s: Scenario) -> Result:
    """Without a page, which takes longer than the rounds."""
    return scenarios.run(s, manner=Manner(page=False))


def topk(u: Any) -> Any:
    kept = np.zeros_like(u)
    for row, out in zip(u, kept, strict=True):
        at = np.argsort(-np.abs(row), kind="stable")[:K]
        out[at] = row[at]
    return kept


def recurrence(s: Scenario) -> list[dict[str, float]]:
    """The paper's Algorithm 1 of the first method, and what it says of every round, in NumPy."""
    method, problem = s.method[0], prepare(s).problem
    assert isinstance(method.gamma, float) and isinstance(method.eta, float)
    eta = 1.0 if method.name == "ef21-sgd" else method.eta
    alpha, C = (1.0, np.asarray) if method.name == "sgdm" else (K / D, topk)
    x, ids, least = problem.x0().numpy().copy(), torch.arange(N), theory.known(problem).least.value
    v = u = g = np.zeros((N, D))
    rows = []
    for t in range(1, T + 1):
        q = problem.gradients(torch.from_numpy(x), ids, t).numpy()
        kept = np.nan
        if t == 1:
            v = u = g = q
        else:
            v = (1 - eta) * v + eta * q
            u = (1 - eta) * u + eta * v if method.name == "ef21-sgd2m" else v
            c = C(u - g)
            whole = ((u - g) ** 2).sum(axis=1)
            kept = (1 - ((u - g - c) ** 2).sum(axis=1) / whole).mean()
            g = g + c
        exact = np.stack([gradient(problem, torch.from_numpy(x), i).numpy() for i in range(N)])
        f, slope = problem.objective(torch.from_numpy(x))
        G, P = ((g - u) ** 2).sum(axis=1).mean(), ((v - exact) ** 2).sum(axis=1).mean()
        Q = ((v.mean(axis=0) - slope.numpy()) ** 2).sum()
        value = f - least + method.gamma * (G / alpha + eta * P / alpha**2 + Q / eta)
        rows.append(dict(zip(COLUMNS, (kept, P, G, Q, value), strict=True)))
        x = x - method.gamma * g.mean(axis=0)
    return rows


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["name"])
def test_every_figure_is_that_of_the_recurrence_written_out(method: dict[str, Any]) -> None:
    s = watched(method)
    rounds, wanted = run(s).rounds, recurrence(s)
    assert rounds.loc[0, list(COLUMNS)].isna().all()  # at x0 nobody has a state yet
    for t in range(1, T + 1):
        for name in COLUMNS:
            found, right = float(rounds[name].iloc[t]), wanted[t - 1][name]
            if name == "lyapunov" and method["name"] == "ef21-sgd2m":
                assert np.isnan(found)  # the paper's function is of one momentum
            else:
                assert found == pytest.approx(right, rel=1e-9, abs=1e-14, nan_ok=True), (t, name)


def measured(result: Result) -> Any:
    return result.rounds.drop(columns=["wall_seconds", *COLUMNS])


def test_no_method_goes_another_way_for_being_watched() -> None:
    changes: dict[str, Any] = {"train": {"participation": 0.5}, "shadow": ["sign"], "rounds": 5}
    both = [watched(*METHODS, **changes, evaluate={"every": 2, "theory": theory}) for theory in (False, True)]
    plain, seen = map(run, both)
    assert measured(seen).equals(measured(plain)) and seen.shadow.equals(plain.shadow)
    assert plain.rounds[list(COLUMNS)].isna().all().all()
    assert seen.of("ef21-sgdm").set_index("round").loc[[2, 4, 5], list(COLUMNS)].notna().all().all()


class Impatient(Silent):
    """Presses Ctrl-C in round 3."""

    def round(self, progress: Progress) -> None:
        if progress.round == 3:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_that_goes_on_has_the_figures_of_one_that_was_never_stopped(tmp_path: Any) -> None:
    s = watched(METHODS[0], rounds=6, durability="disk", evaluate={"every": 2, "theory": True})
    stopped = scenarios.run(s, out=tmp_path / "run", listener=Impatient(), manner=Manner(page=False))
    assert stopped.summary["status"] == "interrupted"
    found = resume(tmp_path / "run", manner=Manner(page=False)).rounds
    assert found[list(COLUMNS)].equals(run(s).rounds[list(COLUMNS)])


def test_what_the_server_does_not_follow_has_no_figures() -> None:
    rounds = run(watched({"name": "compressed-sgd", "gamma": 0.05, "compressor": "topk", "k": K})).rounds
    assert rounds["measured_alpha"].notna().sum() == T and rounds["momentum_error"].isna().all()


def test_with_the_step_of_the_theorem_and_no_noise_the_lyapunov_value_never_rises() -> None:
    method = METHODS[0] | {"gamma": "theory"}
    s = watched(method, train={"batch_size": "full"}, rounds=30, evaluate={"every": 1, "audit": False})
    values = run(s).rounds["lyapunov"].tolist()[1:]
    assert all(b <= a for a, b in pairwise(values)) and values[-1] < values[0]


def test_clients_that_tell_something_else_are_passed_over() -> None:
    v = torch.ones(3, 2)
    told = pack(v, v, 2 * v, 0 * v)
    found = total(told, torch.tensor([0.5, 0.25, 0.25]), 2)
    assert found is not None and (found.compression, found.momentum, found.v.tolist()) == (2.0, 2.0, [1.0, 1.0])
    assert total([*told[:2], b""], torch.ones(3), 2) is None


@pytest.mark.system
@pytest.mark.nightly
def test_actors_and_flowers_simulation_tell_the_same(tmp_path: Any) -> None:
    s = watched(METHODS[0], rounds=4)
    here = scenarios.run(s).rounds[list(COLUMNS)]
    two = s.model_copy(update={"engine": s.engine.model_copy(update={"actors": 2})})
    assert scenarios.run(two).rounds[list(COLUMNS)].equals(here)
    theirs = scenarios.run(two, runtime="flower", out=tmp_path / "run").rounds[list(COLUMNS)]
    assert (theirs - here).abs().max().max() < 1e-9


def test_the_report_says_whether_the_step_is_inside_and_draws_what_was_measured(tmp_path: Any) -> None:
    inside = METHODS[0] | {"gamma": 1e-4, "label": "careful"}
    ef14 = {"name": "ef14", "gamma": 0.05, "compressor": "topk", "k": K}
    done = scenarios.run(watched(METHODS[0] | {"label": "bold"}, inside, ef14, rounds=4), out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    careful, outside = done.summary["methods"][1]["theory"], done.summary["methods"][0]["theory"]
    assert outside["inside"] is False and careful["inside"] is True
    assert done.summary["methods"][2]["theory"]["theorem"] is None
    allowed = min(K / D / 20, 0.3 / 7)
    assert outside["gamma_allowed"] == pytest.approx(allowed) and done.summary["theory"]["L"] == 1.0
    assert f"bold: γ = 0.05; its theorem allows {allowed:.4g}: outside." in page
    assert f"careful: γ = 0.0001; its theorem allows {allowed:.4g}: inside." in page
    assert all(f'data-y="{name}"' in page for name in COLUMNS)


def test_without_the_switch_there_is_no_section_and_no_figures_more(tmp_path: Any) -> None:
    done = scenarios.run(watched(METHODS[0], rounds=2, evaluate={"theory": False}), out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert done.summary["theory"] is None and 'id="theory"' not in page and "lyapunov" not in page.split("scenario")[0]


def test_samples_that_lie_elsewhere_cannot_be_watched() -> None:
    with pytest.raises(InputError, match=r"evaluate\.theory"):
        theory.refuse(watched(METHODS[0]), partial=True)
