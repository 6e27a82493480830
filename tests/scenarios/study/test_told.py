"""What docs/studies.md says of keys, defaults and files is so; the command prints the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from scenarios.cli import app
from scenarios.study.form import Budget, Machine, Prune, Search, Study
from scenarios.study.plan import plan
from scenarios.study.reading import parse
from tests.scenarios.study.studies import SCENARIO
from tests.test_docs import ROOT, blocks, table

TEXT = (ROOT / "docs" / "studies.md").read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "key": Study, "key of `[search]`": Search, "key of `[prune]`": Prune, "key of `[budget]`": Budget,
    "key of `[machine]`": Machine,
}  # fmt: skip


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_stands_in_its_table_with_its_default(heading: str) -> None:
    told = table(TEXT, f"{heading} | default | meaning")
    fields = SECTIONS[heading].model_fields
    assert list(told) == list(fields)
    for key, said in told.items():
        default = fields[key].get_default(call_default_factory=True)
        if fields[key].is_required():
            assert said == "needed", key
        elif default is None:
            assert said == "–", key
        elif isinstance(default, BaseModel):
            assert said == "{}" and default == type(default)(), key
        else:
            assert json.loads(said) == default, key


def test_the_files_that_stand_there_are_those_it_leaves() -> None:
    from scenarios.study import conduct, results

    left = {conduct.FILE, conduct.NOTE, conduct.TRIALS, results.TABLE, results.ALL, results.SUMMARY, results.PAGE}
    assert set(table(TEXT, "file |")) == left | {results.PICTURE}


def test_the_study_that_stands_there_can_be_planned() -> None:
    (text,) = blocks("docs/studies.md", "toml")
    assert len(plan(parse(text, "skew.toml", Path.cwd())).arms) == 2 * (1 + 5 * 2)


def test_the_command_runs_a_study_and_goes_on_with_its_folder(tmp_path: Path) -> None:
    file, out = tmp_path / "s.toml", tmp_path / "out"
    file.write_text('name = "s"\nseeds = [3]\n[grid]\nmethod = ["sgdm"]\n' + SCENARIO)
    words = ["study", str(file), "--out", str(out), "--parallel", "0", "--set", "rounds=2"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0 and "sgdm" in first.stdout and str(out / "study.html") in first.stdout
    again = CliRunner().invoke(app, ["study", str(out), "--format", "json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["rows"][0]["method"] == "sgdm"
    assert CliRunner().invoke(app, words).exit_code == 3
    assert CliRunner().invoke(app, ["study", str(out), "--set", "rounds=3"]).exit_code == 3
    file.write_text(file.read_text().replace("seeds", "sedes"))
    typo = CliRunner().invoke(app, ["study", str(file), "--out", str(tmp_path / "no")])
    assert typo.exit_code == 3 and "did you mean 'seeds'" in typo.stderr and not (tmp_path / "no").exists()
