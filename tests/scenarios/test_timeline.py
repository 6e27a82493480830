"""Timelines: what is read, drawn and exported of them. The fixture's figures can be told by heart."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pandas import DataFrame

from fl_ef21.errors import InputError
from scenarios import timeline, trace
from scenarios.figures_timeline import ASKED, LOOKS, SHADES, by_speed, gantt, participation
from tests.scenarios.run_folder import make
from tests.scenarios.timeline_folder import DEADLINE, frame, timed


def test_a_run_without_a_timeline_has_none(tmp_path: Path) -> None:
    assert timeline.read(make(tmp_path)) is None and timeline.read(None) is None


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = timeline.read(timed(tmp_path, ["a"], clients=5, rounds=4))
    assert found is not None and found.equals(frame("a", 5, 4)) and list(found) == list(timeline.COLUMNS)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda f: f.drop(columns=["begins", "joules"]), "lacks the columns begins, joules"),
        (lambda f: f.assign(fate="gone"), "fate = 'gone': is none of used, later"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    parquet.write_table(pa.Table.from_pandas(change(frame("a", 2, 2))), tmp_path / timeline.NAME)
    with pytest.raises(InputError, match=said):
        timeline.read(tmp_path)


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    (tmp_path / timeline.NAME).write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="not whole"):
        timeline.read(tmp_path)


def test_clients_are_in_the_order_of_their_usual_time_and_who_never_replies_is_last() -> None:
    rows = frame("a", 4, 6)
    rows.loc[rows["client"] == 0, "arrives"] = float("nan")
    assert by_speed(rows) == [1, 2, 3, 0]
    assert by_speed(frame("a", 12, 6)) == [0, 10, 1, 11, 2, 3, 4, 5, 6, 7, 8, 9]  # equals by number


def test_the_map_says_of_every_client_and_round_what_became_of_it() -> None:
    found = participation(frame("a", 10, 3, share=2))
    assert (found.rows, found.rounds, found.width, found.clients) == ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3], 1, 10)
    # even clients in even rounds; 8 and 9 take more than 12 s, and client + round divisible by 7 is lost
    assert found.cells == [".u.", "u.u"] * 4 + [".d.", "d.d"]
    assert participation(frame("a", 7, 1)).cells == ["u"] * 6 + ["l"]


def test_a_large_map_has_shares_of_groups() -> None:
    rows = frame("a", 40, 30)
    found = participation(rows, rows=10, columns=6)
    assert found.rows[0] == [1, 4] and found.rows[-1] == [37, 40] and len(found.rows) == 10
    assert (found.width, found.rounds, found.cells, found.most) == (5, [1, 6, 11, 16, 21, 26], [], 1.0)
    assert set("".join(found.asked)) == {SHADES[-1]}  # everybody, always
    assert set("".join(found.used[-2:])) == {SHADES[0]}  # the slowest fifth is late, always
    quick = [SHADES.index(c) / 63 for line in found.used[:8] for c in line]
    used = rows[rows["fate"] == "used"]
    assert sum(quick) / len(quick) == pytest.approx(len(used) / (32 * 30), abs=0.01)


def test_shares_are_of_all_clients_and_rounds_of_a_cell_whoever_was_asked() -> None:
    found = participation(frame("a", 400, 4, share=4), rows=100, columns=4)
    shares = [found.most * SHADES.index(c) / 63 for line in found.asked for c in line]
    assert {round(4 * share, 9) for share in shares} == {0, 1, 2, 3}  # of the 4 clients of a group
    assert sum(shares) == pytest.approx(100)  # a quarter of 400 cells


def test_a_small_gantt_chart_has_every_span() -> None:
    rows = frame("a", 3, 4)
    found = gantt(rows)
    assert found.of == [3, 4] and found.clients == [0, 1, 2] and len(found.spans) == len(rows)
    assert found.rounds == [[1, 0, 12], [2, 12, 24], [3, 24, 36], [4, 36, 42.5]]  # the last used reply is client 2's
    assert found.spans[1] == [1, 1, 0.5, 1.5, 3.5, 5.5, "used", 300, 4000, 2.5]
    lost = next(s for s in gantt(frame("a", 8, 1)).spans if s[6] == "lost")
    assert lost[5] is None


def test_a_large_one_keeps_the_quickest_the_slowest_and_whole_rounds_at_both_ends_and_in_the_middle() -> None:
    found = gantt(frame("a", 200, 100), spans=1500)
    assert len(found.clients) == ASKED and (found.clients[0], found.clients[-1]) == (0, 199)
    numbers = [r for r, *_ in found.rounds]
    assert numbers[0] == 1 and numbers[-1] == 100 and 50 in numbers
    assert len(found.spans) == len(numbers) * ASKED <= 1500
    assert found.rounds[0] == [1, 0, DEADLINE]


def test_where_few_are_asked_a_gantt_chart_has_all_of_a_round() -> None:
    found = gantt(frame("a", 1000, 30, share=100), spans=10_000)
    assert len(found.spans) == len(found.clients) == 300 and found.of == [300, 30]


def test_every_fate_has_a_look_and_no_two_share_one() -> None:
    assert list(LOOKS) == list(timeline.FATES)
    assert all(
        len({getattr(look, of) for look in LOOKS.values()}) == len(LOOKS) for of in ("letter", "colour", "glyph")
    )


# ---------------------------------------------------------------- trace


def load(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    found: list[dict[str, Any]] = json.loads(text)["traceEvents"]
    return found


def test_a_trace_keeps_the_trace_event_format(tmp_path: Path) -> None:
    path = trace.write(timed(tmp_path, clients=12, rounds=10))
    assert path == tmp_path / "trace.json" and not list(tmp_path.glob(".trace*"))
    for event in load(path):
        assert (
            event["ph"] in ("X", "M", "i") and type(event["pid"]) is int and type(event["tid"]) is int and event["name"]
        )
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index") and event["args"]
            continue
        assert type(event["ts"]) is int and event["ts"] >= 0 and isinstance(event["cat"], str)
        assert event["ph"] == "i" or (type(event["dur"]) is int and event["dur"] >= 0)
        assert event["ph"] == "X" or event["s"] in ("p", "t")


def test_spans_of_a_track_never_overlap(tmp_path: Path) -> None:
    """Perfetto nests them, and drops what does not nest. The fixture's late clients overlap, a clock's never do."""
    rows = frame("a", 8, 10)
    parquet.write_table(pa.Table.from_pandas(rows), tmp_path / timeline.NAME)
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in load(trace.write(tmp_path)):
        if event["ph"] == "X":
            ends = (event["ts"], event["ts"] + event["dur"])
            tracks.setdefault((event["pid"], event["tid"]), []).append(ends)
    assert len(tracks) == 1 + 8
    for spans in tracks.values():
        assert all(a[1] <= b[0] for a, b in zip(sorted(spans), sorted(spans)[1:], strict=False))


def test_a_trace_has_a_process_for_each_method_and_a_track_for_each_client(tmp_path: Path) -> None:
    found = load(trace.write(timed(tmp_path, ["sgdm", "ef21"], clients=3, rounds=2), tmp_path / "t.json.gz"))
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert [e["args"]["name"] for e in found if e["name"] == "process_name"] == ["sgdm", "ef21"]
    assert names[2, 0] == "rounds" and names[2, 3] == "client 2"
    spans = [e for e in found if e["ph"] == "X" and e["pid"] == 1 and e["tid"] == 2]  # client 1
    told = [(e["name"], e["ts"] / 1e6, e["dur"] / 1e6) for e in spans[:3]]
    assert told == [("download", 0.5, 1), ("compute", 1.5, 2), ("upload", 3.5, 2)]
    figures = [e["args"] for e in spans[:3]]
    assert [of.get("bytes", of.get("joules in all")) for of in figures] == [4000, 2.5, 300]
    assert all((of["round"], of["fate"]) == (1, "used") for of in figures)
    rounds = [e for e in found if e["ph"] == "X" and e["pid"] == 1 and e["tid"] == 0]
    assert [(e["name"], e["ts"], e["dur"]) for e in rounds] == [
        ("round 1", 0, 12_000_000),
        ("round 2", 12_000_000, 6_500_000),
    ]
    assert rounds[0]["args"] == {"asked": 3, "used": 3}


def test_every_row_is_there_and_what_was_not_used_is_marked(tmp_path: Path) -> None:
    rows = frame("a", 12, 7)
    parquet.write_table(pa.Table.from_pandas(rows), tmp_path / timeline.NAME)
    found = load(trace.write(tmp_path))
    kinds = Counter(e["name"] for e in found if e["ph"] == "X" and e["tid"] > 0)
    assert kinds == {"download": 84, "compute": 84, "upload": int(rows["arrives"].notna().sum())}
    marks = Counter(e["cat"] for e in found if e["ph"] == "i" and e["s"] == "t")
    assert marks == Counter(f for f in rows["fate"] if f != "used")


def test_a_trace_needs_a_timeline(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"timeline\.parquet.*a simulation with \[devices\] keeps it"):
        trace.write(make(tmp_path))


def test_a_client_that_got_nowhere_leaves_no_spans() -> None:
    nowhere: DataFrame = frame("a", 1, 1).assign(begins=float("nan"), downloaded=float("nan"), computed=float("nan"),
                                                 arrives=float("nan"), fate="busy")  # fmt: skip
    assert [e["name"] for e in trace.events(nowhere) if e["ph"] == "X"] == ["round 1"]
