"""timeline.parquet of a run folder: when each asked client did what on the virtual clock, and what it came to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fl_ef21.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

NAME = "timeline.parquet"
# one row per asked client and round; times are virtual seconds, NaN where the client never got there
COLUMNS = {
    "method": "object",
    "round": "int64",  # the round that asked
    "client": "int64",
    "asked": "float64",
    "begins": "float64",  # it fetches the instruction
    "downloaded": "float64",
    "computed": "float64",
    "arrives": "float64",  # its reply is there
    "fate": "object",
    "used_round": "int64",  # -1 where no round used it
    "up_bytes": "float64",
    "down_bytes": "float64",
    "joules": "float64",
}
# fate to what it means, the best first
FATES = {
    "used": "used in its round",
    "later": "used in a later round",
    "late": "after its round, dropped",
    "surplus": "more than was wanted",
    "lost": "lost",
    "busy": "still at work",
}


def read(folder: Path | None) -> DataFrame | None:
    """The table; None where the run has none. Raises: InputError that names the file where it is broken."""
    if folder is None or not (folder / NAME).is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = folder / NAME
    try:
        frame: DataFrame = parquet.read_table(path).to_pandas()
    except pa.ArrowException as error:
        raise InputError(str(path), str(error)[:60], "the file is not whole, as of a run that was killed") from None
    check(path, frame)
    return frame[list(COLUMNS)].astype(COLUMNS)


def check(path: Path, frame: DataFrame) -> None:
    """Raises: InputError where a column is missing or a fate is none of FATES."""
    if missing := [name for name in COLUMNS if name not in frame]:
        raise InputError(str(path), sorted(frame), f"lacks the columns {', '.join(missing)}")
    if unknown := sorted(set(frame["fate"]) - set(FATES)):
        raise InputError(f"{path} fate", unknown[0], f"is none of {', '.join(FATES)}")
