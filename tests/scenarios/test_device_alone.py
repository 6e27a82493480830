"""A device needs torch, Flower and this package: no Ray, and nothing that only reports and simulations take."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_THERE = ("ray", "pandas", "plotly", "matplotlib")
TRAINS = """
    import builtins
    import sys

    real = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)
        return real(name, *rest, **named)

    builtins.__import__ = without
    from scenarios import apps
    from scenarios.loading import load
    from scenarios.setup import prepare
    from tests.device_grid import DeviceGrid

    nodes = [dict([("partition-id", i), ("state-dir", sys.argv[2])]) for i in range(3)]
    grid = DeviceGrid(apps.client, nodes, {{"scenario": sys.argv[1], "state-dir": ""}})
    strategy = prepare(load(sys.argv[1]), alone=True).strategy(0, bytes(16))
    for done in strategy.rounds(grid, 3):
        assert done.participants == 3, (done, grid.raised)
    assert not set(sys.modules) & set({names!r})
    print("trained")
"""


def test_a_device_trains_where_neither_ray_nor_what_reports_need_is_installed(tmp_path: Path) -> None:
    scenario = tmp_path / "three.toml"
    scenario.write_text(
        'name = "three"\nrounds = 3\npartition = { clients = 3 }\nengine = { actors = 0 }\n'
        'method = [{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 5 }]\n'
    )
    program = textwrap.dedent(TRAINS).format(names=NOT_THERE)
    done = subprocess.run(
        [sys.executable, "-c", program, str(scenario), str(tmp_path / "state")], cwd=ROOT, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "trained" in done.stdout, done.stdout[-3000:]
