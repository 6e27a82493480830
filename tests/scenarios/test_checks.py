"""`fl-ef21 verify` and `fl-ef21 audit` find nothing in a good run, and whatever was changed in another."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21 import cut, failpoints
from fl_ef21.errors import InputError
from scenarios.auditing import audit
from scenarios.checks import Check
from scenarios.cli import app
from scenarios.results import Result
from scenarios.runner import resume
from scenarios.verifying import verify
from strategies.journal import Journal
from tests.scenarios.lasting_runs import DOWNLINK, lasting
from tests.small import ALL_METHODS

METHODS = [{**DOWNLINK, "label": "down"}, *ALL_METHODS[1:4], ALL_METHODS[5]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("good") / "run"
    scenarios.run(lasting(method=METHODS, rounds=7, cuts={"every": 3}, shadow=[]), out=out)
    return out


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "copy")
    return tmp_path / "copy"


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def wrong(checks: list[Check]) -> list[Check]:
    return [check for check in checks if not check.good]


def test_a_good_run_passes_both(good: Path) -> None:
    found = verify(good, 9, seed=1)
    assert not wrong(found) and len([check for check in found if check.what.startswith("round ")]) == 9
    assert verify(good, 9, seed=1) == found
    checks = audit(good)
    assert not wrong(checks)
    sums = {check.method for check in checks if check.what.startswith("g of round")}
    assert sums == {"down", "ef21-sgd", "ef21-sgd2m"}
    assert len([check for check in checks if check.what == "models"]) == len(METHODS)


def test_rounds_are_computed_from_the_cut_before_them(good: Path) -> None:
    """Of 35 rounds all are drawn; each is computed once, but those before the first drawn one of a stretch."""
    assert verify(good, 1000, seed=0)[-1].told == "35 rounds were computed again for 35 of 35"
    (check, _) = verify(good, 1, seed=4)
    computed = int(verify(good, 1, seed=4)[-1].told.split()[0])
    assert computed == (int(check.what.split()[1]) - 1) % 3 + 1


def test_payloads_that_were_folded_are_gone_and_the_rest_still_holds(tmp_path: Path) -> None:
    """With nearly everything sent, two rounds weigh more than two vectors a client."""
    dense = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": 600, "values": "exact"}
    some = lasting(method=[dense], rounds=9, cuts={"every": 2, "keep_last": 1}, shadow=[], train={"participation": 1.0})
    with failpoints.arm("training.round:raise:8"), pytest.raises(failpoints.Failed):
        scenarios.run(some, out=tmp_path / "run")
    resume(tmp_path / "run")
    scenarios.run(some, out=tmp_path / "other")
    a, b = Result.load(tmp_path / "run").rounds, Result.load(tmp_path / "other").rounds
    assert list(a["train_loss"]) == list(b["train_loss"])
    for folder in (tmp_path / "run", tmp_path / "other"):
        journal = Journal.read(folder / "journal.sqlite")
        assert 0 < journal.folded(0) <= 8 and journal.payload_bytes(0, 9) < 9 * 12 * 600 * 4
        journal.close()
        checks = audit(folder)
        assert not wrong(checks) and any("those after round" in check.told for check in checks)
        assert any(check.what == "g of round 9" for check in checks)
        found = verify(folder, 9, seed=0)
        assert not wrong(found) and len(found) == 10


def flip(folder: Path, round: int) -> None:
    """A bit of the last payload of a round of the first method."""
    db = sqlite3.connect(folder / "journal.sqlite")
    ((body,),) = db.execute("SELECT payloads FROM body WHERE id = ?", (round,)).fetchall()
    changed = bytearray(body)
    changed[-3] ^= 1
    db.execute("UPDATE body SET payloads = ? WHERE id = ?", (bytes(changed), round))
    db.commit()
    db.close()


def test_a_flipped_bit_in_a_payload_is_found_by_both(copy: Path) -> None:
    flip(copy, 5)
    (found,) = wrong(audit(copy))
    assert found.method == "down" and "round 5" in found.told
    found, *_ = wrong(verify(copy, 35, seed=0))
    assert (found.method, found.what) == ("down", "round 5") and "damaged" in found.told
    done = call("audit", str(copy), "--format", "json")
    assert done.exit_code == 5
    assert [one["good"] for one in json.loads(done.stdout)].count(False) == 1
    assert "1 of" in done.stderr and "round 5" in done.stderr


def rewrite(folder: Path, name: str, change: Any) -> None:
    """A cut whose digests are right and whose contents are not."""
    old = cut.read(folder)
    with cut.Writer(folder, durable=False) as writer:
        for one in old.names:
            tensors, note = old.load(one)
            if one.startswith(name):
                change(tensors, note)
            writer.add(one, tensors, note)
        writer.seal(old.about)


def test_a_changed_model_in_a_cut_is_found_by_the_audit(copy: Path) -> None:
    def change(tensors: dict[str, Any], note: dict[str, Any]) -> None:
        (x,) = [tensor for key, tensor in tensors.items() if key.startswith("descent:x")]
        x[3] += 0.5

    rewrite(copy / "cuts" / "0000-00000006", "server", change)
    found = wrong(audit(copy))
    assert found and found[0].method == "down"


def test_a_changed_state_of_a_client_in_a_cut_is_found_by_verify(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(tensors: dict[str, Any], note: dict[str, Any]) -> None:
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor += 0.25

    rewrite(copy / "cuts" / "0000-00000006", "clients", change)
    monkeypatch.setattr(random.Random, "sample", lambda *_: [(0, 7)])
    found = wrong(verify(copy, 1, seed=0))
    assert [(check.method, check.what) for check in found] == [("down", "round 7")]
    assert "payloads differ" in found[0].told


def test_the_tables_are_for_people_and_the_json_for_programs(good: Path) -> None:
    done = call("verify", str(good), "--rounds", "2", "--seed", "3")
    assert done.exit_code == 0 and done.stdout.count("\n") == 3 and done.stdout.startswith("ok")
    assert "computed again for 2 of 35" in done.stdout
    done = call("audit", str(good), "--format", "json")
    assert done.exit_code == 0 and {"method", "what", "good", "told"} == set(json.loads(done.stdout)[0])


def test_a_run_without_a_journal_is_refused(tmp_path: Path) -> None:
    scenarios.run(lasting(durability="memory", rounds=1, shadow=[]), out=tmp_path / "run")
    for check in (audit, lambda folder: verify(folder, 1, 0)):
        with pytest.raises(InputError, match="has no journal: the run was not durable"):
            check(tmp_path / "run")
    assert call("verify", str(tmp_path / "no")).exit_code == 3
    assert call("verify", str(tmp_path / "run"), "--rounds", "0").exit_code == 3
