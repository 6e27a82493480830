"""Claims against figures that are known."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from fl_ef21.errors import InputError
from scenarios.papers.form import Claim
from scenarios.papers.verdicts import judge

ROUNDS = 8


def row(folder: Path, label: str, curves: list[list[list[float]]], status: str = "finished", **setting: Any) -> Any:
    """A method with a candidate for each of `curves`, each with a curve of losses for each seed."""
    candidates = []
    for number, curve in enumerate(curves):
        trials = []
        for seed, losses in enumerate(curve):
            name = f"{label}-{number}-{seed}-{len(setting)}-{'-'.join(map(str, setting.values()))}"
            (folder / name).mkdir()
            told = {"status": "finished", "methods": [{"status": status}]}
            (folder / name / "summary.json").write_text(json.dumps(told))
            rows = [{"round": 2 * i, "train_loss": loss, "test_accuracy": 1 - loss, "uplink_algorithm_bits": 64 * i}
                    for i, loss in enumerate(losses)]  # fmt: skip
            (folder / name / "rounds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
            trials.append(SimpleNamespace(id=name, seed=seed, scenario=SimpleNamespace(rounds=ROUNDS)))
        candidates.append(SimpleNamespace(candidate=SimpleNamespace(pruned=None, trials=trials)))
    return SimpleNamespace(arm=SimpleNamespace(label=label, setting=setting, options={}), tried=candidates)


def verdict(rows: list[Any], folder: Path, on_small: bool = False, **claim: Any) -> Any:
    claim = {"says": "so", "figure": "train_loss"} | claim
    return judge(Claim.model_validate(claim), SimpleNamespace(rows=rows), folder, on_small)  # type: ignore[arg-type]


def test_the_ratio_is_taken_seed_by_seed(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[9, 2.0], [9, 8.0]]]), row(tmp_path, "b", [[[9, 1.0], [9, 4.0]]])]
    told = verdict(rows, tmp_path, of={"method": "a"}, over={"method": "b"}, at_least=2, at_most=2)
    assert told.holds and told.measured.n == 2
    assert (told.measured.low, told.measured.mean, told.measured.high) == pytest.approx((2, 2, 2))


def test_the_whole_interval_must_be_inside(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[1.0], [3.0], [5.0]]])]
    assert verdict(rows, tmp_path, of={"method": "a"}, at_least=1).holds
    assert not verdict(rows, tmp_path, of={"method": "a"}, at_least=2).holds  # the mean is 3
    assert not verdict(rows, tmp_path, of={"method": "a"}, at_most=4).holds


def test_each_method_is_taken_with_the_step_size_that_is_best_in_the_figure(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[0.1, 0.5], [0.1, 0.5]], [[0.4, 0.3], [0.4, 0.3]]])]
    assert verdict(rows, tmp_path, of={"method": "a"}, at_most=0.3).measured.mean == pytest.approx(0.3)
    assert verdict(rows, tmp_path, of={"method": "a"}, when="least", at_most=0.3).measured.mean == pytest.approx(0.1)
    best = verdict(rows, tmp_path, figure="test_accuracy", of={"method": "a"}, at_least=0.5)
    assert best.measured.mean == pytest.approx(0.7)


def test_the_tail_is_the_second_half_of_the_rounds(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[100, 100, 100, 1, 3]]])]  # rounds 0, 2, 4, 6, 8
    assert verdict(rows, tmp_path, of={"method": "a"}, when="tail", at_most=2).measured.mean == 2


def test_a_run_that_diverged_is_worse_than_any_and_says_so(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[1.0], [1.0]]], status="diverged"), row(tmp_path, "b", [[[5.0], [5.0]]])]
    assert verdict(rows, tmp_path, of={"method": "a"}, over={"method": "b"}, at_least=1e9).holds
    assert not verdict(rows, tmp_path, of={"method": "a"}, over={"method": "b"}, at_most=1e9).holds
    assert verdict(rows, tmp_path, figure="diverged", of={"method": "a"}, at_least=1).holds
    assert not verdict(rows, tmp_path, of={"method": "a"}, over={"method": "a"}, at_least=0).holds


def test_bits_are_those_of_the_first_median_at_the_target_and_infinite_where_it_never_is(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[5, 1, 5, 1, 1, 1]]]), row(tmp_path, "b", [[[5, 5, 5, 5, 5, 5]]])]
    told = verdict(rows, tmp_path, figure="bits_to_loss", target=1, of={"method": "a"}, at_most=64 * 4)
    assert told.measured.mean == 64 * 4  # medians of five: 5, 3, 5, 3, 1
    never = verdict(
        rows, tmp_path, figure="bits_to_loss", target=1, of={"method": "b"}, over={"method": "a"}, at_least=2
    )
    assert never.holds and math.isinf(never.measured.mean)


def test_settings_tell_methods_of_one_name_apart(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[float(n)]]], **{"partition.clients": n}) for n in (1, 4)]
    of = {"method": "a", "partition.clients": 4}
    assert verdict(rows, tmp_path, of=of, at_least=4).measured.mean == 4
    with pytest.raises(InputError, match="means 2 methods"):
        verdict(rows, tmp_path, of={"method": "a"}, at_least=4)
    with pytest.raises(InputError, match="is nowhere in the study; did you mean 'a'"):
        verdict(rows, tmp_path, of={"method": "aa"}, at_least=4)


def test_on_the_reduced_size_only_what_is_claimed_for_it_is_judged(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a", [[[1.0], [1.0]]])]
    assert verdict(rows, tmp_path, True, of={"method": "a"}, at_most=0.5) is None
    assert verdict(rows, tmp_path, True, of={"method": "a"}, at_most=0.5, small={"at_most": 2}).holds


@pytest.mark.parametrize(
    ("claim", "why"),
    [({"at_least": None}, "needs at_least or at_most"), ({"over": {"method": "b"}, "less": {"method": "b"}}, "one of"),
     ({"figure": "bits_to_loss"}, "which needs it"), ({"target": 1.0}, "which needs it")],
)  # fmt: skip
def test_a_claim_that_cannot_be_judged_is_refused(claim: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Claim.model_validate({"says": "so", "figure": "train_loss", "of": {"method": "a"}, "at_least": 1} | claim)
