"""The folders of the gallery of papers, and the studies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fl_ef21.errors import InputError, nearest
from scenarios import loading, mistakes
from scenarios.loading import ScenarioError
from scenarios.papers.form import Paper, Small
from scenarios.study import reading
from scenarios.study.form import Budget
from scenarios.study.reading import Source

GALLERY = Path(__file__).resolve().parent
FILE = "paper.toml"
DATA = "/data/"  # what follows it in a study's path of data is looked up in the folder of data that is given


@dataclass(frozen=True)
class Folder:
    """Attributes:
    paper: what `paper.toml` says.
    studies: by the names of their files.
    """

    path: Path
    paper: Paper
    studies: dict[str, Path]

    def source(self, study: str, sets: Sequence[str] = (), data: Path | None = None, small: bool = False) -> Source:
        """A study, on its reduced size where `small`. Raises: ScenarioError."""
        less = self.paper.small.get(study, Small()) if small else Small()
        source = reading.read(self.studies[study], [*self._from(study, data), *less.sets, *sets])
        return _reduced(source, less) if small else source

    def _from(self, study: str, data: Path | None) -> list[str]:
        section = loading.table_of(loading.text_of(self.studies[study]), study).get("scenario", {}).get("data", {})
        told = {
            key: str(section[key]).split(DATA, 1)[1]
            for key in ("path", "test_path")
            if DATA in str(section.get(key, ""))
        }
        return [f"data.{key}={data / rest}" for key, rest in told.items()] if data is not None else []


def names() -> dict[str, str]:
    """The gallery: a title for each folder."""
    return {path.parent.name: read(path.parent).paper.title for path in sorted(GALLERY.glob(f"*/{FILE}"))}


def find(name: str) -> Folder:
    """A folder of the gallery, or anybody's own by its path. Raises: InputError, ScenarioError."""
    for path in (GALLERY / name, Path(name)):
        if (path / FILE).is_file():
            return read(path)
    known = [path.parent.name for path in sorted(GALLERY.glob(f"*/{FILE}"))]
    raise InputError("NAME", name, f"is no folder of the gallery of papers; {nearest(name, known)}")


def read(path: Path) -> Folder:
    """Raises: ScenarioError for what is wrong in `paper.toml`."""
    file = path / FILE
    text = loading.text_of(file)
    table = loading.table_of(text, str(file))
    try:
        paper = Paper.model_validate(table)
    except ValidationError as error:
        raise ScenarioError("\n".join(mistakes.lines(error, table, text, str(file), {}, Paper))) from error
    studies = {found.stem: found for found in sorted(path.glob("*.toml")) if found.name != FILE}
    wrong = [word for word in paper.small if word not in studies]
    wrong += [c.study for c in paper.claim if c.study is not None and c.study not in studies]
    wrong += ["" for c in paper.claim if c.study is None and len(studies) != 1]
    if wrong:
        raise ScenarioError(f"{file}: {wrong[0]!r} is no study of this folder; {nearest(wrong[0], list(studies))}")
    return Folder(path, paper, studies)


def _reduced(source: Source, less: Small) -> Source:
    told: dict[str, Any] = {"seeds": less.seeds, "gamma": less.gamma, "grid": less.grid, "prune": None}
    if less.rounds is not None:
        told["budget"] = Budget(rounds=less.rounds)
    kept = {key: value for key, value in told.items() if value is not None or key == "prune"}
    return replace(source, study=source.study.model_copy(update=kept))
