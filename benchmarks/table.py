"""One object for all figures of a run, and how a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import roofline
from benchmarks.cases import World, worlds
from benchmarks.environment import environment
from benchmarks.environment import line as environment_line
from benchmarks.processes import tell_of
from benchmarks.side import SIDES

Row = dict[str, Any]


def row(sides: dict[str, Row], roof: Row) -> Row:
    """One case: our figures, and ratios of medians. vs_roofline 0.25 is four times away from it."""
    ours = sides["resident"]["clients_per_second"]
    return {
        "clients_per_second": ours,
        "vs_flower": ours / sides["flower"]["clients_per_second"],
        "vs_bare_loop": ours / sides["bare"]["clients_per_second"],
        "vs_roofline": ours / roof["clients_per_second"],
        "peak_mib": sides["resident"]["peak_mib"],
        "sides": sides,
        "roofline": roof,
    }


def collect(wanted: Sequence[str], quick: bool, say: Any) -> Row:
    """Measure the wanted cases, one process after another; `say` is given text as it becomes known."""
    more = ["--quick"] if quick else []
    table: Row = {"environment": environment()}
    say(environment_line(table["environment"]))
    (found,) = tell_of("benchmarks.roofline")
    machine = roofline.Machine(found["bandwidth"], found["rate"])
    table["machine"] = {"bandwidth": machine.bandwidth, "rate": machine.rate}
    say(f"copy {machine.bandwidth / 1e9:.1f} GB/s, float32 product {machine.rate / 1e9:.0f} GFLOP/s")
    (table["overhead"],) = tell_of("benchmarks.overhead", *more)
    say(overhead_text(table["overhead"]))
    for world in worlds(quick):
        if not any(case.name in wanted for case in world.cases):
            continue
        for name, made in _cases(world, machine, more).items():
            table[name] = made
            say(row_text(name, made))
    return table


def _cases(world: World, machine: roofline.Machine, more: list[str]) -> dict[str, Row]:
    told = {side: {one["case"]: one for one in tell_of("benchmarks.side", world.name, side, *more)} for side in SIDES}
    roof = machine.roofline(roofline.cost(world))
    return {case.name: row({side: told[side][case.name] for side in SIDES}, roof) for case in world.cases}


def overhead_text(found: Row) -> str:
    lines = [
        f"engine overhead beside the arithmetic: {found['us_per_client']:.1f} us per client "
        f"and {found['ms_per_round']:.2f} ms per round (CPU time, one thread)"
    ]
    for p in found["points"]:
        n = p["clients"]
        lines.append(
            f"  {n:5} clients: {p['round_us'] / n:6.1f} us per client, {p['arithmetic_us'] / n:6.1f} of them arithmetic"
        )
    return "\n".join(lines)


def row_text(name: str, made: Row) -> str:
    lines = [
        f"\n{name}: {made['vs_flower']:.1f}x Flower's simulation, {made['vs_bare_loop']:.2f}x the bare loop, "
        f"{made['vs_roofline']:.3f}x the roofline"
    ]
    for side, got in made["sides"].items():
        spread = f"{got['slowest']:,.0f} to {got['fastest']:,.0f} in {got['rounds']} rounds"
        rate = f"{got['clients_per_second']:10,.0f} clients/s  ({spread})"
        lines.append(f"  {side:9} {rate}  {got['peak_mib']:7,.0f} MiB  {got['how']}")
    roof = made["roofline"]
    lines.append(
        f"  roofline  {roof['clients_per_second']:10,.0f} clients/s: memory {roof['memory_us']:.1f} us "
        f"({roof['bytes']:,} bytes), operations {roof['operations_us']:.1f} us ({roof['operations']:,}); "
        f"{roof['binds']} binds"
    )
    return "\n".join(lines)
