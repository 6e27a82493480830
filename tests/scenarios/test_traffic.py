"""What a run's folder says of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

import scenarios
from fl_ef21.errors import InputError
from scenarios import report
from scenarios.loading import parse
from scenarios.results import Result
from tests.scenarios import run_folder

SCENARIO = """
name = "small"
rounds = 4
partition = {{ clients = 6 }}
train = {{ participation = 0.5 }}
evaluate = {{ every = 2, traffic = "{kept}" }}
engine = {{ actors = 0 }}
method = [{{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 9 }}]
"""


def ran(folder: Path, kept: str) -> Result:
    return scenarios.run(parse(SCENARIO.format(kept=kept)), out=folder / kept)


def test_clients_rounds_and_the_summary_add_up(tmp_path: Path) -> None:
    run = ran(tmp_path, "clients")
    (method,) = run.summary["methods"]
    messages, clients = run.traffic(method["label"], each="message"), run.traffic(method["label"])
    last = run.rounds.iloc[-1]
    for way in ("uplink", "downlink"):
        for layer, total in method["traffic"][way].items():
            name = f"{way}_{layer}"
            assert messages[name].sum() == clients[name].sum() == total > 0, name
            column = f"{way}_bytes" if layer == "payload_bytes" else name
            assert last[column] == total, column
    assert len(messages) == 6 + 3 * 3 == clients["asked"].sum()
    assert messages["uplink_algorithm_bits"].sum() == 6 * 32 * 640 + 9 * 16 * 9  # k = 9 in bfloat16
    assert method["traffic"]["asides"]["uplink_wire_bytes"] > 0
    page = (run.folder / "report.html").read_text()  # type: ignore[operator]
    assert "payload / bound" in page and "on the wire" in page


def test_rounds_keep_sums_of_clients_and_say_how_to_keep_more(tmp_path: Path) -> None:
    run = ran(tmp_path, "rounds")
    label = run.summary["methods"][0]["label"]
    assert len(run.traffic(label)) == 6
    with pytest.raises(InputError, match=r'evaluate\.traffic = "clients" keeps it'):
        run.traffic(label, each="message")


def test_a_run_without_account_has_payloads_alone(tmp_path: Path) -> None:
    run = ran(tmp_path, "off")
    assert run.rounds["uplink_bytes"].max() > 0 and run.rounds["uplink_wire_bytes"][1:].isna().all()
    assert run.summary["methods"][0]["traffic"] is None and run.summary["polling"] is None
    assert "payload / bound" not in (run.folder / "report.html").read_text()  # type: ignore[operator]


def test_folders_of_earlier_versions_still_load_and_report(tmp_path: Path) -> None:
    folder = run_folder.make(tmp_path / "old")
    old = Result.load(folder)
    assert old.rounds["uplink_wire_bytes"].isna().all()
    assert "payload / bound" not in report.write(folder).read_text()
