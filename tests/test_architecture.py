"""Imports point down only, and nothing ships that a Flower bundle would drop."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "fl_ef21": set(),
    "strategies": {"fl_ef21"},
    "clients": {"fl_ef21"},
    "scenarios": {"fl_ef21", "strategies", "clients"},
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found & set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) <= ALLOWED[package] | {package}


def test_only_the_adapters_speak_to_flower() -> None:
    speakers = {path.relative_to(ROOT).as_posix() for path in FILES if "from flwr" in path.read_text()}
    assert not {s for s in speakers if s.startswith(("strategies/", "clients/")) and "flower" not in s}


def test_only_modules_named_for_it_use_what_flower_does_not_publish() -> None:
    private = ("supercore", "supernode", "superlink", "common", "simulation", "server.", "proto")
    users = {path for path in FILES if any(f"from flwr.{name}" in path.read_text() for name in private)}
    assert {"flower_internals.py", "flower_traffic.py"} <= {path.name for path in users}
    assert all(path.parent.name == "fl_ef21" and path.name.startswith("flower_") for path in users), users


def test_packages_hold_only_what_a_flower_bundle_takes() -> None:
    bundled = {".py", ".toml", ".md", ".yaml", ".json"}
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.suffix in bundled and not path.name.startswith("test_"), path
