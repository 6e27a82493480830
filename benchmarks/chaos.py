"""How well nothing is lost, in figures: `python -m benchmarks.chaos [--quick] [--json] [--only PART,...]`.

    schedules   random faults on the real server and clients: how many broke something, and the worst error of g
    crashes     crashes and repetitions: how many runs end bitwise as one in which nothing went wrong
    mutants     the protocol without one of its rules: the first schedule that finds it
    writes      a process killed at every system call of every write: how many leave one state or the next
    shards      real Ray actors killed, one a round: whether the end is bitwise the same, and the time it took
    cost        protocol and validation as a share of a round, and bytes (benchmarks/chaos_cost.py)

Needs the tests beside it. `tests.protocol.replay` shows a schedule again.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.environment import environment, line
from benchmarks.processes import tell_of

Row = dict[str, Any]
Say = Callable[[str], None]
PARTS = ("schedules", "crashes", "mutants", "writes", "shards", "cost")
WITHIN = 500  # schedules in which a mutant must be found
LIMITS = {"memory_share": 0.02, "disk_share": 0.10}


def schedules(count: int) -> Row:
    """So many schedules, from the first seed on."""
    from tests.protocol.play import Broken, play
    from tests.protocol.schedule import drawn

    row: Row = {"run": count, "broken": [], "worst_error": 0.0, "updates": 0, "rounds": 0}
    began = time.perf_counter()
    for seed in range(count):
        try:
            played = play(drawn(seed))
        except Broken as broken:
            row["broken"].append({"seed": seed, "why": str(broken)})
            continue
        row["updates"] += played.updates
        row["rounds"] += played.server.done
        row["worst_error"] = max(row["worst_error"], played.worst)
    return row | {"seconds": time.perf_counter() - began}


def crashes(count: int) -> Row:
    """So many runs with crashes and repetitions alone."""
    from tests.protocol.replay import change
    from tests.protocol.schedule import harmless

    began = time.perf_counter()
    different = [seed for seed in range(count) if change(harmless(seed))]
    return {"run": count, "different": different, "seconds": time.perf_counter() - began}


def mutants(within: int) -> Row:
    """The first seed that finds each, None where none does."""
    import pytest

    from tests.protocol.test_mutants import FOUND, NEEDLESS, caught

    row: Row = {}
    for mutant in [*FOUND, *NEEDLESS]:
        with pytest.MonkeyPatch.context() as patch:
            row[mutant.__name__] = {"seed": caught(mutant, patch, within), "needless_by": NEEDLESS.get(mutant)}
    return row


def writes(step: int) -> Row | None:
    """Kills at every `step`-th system call of every write; None where there is no strace."""
    from tests.killing import KILLED, STRACE, TASKS, Warm, numbered

    if STRACE is None:
        return None
    row: Row = {}
    with tempfile.TemporaryDirectory(prefix="fl-ef21-chaos-") as folder:
        warm = Warm(Path(folder))
        try:
            for name, task in TASKS.items():
                good, calls = 0, numbered(warm.calls(name))[::step]
                for call, count in calls:
                    code, left = warm.trial(name, inject=f"{call}:signal=SIGKILL:when={count}")
                    good += code == KILLED and task.before <= task.look(left) <= task.after
                row[name] = {"kills": len(calls), "whole": good}
        finally:
            warm.close()
    return row


def shards(kills: int) -> Row:
    """A kill in each of so many rounds, on two actors, beside an undisturbed run in this process."""
    from fl_ef21.engine import RayGrid, Settings
    from fl_ef21.store import Memory
    from scenarios.setup import prepare
    from tests.small import scenario

    setup = prepare(scenario(rounds=kills, partition={"clients": 40}, train={"batch_size": 4}))

    def run(actors: int, every: int) -> tuple[bytes, float]:
        began = time.perf_counter()
        with RayGrid(
            40, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(actors), tile=setup.tile,
            heal=actors > 0,
        ) as grid:  # fmt: skip
            strategy = setup.strategy(0, b"chaos")
            for done in strategy.rounds(grid, kills):
                if every and done.number % every == 0:
                    grid.kill(done.number * 7 % 40)
            return strategy.digest(), time.perf_counter() - began

    (calm, _), (killed, seconds) = run(0, 0), run(2, 1)
    return {
        "kills": kills,
        "rounds": kills,
        "same": calm == killed,
        "seconds": seconds,
        "seconds_a_kill": seconds / kills,
    }


def collect(parts: list[str], quick: bool, say: Say) -> Row:
    """Measures; `say` is given text as it becomes known."""
    table: Row = {"environment": environment()}
    say(line(table["environment"]))
    work: dict[str, Callable[[], Any]] = {
        "schedules": lambda: schedules(200 if quick else 1000),
        "crashes": lambda: crashes(100 if quick else 500),
        "mutants": lambda: mutants(30 if quick else WITHIN),
        "writes": lambda: writes(5 if quick else 1),
        "shards": lambda: shards(3 if quick else 100),
        "cost": lambda: tell_of("benchmarks.chaos_cost", *(["--quick"] if quick else []))[0],
    }
    for part in parts:
        table[part] = work[part]()
        for text in told(part, table[part]):
            say(text)
    return table


def told(part: str, row: Any) -> Iterator[str]:
    """A part as a person reads it."""
    if row is None:
        yield f"{part}: left out, there is no strace"
    elif part == "schedules":
        yield (
            f"schedules: {len(row['broken'])} of {row['run']:,} broken, worst error {row['worst_error']:.1e}; "
            f"{row['updates']:,} updates committed in {row['rounds']:,} rounds, {row['seconds']:.0f} s"
        )
        yield from (f"  python -m tests.protocol.replay --seed {one['seed']}: {one['why']}" for one in row["broken"])
    elif part == "crashes":
        same = row["run"] - len(row["different"])
        yield f"crashes: {same:,} of {row['run']:,} runs bitwise equal, {row['seconds']:.0f} s"
        yield from (f"  python -m tests.protocol.replay --seed {seed} --harmless" for seed in row["different"])
    elif part == "mutants":
        for name, one in row.items():
            found = f"found by schedule {one['seed']}" if one["seed"] is not None else "not found"
            yield f"mutant {name}: {found}" + (
                f"; {one['needless_by']} makes it needless" if one["needless_by"] else ""
            )
    elif part == "writes":
        for name, one in row.items():
            yield f"writes: {name}: {one['whole']} of {one['kills']} kills leave one state or the next"
    elif part == "shards":
        digest = "the same" if row["same"] else "ANOTHER"
        yield (
            f"shards: {row['kills']} kills in {row['rounds']} rounds, {digest} digest, "
            f"{row['seconds']:.0f} s, {row['seconds_a_kill']:.1f} s a kill"
        )
    else:
        yield from cost_text(row)


def cost_text(row: Row) -> Iterator[str]:
    for name, what in (("memory_share", "with memory"), ("disk_share", "with disk")):
        verdict = "reached" if row[name] <= LIMITS[name] else "missed"
        wanted = f"{100 * LIMITS[name]:.0f} % {verdict}"
        yield f"cost: protocol and validation are {100 * row[name]:.1f} % of a round {what}; {wanted}"
    sizes = row["protocol_bytes"]
    yield (
        f"cost: a round {row['round_ms']:.0f} ms, with a journal {row['disk_ratio']:.3f} times that "
        f"({row['journal_ms']:.1f} ms and {row['journal_bytes_per_round']:,.0f} bytes a round)"
    )
    yield f"cost: {sizes['total']} bytes of protocol per client and round, {sizes['down']} down and {sizes['up']} up"


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="How well nothing is lost.")
    ask.add_argument("--quick", action="store_true", help="fewer of everything")
    ask.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    ask.add_argument("--only", default=",".join(PARTS), help="comma-separated parts")
    given = ask.parse_args()
    parts = given.only.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        ask.error(f"there is no part {unknown[0]!r}; parts are {', '.join(PARTS)}")
    from fl_ef21.threads import computing_with

    logging.getLogger("fl_ef21").setLevel(logging.ERROR)  # each fault would be told otherwise
    with computing_with(1):
        table = collect(parts, given.quick, (lambda text: None) if given.json else lambda text: print(text, flush=True))
    if given.json:
        print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
