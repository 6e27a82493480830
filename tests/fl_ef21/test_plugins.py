"""Names of methods and compressors: ours, those of entry points, and classes by where they are."""

from __future__ import annotations

import pickle
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_ef21 import plugins
from fl_ef21.compressors import COMPRESSORS, OURS
from fl_ef21.compressors.topk import TopK
from fl_ef21.errors import InputError
from fl_ef21.plugins import Registry, files, named, there


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("topk", "topk"), ("topk:0.01", "topk"), ("topk:k=78,values=bfloat16", "topk"), ("randk:scaled", "randk"),
        ("mine:Ours", "mine:Ours"), ("mine:Ours:0.1", "mine:Ours"), ("a.b.c:Ours:k=3,x=y", "a.b.c:Ours"),
        ("tpk:0.01", "tpk"), ("tpk:k=3", "tpk"), ("a-b:3", "a-b"),
    ],
)  # fmt: skip
def test_a_word_names_what_stands_before_its_options(word: str, name: str) -> None:
    assert named(word, OURS) == name


identifiers = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)


@given(
    path=st.lists(identifiers, min_size=1, max_size=3), name=identifiers, options=st.sampled_from(["", ":3", ":k=3"])
)
def test_so_does_every_class_by_where_it_is(path: list[str], name: str, options: str) -> None:
    where = f"{'.'.join(path)}:{name}"
    assert named(where + options, ()) == where and there(where, (), plugins.METHODS)


def test_a_class_of_ours_can_be_named_by_where_it_is_too() -> None:
    assert COMPRESSORS["fl_ef21.compressors.topk:TopK"] is TopK and "fl_ef21.compressors.topk:TopK" not in COMPRESSORS
    assert files([TopK]) == []


def test_a_registry_travels_with_what_it_holds() -> None:
    again = pickle.loads(pickle.dumps(COMPRESSORS))
    assert isinstance(again, Registry) and again == COMPRESSORS and again["fl_ef21.compressors.topk:TopK"] is TopK


def test_our_names_come_first_and_a_name_that_two_have_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str) -> list[EntryPoint]:
        told = [("topk", "a:B"), ("twice", "a:B"), ("twice", "c:D"), ("once", "fl_ef21.compressors.topk:TopK")]
        return [EntryPoint(name, value, group) for name, value in told]

    plugins.installed.cache_clear()
    monkeypatch.setattr(plugins, "entry_points", entry_points)
    try:
        assert COMPRESSORS["topk"] is TopK is COMPRESSORS["once"]
        with pytest.raises(InputError, match="is the name of a:B and c:D; write the one that is meant"):
            COMPRESSORS["twice"]
        with pytest.raises(InputError, match="did you mean 'once'"):
            COMPRESSORS["onse"]
    finally:
        plugins.installed.cache_clear()


def test_the_files_of_a_package_are_all_of_it_and_of_a_module_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs" / "inner").mkdir(parents=True)
    for name in ("theirs/__init__.py", "theirs/one.py", "theirs/inner/__init__.py", "alone.py", "another.py"):
        (tmp_path / name).write_text("class A: pass\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    try:
        kinds: list[Any] = [plugins.load(name, "name", name) for name in ("theirs.one:A", "alone:A")]
        told = [name for name, _ in files(kinds)]
        assert told == ["alone.py", "theirs/__init__.py", "theirs/inner/__init__.py", "theirs/one.py"]
    finally:
        sys.path[:] = path
        for name in ("theirs", "theirs.one", "alone"):
            sys.modules.pop(name, None)
