"""summary.json: how a run ended, for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fl_ef21 import flower_traffic
from fl_ef21.traffic import LAYERS
from fl_ef21.types import Compressor
from scenarios import theory_told
from scenarios.fairness import final_figures
from scenarios.setup import Setup
from scenarios.tally import NO_QUORUM, Outcome, Tally


def summarise(
    setup: Setup, runtime: str, command: str, outcomes: Sequence[tuple[str, Outcome]], seconds: float,
    memory: dict[str, Any] | None = None, faults: dict[str, int] | None = None,
    fairness: Mapping[int, dict[str, Any]] | None = None, heterogeneity: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The whole file's content. fairness: of methods by their number, as far as it was measured."""
    scenario, dataset, counts = setup.scenario, setup.dataset, setup.label_counts
    complete = len(outcomes) == len(setup.plans) and all(o.status not in ("interrupted", "failed") for _, o in outcomes)
    failed = any(outcome.status == "failed" for _, outcome in outcomes)
    return {
        "name": scenario.name,
        "runtime": runtime,
        "command": command,
        "status": "finished" if complete else "failed" if failed else "interrupted",
        "wall_seconds": round(seconds, 3),
        "problem": {
            "model": scenario.model.name,
            "data": dataset.name if dataset is not None else "synthetic",
            "dim": setup.problem.dim,
            "clients": setup.problem.clients,
            "samples": len(dataset.labels) if dataset is not None and len(dataset.labels) else None,
            "per_client": setup.choice.way if setup.choice is not None else None,
            "seconds_per_client": dict(setup.choice.seconds) if setup.choice is not None else {},
        },
        "partition": None if dataset is None or counts is None else {
            "scheme": scenario.partition.scheme,
            "classes": list(dataset.classes),
            "label_counts": counts.tolist(),
        },
        "heterogeneity": heterogeneity,
        "theory": theory_told.panel(setup),
        "memory": memory,
        "chaos": None if scenario.chaos is None else {"words": scenario.chaos, "done": faults or {}},
        "polling": polling() if scenario.evaluate.traffic != "off" else None,
        "methods": [
            _method(setup, number, *ended) | _fairness((fairness or {}).get(number))
            for number, ended in enumerate(outcomes)
        ],
    }  # fmt: skip


def no_quorum(summary: Mapping[str, Any]) -> str:
    """Why a run was paused as too few clients answered; empty where it was not."""
    reasons = (str(m.get("reason") or "") for m in summary["methods"] if m.get("status") == "interrupted")
    return next((reason for reason in reasons if reason.startswith(NO_QUORUM)), "")


def polling() -> dict[str, Any]:
    """What an idle SuperNode costs: bytes of a poll that finds nothing and of a heartbeat, and how often they come."""
    poll, beat = flower_traffic.poll(), flower_traffic.heartbeat()
    return {
        "poll": {"uplink_bytes": poll.up, "downlink_bytes": poll.down, "seconds": 3.0},
        "heartbeat": {"uplink_bytes": beat.up, "downlink_bytes": beat.down, "seconds": 24.0},
    }


def _fairness(found: dict[str, Any] | None) -> dict[str, Any]:
    return {**final_figures(found), "fairness": found}


def _traffic(outcome: Outcome) -> dict[str, Any]:
    """Layers by direction, and the wire bytes of what is no round."""
    found = {
        way: {layer: outcome.tally.traffic[f"{way}_{layer}"] for layer in LAYERS} for way in ("uplink", "downlink")
    }
    return found | {"asides": {"uplink_wire_bytes": outcome.asides.up, "downlink_wire_bytes": outcome.asides.down}}


def _names(compressors: Sequence[Compressor]) -> str:
    """Up to three of them, and how many more."""
    told = [repr(C) for C in compressors[:3]]
    return ", ".join(told + [f"{len(compressors) - 3} more"] * (len(compressors) > 3))


def _method(setup: Setup, number: int, label: str, outcome: Outcome) -> dict[str, Any]:
    plan, tally = setup.plans[number], outcome.tally
    last = outcome.rows[-1] if outcome.rows else {}
    accuracies = [row["test_accuracy"] for row in outcome.rows if row["test_accuracy"] is not None]
    errors = [row["invariant_error"] for row in outcome.rows if row["invariant_error"] is not None]
    return {
        "label": label,
        "name": plan.method,
        "compressor": _names(plan.compressors),
        "downlink": repr(plan.downlink) if plan.downlink is not None else None,
        "prox": setup.scenario.method[number].prox,
        "lossless": all(C.alpha(setup.problem.dim) == 1 for C in plan.compressors),
        "gamma": str(plan.gamma),
        "eta": str(plan.eta),
        "status": outcome.status,
        "reason": outcome.reason,
        "rounds": tally.round,
        "dense_uplink_bytes": tally.answers * setup.problem.dim * plan.dtype.itemsize,
        "uplink_bytes": tally.uplink_bytes,
        "downlink_bytes": tally.downlink_bytes,
        "train_loss": last.get("train_loss"),
        "grad_norm_sq": last.get("grad_norm_sq"),
        "evaluated": last.get("evaluated"),
        "test_accuracy": last.get("test_accuracy"),
        "best_test_accuracy": max(accuracies, default=None),
        "rejected": tally.rejected,
        "rejected_reasons": tally.reasons,
        "abandoned_rounds": tally.abandoned,
        "surplus_replies": tally.surplus,
        "ledger_bytes": outcome.ledger_bytes,
        "quarantined": tally.quarantined,
        "evicted": tally.evicted,
        "invariant_error": max(errors, default=None),
        "wall_seconds": round(tally.seconds, 3),
        "server_seconds": _server_seconds(tally),
        "virtual_seconds": None if tally.virtual_seconds is None else round(tally.virtual_seconds, 6),
        "staleness": _staleness(tally.staleness),
        "devices": outcome.devices,
        "theory": theory_told.method(setup, number) if setup.scenario.evaluate.theory else None,
        "traffic": _traffic(outcome) if tally.traffic else None,
        "clients_per_second": round(tally.answers / tally.seconds, 1) if tally.seconds > 0 else None,
    }


def _server_seconds(tally: Tally) -> float | None:
    """What the server took of a real round, in the mean without the first."""
    return None if tally.server_seconds is None else round(tally.server_seconds / (tally.round - 1), 6)


def _staleness(counts: Mapping[str, int]) -> dict[str, Any] | None:
    """How many rounds before the one that used them messages were asked for; None where all were of their round."""
    told = {int(rounds): count for rounds, count in counts.items()}
    if not any(told):
        return None
    mean = sum(rounds * count for rounds, count in told.items()) / sum(told.values())
    histogram = {str(rounds): told[rounds] for rounds in sorted(told)}
    return {"mean": round(mean, 6), "max": max(told), "histogram": histogram}
