"""Compiled loops are kept by what their sources are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl_ef21 import compiled


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def test_other_sources_are_another_folder(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = compiled._folder.__wrapped__()
    monkeypatch.setattr(compiled, "_SOURCES", ("compiled.py",))
    other = compiled._folder.__wrapped__()
    assert Path(now).parent == Path(other).parent == base and now != other


def test_the_oldest_are_forgotten(base: Path) -> None:
    for age in range(5):
        (base / f"compiled-{age}").mkdir()
        os.utime(base / f"compiled-{age}", (1000 - age, 1000 - age))
    kept = Path(compiled._folder.__wrapped__())
    assert {path.name for path in base.iterdir()} == {kept.name, "compiled-0", "compiled-1"}


def test_copies_of_the_sources_share_what_was_compiled(tmp_path: Path) -> None:
    loop = "from fl_ef21.compiled import compiled\n\n\n@compiled\ndef three():\n    return 3\n\n\nassert three() == 3\n"
    for copy in ("here", "there"):
        package = tmp_path / copy / "fl_ef21"
        package.mkdir(parents=True)
        shutil.copy(compiled.__file__, package)
        (package / "__init__.py").touch()
        (package / "loop.py").write_text(loop)
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": str(tmp_path / copy)}
        subprocess.run([sys.executable, "-m", "fl_ef21.loop"], cwd=tmp_path, env=env, check=True)
    assert [path.parent.name for path in (tmp_path / "kept").rglob("*.nbc")] == ["fl_ef21"]


def test_where_nothing_can_be_written_numba_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path / "file"))
    assert compiled._folder.__wrapped__() == ""
    assert compiled.compiled(lambda: 3)() == 3
