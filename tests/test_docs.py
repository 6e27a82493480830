"""What the documentation says of keys, defaults, messages, files and examples is so."""

from __future__ import annotations

import ast
import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

import scenarios
from fl_ef21.commit import Kind
from scenarios.commands.failures import Code
from scenarios.loading import ScenarioError, gallery, load, parse
from scenarios.results import COLUMNS, SHADOW_COLUMNS
from scenarios.schema import SECTIONS, Scenario
from scenarios.schema_method import Decay
from scenarios.schema_words import COMPRESSORS, METHODS
from tests.small import scenario

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("fl_ef21", "strategies", "clients", "scenarios")
TEXT = (ROOT / "docs" / "scenarios.md").read_text()
TOP = set(Scenario.model_fields) - set(SECTIONS)
OPTIONS = {option for options in COMPRESSORS.values() for option in options}


def part(heading: str) -> str:
    """What stands under a heading of docs/scenarios.md."""
    return re.split(r"^## ", TEXT.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str, header: str) -> dict[str, str]:
    """First column, without its quotes, to second column of the table with this header."""
    body = text.split(f"| {header} |", 1)[1].split("\n\n", 1)[0].rstrip()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.split("\n")[2:]]
    return {row[0].strip("` "): row[1].strip("|` ") for row in rows}


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in found]


def fields(section: str) -> dict[str, Any]:
    return dict(SECTIONS[section].model_fields)


def heading(section: str) -> str:
    return "`[[method]]`" if section == "method" else f"`[{section}]`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_stands_in_its_table(section: str) -> None:
    assert list(table(part(heading(section)), "key | default | meaning")) == list(fields(section))


def test_every_key_outside_sections_and_of_a_schedule_stands_in_its_table() -> None:
    assert set(table(part("Top level"), "key | default | meaning")) == TOP
    falling = part("`[[method]]`").split("`eta` and `gamma` may be tables", 1)[1]
    assert list(table(falling, "key | default | meaning")) == list(Decay.model_fields)


@pytest.mark.parametrize("section", ["top", "decay", *SECTIONS])
def test_the_defaults_are_those_of_the_schema(section: str) -> None:
    if section == "top":
        told, known = table(part("Top level"), "key | default | meaning"), dict(Scenario.model_fields)
    elif section == "decay":
        falling = part("`[[method]]`").split("`eta` and `gamma` may be tables", 1)[1]
        told, known = table(falling, "key | default | meaning"), dict(Decay.model_fields)
    else:
        told, known = table(part(heading(section)), "key | default | meaning"), fields(section)
    for key, said in told.items():
        field = known[key]
        if field.is_required():
            assert said == "needed", key
        elif (default := field.get_default(call_default_factory=True)) is None:
            assert said == "–", key
        elif (section, key) != ("engine", "actors"):  # depends on the machine
            assert json.loads(said) == default and type(json.loads(said)) is type(default), key


def test_every_compressor_stands_there_with_its_options() -> None:
    told = table(part("`[[method]]`"), "compressor | options")
    assert {name: set(re.findall(r"[a-z_]+", said)) & OPTIONS for name, said in told.items()} == {
        name: set(options) for name, options in COMPRESSORS.items()
    }


def test_every_method_stands_on_its_page_with_its_hyperparameters() -> None:
    rows = [
        line.strip("|").split(" | ")
        for line in (ROOT / "docs" / "methods.md").read_text().splitlines()
        if line[:3] == "| `"
    ]
    told = {name: set(re.findall(r"`(\w+)`", row[-1])) for row in rows for name in re.findall(r"`([\w-]+)`", row[0])}
    assert set(told) == set(METHODS)
    assert [name for name, hyper in METHODS.items() if not set(hyper) <= told[name]] == []


def test_the_mistakes_are_told_in_the_words_that_stand_there() -> None:
    (wrong,) = blocks("docs/scenarios.md", "toml")
    (told,) = blocks("docs/scenarios.md", "text")
    with pytest.raises(ScenarioError) as caught:
        parse(wrong)
    assert str(caught.value).replace("scenario, line", "my.toml, line") == told.strip()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "run"
    devices = {"profile": "uniform", "step_seconds": 0.1}
    scenarios.run(scenario(rounds=2, shadow=["sign"], devices=devices), out=out)
    return out


def test_the_run_folder_holds_the_files_that_stand_there(ran: Path) -> None:
    assert set(table(part("The run folder"), "file |")) == {path.name for path in ran.iterdir()}


def test_every_key_of_a_shadow_stands_there(ran: Path) -> None:
    told = list(table(part("The run folder"), "key of a shadow | unit |"))
    lines = [json.loads(line) for line in (ran / "shadow.jsonl").read_text().splitlines()]
    assert told == list(SHADOW_COLUMNS) and lines and all(list(line) == told for line in lines)


def test_every_key_of_a_round_stands_there(ran: Path) -> None:
    told = list(table(part("The run folder"), "key | unit |"))
    lines = [json.loads(line) for line in (ran / "rounds.jsonl").read_text().splitlines()]
    assert told == list(COLUMNS) and all(list(line) == told for line in lines)


@pytest.mark.parametrize("path", gallery().values(), ids=lambda p: p.stem)
def test_every_scenario_that_comes_along_loads(path: Path) -> None:
    assert load(path).method


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:fl_ef21|clients|strategies|scenarios|tests|docs|benchmarks)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_scenario_in_the_readme_loads() -> None:
    (text,) = blocks("README.md", "toml")
    assert parse(text).name == tomllib.loads(text)["name"]


def test_every_reason_for_refusing_a_message_or_a_file_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    told = set(table(page, "reason | told by | what it means")) | set(table(page, "reason | file | what happens"))
    decoding = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "wire-format.md").read_text()))
    raised = {
        str(call.args[0].value)
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Refused" and call.args
        if isinstance(call.args[0], ast.Constant)
    }
    answers = {kind.name.lower() for kind in Kind if Kind.UPDATE < kind <= Kind.BYE}
    assert (raised | answers) - decoding - told == set()
    assert told - raised - answers == set()


def test_every_exit_code_is_explained() -> None:
    told = table((ROOT / "docs" / "errors.md").read_text(), "code | name | when | what to do")
    assert told == {str(code.value): code.name.lower() for code in Code}
