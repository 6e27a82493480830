"""The gallery of papers: every folder is whole, and what it claims comes out on its reduced size."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fl_ef21.errors import InputError
from scenarios.cli import app
from scenarios.loading import ScenarioError
from scenarios.papers import conduct, reading
from scenarios.study.plan import plan

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
NAMES = sorted(reading.names())
DAILY = ("double_momentum", "floor")  # seconds; the others take minutes or data


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_says_what_it_expects_and_how_to_run_it(name: str) -> None:
    text = (reading.GALLERY / name / "README.md").read_text()
    assert "**Published.**" in text and "**Expected here**, written before" in text
    assert f"$ fl-ef21 papers {name}" in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small", [False, True])
def test_every_claim_is_about_methods_of_its_study(name: str, small: bool) -> None:
    folder = reading.find(name)
    for study in folder.studies:
        arms = plan(folder.source(study, small=small)).arms
        claims = [c for c in folder.paper.claim if c.study in (None, study) and not (small and c.small is None)]
        for arm in [a for c in claims for a in (c.of, c.over, c.less) if a is not None]:
            rest = {key: value for key, value in arm.items() if key != "method"}
            fits = [a for a in arms if a.label == arm["method"] and rest.items() <= {**a.setting, **a.options}.items()]
            assert len(fits) == 1, arm


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_has_a_claim_on_the_reduced_size(name: str) -> None:
    assert any(claim.small is not None for claim in reading.find(name).paper.claim)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in DAILY else pytest.mark.nightly) for n in NAMES])
def test_what_is_claimed_comes_out_on_the_reduced_size(name: str, tmp_path: Path) -> None:
    folder = reading.find(name)
    if needs := [study for study in folder.studies if lacking(folder, study)]:
        pytest.skip(f"needs the data of {', '.join(needs)} in ../shared/data")
    verdicts = conduct.run(folder, tmp_path, data=DATA, small=True, parallel=0)
    assert verdicts and [v.claim.says for v in verdicts if not v.holds] == []


def lacking(folder: reading.Folder, study: str) -> bool:
    """Whether its data is not on this machine."""
    data = folder.source(study, data=DATA, small=True).scenario().data
    return data.path is not None and not Path(data.path).exists()


def test_the_command_lists_the_gallery() -> None:
    told = CliRunner().invoke(app, ["papers", "--format", "json"])
    assert told.exit_code == 0
    assert [one["name"] for one in json.loads(told.stdout)] == NAMES


def paper(folder: Path, at_most: float) -> Path:
    """A small reproduction of somebody's own."""
    (folder / "mine").mkdir()
    (folder / "mine" / "tiny.toml").write_text(
        'name = "tiny"\nseeds = [0]\nobjective = "train_loss"\n[scenario]\nrounds = 2\n[scenario.partition]\n'
        "clients = 2\n[scenario.model]\n"
        'name = "quadratic"\ndim = 3\n[[scenario.method]]\nname = "sgdm"\ngamma = 0.1\n'
    )
    (folder / "mine" / "paper.toml").write_text(
        'title = "t"\nsource = "s"\npublished = "p"\ndiffers = "d"\n[[claim]]\nsays = "small it is"\n'
        f'figure = "train_loss"\nof = {{ method = "sgdm" }}\nat_most = {at_most}\n'
    )
    return folder / "mine"


@pytest.mark.parametrize(("at_most", "code", "word"), [(1e9, 0, "holds"), (0.0, 5, "FAILS")])
def test_the_command_ends_with_5_where_a_claim_does_not_come_out(
    tmp_path: Path, at_most: float, code: int, word: str
) -> None:
    out = tmp_path / "out"
    pytest.importorskip("matplotlib")
    words = ["papers", str(paper(tmp_path, at_most)), "--out", str(out), "--parallel", "0"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == code
    assert word in told.stdout and "small it is" in told.stdout
    claims = json.loads((out / "outcome.json").read_text())["claims"]
    assert [c["holds"] for c in claims] == [code == 0]
    picture = (out / "curves.svg").read_text()
    assert "sgdm" in picture and "training loss" in picture
    assert CliRunner().invoke(app, words).exit_code == code  # what is over is read again


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'floor'"):
        reading.find("flor")


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = paper(tmp_path, 1.0)
    file = folder / "paper.toml"
    file.write_text(file.read_text() + "[small]\ntyni = { rounds = 1 }\n")
    with pytest.raises(ScenarioError, match="'tyni' is no study of this folder; did you mean 'tiny'"):
        reading.read(folder)
