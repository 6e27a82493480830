"""A method or a compressor of somebody else is one file of sixty lines at the most, and takes nothing else."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21 import plugins
from fl_ef21.errors import InputError
from scenarios import changes
from scenarios.cli import app
from scenarios.loading import ScenarioError, load, parse, to_toml
from scenarios.run_file import RunFile
from scenarios.setup import prepare

ROOT = Path(__file__).resolve().parent.parent
SMALL = """
name = "theirs"
rounds = 4
[partition]
clients = 6
[train]
batch_size = 2
[engine]
actors = 0
"""
MODULES = ("clag", "jitter", "vote", "rule")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in found]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the pages, in the folder that a command is started in; on no path."""
    path = list(sys.path)
    clag, rule, vote = blocks("new-method.md", "python")
    (jitter,) = blocks("new-compressor.md", "python")
    for name, text in zip(MODULES, (clag, jitter, vote, rule), strict=True):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fl_ef21.engine.grid.gc.collect", lambda: 0)
    yield tmp_path
    sys.path[:] = path
    for name in MODULES:
        sys.modules.pop(name, None)


def methods(page: str) -> str:
    return next(text for text in blocks(page, "toml") if "[[method]]" in text)


def says(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_each_file_of_the_pages_has_sixty_lines_at_the_most(here: Path) -> None:
    assert all(len((here / f"{name}.py").read_text().splitlines()) <= 60 for name in MODULES)


def test_a_method_beside_the_scenario_runs_by_its_name() -> None:
    other = SMALL + methods("new-method.md").replace("clag:CLAG", "ef21-sgd").replace("hyper", "# hyper")
    ours, theirs = (
        scenarios.run(parse(text)) for text in (SMALL + methods("new-method.md").replace("1.0", "0.0"), other)
    )
    assert ours.rounds["train_loss"].tolist() == theirs.rounds["train_loss"].tolist()
    assert ours.rounds["method"].unique().tolist() == ["CLAG"]
    assert (ours.rounds["invariant_error"] < 1e-6).all()


def test_so_does_one_with_a_server_half_of_its_own() -> None:
    vote = '[[method]]\nname = "vote:MajorityVote"\ngamma = 0.003\ncompressor = "sign"\n'
    losses = scenarios.run(parse(SMALL.replace("batch_size = 2", 'batch_size = "full"') + vote)).rounds["train_loss"]
    losses = losses.tolist()
    assert losses[-1] < losses[0]


def test_a_compressor_beside_the_scenario_runs_by_its_name_up_down_and_as_a_shadow() -> None:
    text = SMALL + methods("new-compressor.md") + 'downlink = "jitter:Jitter:3"\n'
    text = text.replace("rounds = 4", 'rounds = 4\nshadow = ["jitter:Jitter:stride=2"]')
    result = scenarios.run(parse(text))
    assert result.summary["methods"][0]["compressor"] == "Jitter(stride=8, scaled=False)"
    assert result.rounds["uplink_bytes"].iloc[-1] < result.rounds["downlink_bytes"].iloc[-1]


def test_a_resolved_scenario_with_them_loads_back_equal() -> None:
    scenario = parse(SMALL + methods("new-method.md") + methods("new-compressor.md"))
    assert parse(to_toml(scenario)) == scenario
    assert 'name = "clag:CLAG"' in to_toml(scenario) and "stride = 8" in to_toml(scenario)


def test_who_has_another_version_of_the_file_agrees_no_more(here: Path) -> None:
    scenario = parse(SMALL + methods("new-method.md"))
    before = prepare(scenario).source
    assert prepare(scenario).source == before
    (here / "clag.py").write_text((here / "clag.py").read_text() + "# another\n")
    assert prepare(scenario).source != before


def test_a_run_remembers_the_file_and_does_not_go_on_with_another(here: Path) -> None:
    scenario = parse(SMALL + methods("new-method.md"))
    scenarios.run(scenario, out=here / "run")
    assert "clag.py" in json.loads((here / "run" / "run.json").read_text())["sources"]
    (here / "clag.py").write_text((here / "clag.py").read_text() + "# another\n")
    with pytest.raises(InputError, match=r"clag\.py: changed"):
        changes.refuse(RunFile.load(here / "run"), load(here / "run"), force=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("method.name=clag:CALG", "clag has no 'CALG'; did you mean 'CLAG'?"),
        ("method.name=clga:CLAG", "there is no module 'clga'"),
        ("method.name=clag:sums", "is a function; a class is wanted"),
        ("method.hyper.zetta=1", "did you mean 'zeta'?"),
        ("method.hyper.zeta=-1", r"method\[0\].hyper.zeta = -1.0: must be at least 0"),
        ("method.options.k=3", "those of 'topk' are keys of the method"),
    ],
)
def test_what_is_wrong_with_them_is_named(change: str, told: str) -> None:
    with pytest.raises((InputError, ScenarioError), match=told):
        prepare(parse(SMALL + methods("new-method.md"), [change]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("method.options.strid=3", "options.strid = 3: is not an option of 'jitter:Jitter', which takes stride"),
        ("method.options.stride=0", "options.stride = 0: must be a whole number"),
        ("method.options.dim=3", "comes from the model"),
        ("method.compressor=jitter:Jitters", "did you mean 'Jitter'"),
    ],
)
def test_so_is_what_is_wrong_with_a_compressor(change: str, told: str) -> None:
    with pytest.raises((InputError, ScenarioError), match=told):
        prepare(parse(SMALL + methods("new-compressor.md"), [change]))


def test_entry_points_give_them_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [text for page in ("new-method.md", "new-compressor.md") for text in blocks(page, "toml")]
    found = re.findall(r'entry-points\."(.*?)"\]\n(\w+) = "(.*?)"', "".join(tables))
    monkeypatch.setattr(plugins, "installed", lambda group: {name: path for g, name, path in found if g == group})
    text = methods("new-method.md").replace("clag:CLAG", "clag").replace('"topk"\nfraction = 0.05', '"jitter"')
    setup = prepare(parse(SMALL + text + "options = { stride = 8 }\n"))
    assert repr(setup.plans[0].compressor) == "Jitter(stride=8, scaled=False)"
    with pytest.raises(ScenarioError, match="did you mean 'clag'"):
        parse(SMALL + text.replace('"clag"', '"clagg"'))
    assert "EF21-SGD that skips what has hardly changed. [clag:CLAG]" in says("list", "methods").stdout
    assert "[jitter:Jitter]" in says("list", "compressors").stdout


def test_check_finds_nothing_wrong_with_the_method_of_the_page() -> None:
    words = ["--like", "ef21-sgd", "--set", "method.hyper.zeta=0", "--oracle", "rule.py"]
    done = says("check", "clag:CLAG", *words, "--format", "json")
    told = json.loads(done.stdout)["findings"]
    assert done.exit_code == 0 and len(told) == 13 and all(finding["holds"] for finding in told)


def test_check_finds_what_the_page_says_it_found(here: Path) -> None:
    (here / "clag.py").write_text((here / "clag.py").read_text().replace("[:, None]", ""))
    done = says("check", "clag:CLAG", "--format", "json")
    wrong = {finding["says"] for finding in json.loads(done.stdout)["findings"] if not finding["holds"]}
    assert done.exit_code == 5 and "a client does not depend on its tile" in wrong


@pytest.mark.nightly
def test_the_other_classes_of_the_pages_hold_too() -> None:
    for name in ("vote:MajorityVote", "jitter:Jitter:8", "jitter:Jitter:stride=8,scaled=true"):
        done = says("check", name)
        assert done.exit_code == 0, done.stdout
        assert ("ms/MB" in done.stdout) == name.startswith("jitter")


@pytest.mark.system
@pytest.mark.nightly
def test_actors_find_them_by_name(here: Path) -> None:
    text = SMALL + methods("new-method.md") + methods("new-compressor.md")
    alone = scenarios.run(parse(text))
    actors = scenarios.run(parse(text, ["engine.actors=2", "engine.cpus_per_actor=0.5"]))
    assert alone.rounds["train_loss"].tolist() == actors.rounds["train_loss"].tolist()
