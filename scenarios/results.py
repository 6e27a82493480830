"""What a run left behind, as a value: its rounds, its summary, and where it came from."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fl_ef21.errors import InputError, choose

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure

COLUMNS = {
    "method": "object",
    "round": "int64",
    "train_loss": "float64",
    "grad_norm_sq": "float64",
    "test_accuracy": "float64",
    "uplink_bytes": "int64",
    "downlink_bytes": "int64",
    "participants": "int64",
    "rejected": "int64",
    "invariant_error": "float64",
    "wall_seconds": "float64",
    # what runs of earlier versions lack
    "abandoned": "float64",
    "virtual_seconds": "float64",
    "evaluated": "float64",
    "uplink_algorithm_bits": "float64",
    "uplink_wire_bytes": "float64",
    "uplink_bound_bytes": "float64",
    "downlink_algorithm_bits": "float64",
    "downlink_wire_bytes": "float64",
    "downlink_bound_bytes": "float64",
    "worst_decile_loss": "float64",
    "worst_decile_accuracy": "float64",
    "jain_accuracy": "float64",
    "measured_alpha": "float64",
    "momentum_error": "float64",
    "compression_error": "float64",
    "mean_momentum_error": "float64",
    "lyapunov": "float64",
}
SHADOW_COLUMNS = {
    "method": "object",
    "round": "int64",
    "shadow": "object",
    "alpha": "float64",
    "clients": "int64",
    "payload_bytes": "float64",
    "kept_energy": "float64",
}
_FINAL = (
    *("name", "compressor", "gamma", "eta", "status", "reason", "rounds", "train_loss", "grad_norm_sq"),
    *("test_accuracy", "best_test_accuracy", "uplink_bytes", "dense_uplink_bytes", "downlink_bytes"),
    *("rejected", "invariant_error", "wall_seconds", "virtual_seconds", "clients_per_second"),
    *("worst_decile_loss", "worst_decile_accuracy", "jain_accuracy"),
)


@dataclass(frozen=True)
class Result:
    """A finished or interrupted run.

    Attributes:
      folder: where it lies, None when it was kept in memory.
      rounds: one row per method and evaluated round, columns COLUMNS; what is missing is NaN. Bytes
        and wall_seconds are cumulative.
      summary: name, status, command, problem, partition and final figures of each method.
      environment: versions and machine.
      scenario: the resolved scenario, TOML.
      shadow: one row per method, evaluated round and shadow compressor, columns SHADOW_COLUMNS; `shadow` is "own" for
        the method's own compressor. Empty where the scenario asks for none.
    """

    folder: Path | None
    rounds: DataFrame
    summary: dict[str, Any]
    environment: dict[str, Any]
    scenario: str
    shadow: DataFrame

    @classmethod
    def load(cls, folder: Path | str) -> Result:
        """The run in `folder`. Of a run that was killed there may be no summary: then it is made up from
        the rounds, and a last line that was cut is left out.

        Raises: InputError where this is no run folder or a file is broken; it names file and line.
        """
        folder = Path(folder)
        if not (folder / "rounds.jsonl").is_file():
            raise InputError("folder", str(folder), "is not a run folder (it holds no rounds.jsonl)")
        rounds = read_rounds(folder / "rounds.jsonl")
        scenario = _text(folder / "scenario.toml") if (folder / "scenario.toml").is_file() else ""
        summary = (
            _object(folder / "summary.json")
            if (folder / "summary.json").is_file()
            else _summary_of_a_killed_run(folder, rounds, scenario)
        )
        _check_methods(folder / "summary.json", summary)
        environment = folder / "environment.json"
        shadow = read_table(folder / "shadow.jsonl", SHADOW_COLUMNS, ["method", "round", "shadow"])
        return cls(folder, rounds, summary, _object(environment) if environment.is_file() else {}, scenario, shadow)

    def detached(self) -> Result:
        """The same without its folder, for a run that leaves nothing on disk."""
        return replace(self, folder=None)

    def of(self, label: str) -> DataFrame:
        """The rounds of one method."""
        return self.rounds[self.rounds["method"] == label]

    def traffic(self, label: str, each: Literal["client", "message"] = "client") -> DataFrame:
        """What one method cost: `client` and cumulative columns, or a row for each `message` (round and client).

        Columns are uplink_ and downlink_ algorithm_bits, payload_bytes, wire_bytes and bound_bytes. A run kept in
        memory has none. Raises: InputError where the run did not keep them; evaluate.traffic says what is kept.
        """
        from scenarios.traffic_file import read_traffic

        if self.folder is None:
            raise InputError(
                "out", None, "a run that leaves nothing on disk keeps no traffic of clients; give it a folder"
            )
        return read_traffic(self.folder, label, choose({"client": "client", "message": "message"}, each, "each"))

    def fairness(self, label: str) -> DataFrame:
        """What the last model of one method gives each client, a row each: `client`, `samples`, `loss` f_i, `accuracy`
        over its own samples, `test_accuracy`, `device_class`, and in how many rounds it was `asked` and `used`.

        A run kept in memory has none. Raises: InputError where nobody measured it; evaluate.fairness says when.
        """
        from scenarios.fairness_file import read

        if self.folder is None:
            raise InputError("out", None, "a run that leaves nothing on disk keeps no clients; give it a folder")
        return read(self.folder, label)

    def table(self) -> DataFrame:
        """Final figures, one row per method: the summary's, and `saving`, uncompressed over sent bytes."""
        from pandas import DataFrame

        from scenarios.units import ratio

        methods = self.summary["methods"]
        rows = [{key: m.get(key) for key in _FINAL} for m in methods]
        frame = DataFrame(rows, columns=list(_FINAL))
        frame.insert(0, "method", [m["label"] for m in methods])
        frame["saving"] = [ratio(m.get("dense_uplink_bytes"), m.get("uplink_bytes")) for m in methods]
        return frame

    def figure(self, y: str = "train_loss", x: str = "uplink_bytes") -> Figure:
        """One curve per method. Raises: InputError where y or x is no column of numbers."""
        from scenarios.figures import notebook_figure

        numbers = {name: name for name in COLUMNS if name != "method"}
        curves = {m["label"]: self.of(m["label"]) for m in self.summary["methods"]}
        return notebook_figure(curves, choose(numbers, y, "y"), choose(numbers, x, "x"))

    def _repr_html_(self) -> str:
        from scenarios.sections import Entry, final_table

        return final_table([Entry.of(self, i) for i in range(len(self.summary["methods"]))])


def read_rounds(path: Path) -> DataFrame:
    """rounds.jsonl as a table; of a round written twice, as after a rewind, the later line counts.

    Raises: InputError that names file and line.
    """
    return read_table(path, COLUMNS, ["method", "round"])


def read_table(path: Path, columns: dict[str, str], of: list[str]) -> DataFrame:
    """Lines of JSON as a table of these columns; the last line for each value of the columns `of` counts. Empty where
    there is no file.

    Raises: InputError that names file and line.
    """
    from pandas import DataFrame

    text = _text(path) if path.is_file() else ""
    lines = text.split("\n")  # a whole file ends with a newline, so its last element is empty
    rows = [_row(path, n, line, columns) for n, line in enumerate(lines[:-1], 1) if line.strip()]
    with suppress(InputError):  # without a newline, the process was killed while it wrote this line
        rows += [_row(path, len(lines), lines[-1], columns)] if lines[-1].strip() else []
    frame = DataFrame(rows, columns=list(columns)).astype(columns)
    return frame.drop_duplicates(of, keep="last", ignore_index=True)


def _row(path: Path, number: int, line: str, columns: dict[str, str]) -> dict[str, Any]:
    where = f"{path}:{number}"
    try:
        row = json.loads(line)
    except ValueError:
        raise InputError(where, line[:60], "is not a line of JSON") from None
    if not isinstance(row, dict) or not isinstance(row.get("method"), str):
        raise InputError(where, line[:60], "must be an object with a method's label under `method`")
    for key, kind in columns.items():
        if kind == "int64" and (not isinstance(row.get(key), int) or not 0 <= row[key] < 2**63):
            raise InputError(f"{where} {key}", row.get(key), "must be a whole number >= 0")
        if kind == "float64" and not isinstance(row.get(key), (int, float, type(None))):
            raise InputError(f"{where} {key}", row[key], "must be a number or null")
    return row


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"byte {error.start}", "is not UTF-8 text") from None


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}", error.msg, "the file is not JSON") from None
    if not isinstance(found, dict):
        raise InputError(str(path), type(found).__name__, "must hold a JSON object")
    return found


def _check_methods(path: Path, summary: dict[str, Any]) -> None:
    methods = summary.get("methods")
    if not isinstance(methods, list) or not all(
        isinstance(m, dict) and isinstance(m.get("label"), str) for m in methods
    ):
        raise InputError(f"{path} methods", methods, "must be a list of objects, each with a `label`")


def _summary_of_a_killed_run(folder: Path, rounds: DataFrame, scenario: str) -> dict[str, Any]:
    try:
        told = tomllib.loads(scenario)
    except tomllib.TOMLDecodeError:
        told = {}
    methods = []
    for label, rows in rounds.groupby("method", sort=False):
        last = json.loads(rows.iloc[-1].to_json())
        best = rows["test_accuracy"].max()
        methods.append(
            last
            | {
                "label": label,
                "status": "interrupted",
                "reason": "the run was killed",
                "rounds": last["round"],
            }
            | {"best_test_accuracy": None if best != best else float(best)}
        )
    return {
        "name": str(told.get("name", folder.resolve().name)),
        "status": "interrupted",
        "wall_seconds": sum(m["wall_seconds"] or 0 for m in methods),
        "problem": {
            "model": told.get("model", {}).get("name"),
            "data": told.get("data", {}).get("source"),
            "clients": told.get("partition", {}).get("clients"),
        },
        "partition": None,
        "methods": methods,
    }
