"""`fl-ef21 theory`: what it prints, and how it ends where nothing can be said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenarios.cli import app

SCENARIO = """
name = "small"
rounds = 50
[partition]
clients = 4
[model]
name = "quadratic"
dim = 20
sigma = 2.0
[train]
batch_size = 2
dtype = "float64"
[[method]]
name = "ef21-sgdm"
gamma = "theory"
eta = "theory"
compressor = "topk"
k = 5
[[method]]
name = "ef14"
gamma = 0.1
compressor = "topk"
k = 5
[[method]]
name = "ef21-sgd"
gamma = 0.1
compressor = "sign"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def call(*words: Any) -> Any:
    return CliRunner().invoke(app, ["theory", *map(str, words)])


def test_constants_steps_and_predictions_are_printed(file: Path) -> None:
    done = call(file, "--eps", "0.1")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    (L,) = [line.split() for line in lines if line.strip().startswith("L ")]
    assert L[1] == "1" and "exact" in L
    assert any("ef21-sgdm" in line and "inside" in line for line in lines)
    assert "To |grad f| <= 0.1 with TopK(k=5, values=exact), alpha = 0.25" in done.stdout
    assert "NeurIPS 2023 [recalled]" in done.stdout  # rich takes square brackets for its own
    assert 'ef21-sgd: its theorem is about exact gradients; take train.batch_size = "full".' in done.stdout


def test_json_holds_the_same_and_more(file: Path) -> None:
    told = json.loads(call(file, "--format", "json", "--eps", "0.1").stdout)
    sgdm, ef14, sgd = told["methods"]
    assert told["constants"]["sigma_sq"] == 4 and told["constants"]["sigma_sq_batch"] == 2
    assert sgdm["inside"] is True and ef14["theorem"] is None and sgd["gamma_allowed"] is None
    assert [one["compressor"] for one in told["complexity"]] == ["TopK(k=5, values=exact)", "Sign()"]
    rows = {row["method"]: row for row in told["complexity"][0]["rows"]}
    assert rows["ef21-sgdm"]["coordinates"] == pytest.approx(5 * rows["ef21-sgdm"]["rounds"])


def test_twice_the_accuracy_costs_sixteen_times_the_noise_term(file: Path) -> None:
    def noise(eps: float) -> float:
        told = json.loads(call(file, "--format", "json", "--eps", eps).stdout)
        return float(told["complexity"][0]["rows"][4]["terms"]["eps^-4"])

    assert noise(0.05) == pytest.approx(16 * noise(0.1))


def test_a_change_is_taken_and_what_has_no_theorem_ends_with_code_3(file: Path) -> None:
    full = json.loads(call(file, "--set", 'train.batch_size="full"', "--format", "json").stdout)
    assert full["methods"][2]["gamma_allowed"] is not None and full["constants"]["sigma_sq_batch"] == 0
    wrong = call(file, "--set", "method.1.gamma=theory")
    assert wrong.exit_code == 3 and "ef21-sgdm" in wrong.stderr
    assert call(file, "--eps", "-1").exit_code == 3
