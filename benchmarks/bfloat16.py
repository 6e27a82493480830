"""What momenta kept in bfloat16 cost and save: the same runs on digits, side by side.

    python -m benchmarks.bfloat16 [--json] [--rounds N]

The quickstart's data and partition: 100 clients, Dirichlet 0.3, one sample a step, the largest 1 % sent. Loss,
|grad f|^2 and accuracy are means over the last ten evaluations, as one alone is noise; clients/s want a machine that
does little else.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

import scenarios
from scenarios.schema import Scenario

METHODS = ("ef21-sgdm", "ef21-sgd2m")
GAMMAS = {0.1: 0.1, 0.01: 0.02}  # for each eta; with 0.1 double momentum of 0.01 does not settle, rounded or not
LAST = 10


def scenario(eta: float, momentum: str | None, rounds: int) -> Scenario:
    method = {"eta": eta, "gamma": GAMMAS[eta], "compressor": "topk", "fraction": 0.01, "values": "exact"}
    return Scenario.model_validate({
        "name": "bfloat16", "rounds": rounds, "seed": 1, "partition": {"clients": 100, "scheme": "dirichlet"},
        "train": {"batch_size": 1, "momentum_dtype": momentum},
        "method": [{"name": name} | method for name in METHODS],
        "evaluate": {"every": max(1, rounds // 50)}, "engine": {"actors": 0},
    })  # fmt: skip


def measure(eta: float, momentum: str | None, rounds: int) -> list[dict[str, Any]]:
    """A row for each method."""
    result = scenarios.run(scenario(eta, momentum, rounds))
    rows = []
    for method in result.summary["methods"]:
        last = result.of(method["label"]).tail(LAST)
        rows.append({
            "method": method["name"], "eta": eta, "momentum": momentum or "float32",
            "train_loss": float(last["train_loss"].mean()), "grad_norm_sq": float(last["grad_norm_sq"].mean()),
            "test_accuracy": float(last["test_accuracy"].mean()), "invariant_error": method["invariant_error"],
            "state_bytes": state_bytes(method["name"], momentum), "clients_per_second": method["clients_per_second"],
        })  # fmt: skip
    return rows


def state_bytes(method: str, momentum: str | None) -> int:
    """Of all clients under this method alone."""
    from scenarios import footprint
    from scenarios.setup import prepare

    asked = scenario(0.1, momentum, 1)
    alone = asked.model_copy(update={"method": [one for one in asked.method if one.name == method]})
    return footprint.measure(prepare(alone)).state.bytes


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.bfloat16")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [row for eta in GAMMAS for kept in (None, "bfloat16") for row in measure(eta, kept, asked.rounds)]
    rows.sort(key=lambda row: (row["method"], -row["eta"], row["momentum"] != "float32"))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print("| method | eta | v, u kept as | train loss | \\|grad f\\|^2 | accuracy | state | clients/s |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['method']} | {row['eta']} | {row['momentum']} | {row['train_loss']:.4f} | "
              f"{row['grad_norm_sq']:.3g} | {row['test_accuracy']:.1%} | {row['state_bytes'] / 1e6:.2f} MB | "
              f"{row['clients_per_second']:,.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
