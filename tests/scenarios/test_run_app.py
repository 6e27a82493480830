"""`fl-ef21 run-app`: other people's Flower apps, and what is said where one cannot run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fl_ef21.engine import Settings
from fl_ef21.errors import InputError
from scenarios.app_folder import AppFolder
from scenarios.cli import app

PYPROJECT = """
[project]
name = "tiny"
version = "1.0.0"
[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "tiny_pkg.server:app"
clientapp = "tiny_pkg.client:app"
[tool.flwr.app.config]
rounds = 3
least = 2
rate = 0.5
out = ""
verbose = false
[tool.flwr.app.config.extra]
depth = 2
[tool.flwr.federations]
default = "here"
[tool.flwr.federations.here]
options.num-supernodes = 6
"""
SERVER = """
import json
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    config = context.run_config
    start = ArrayRecord({"x": Array(np.zeros(3))})
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=config["least"])
    result = strategy.start(grid, start, num_rounds=config["rounds"])
    metrics = {name: round(value, 9) for name, value in result.train_metrics_clientapp[config["rounds"]].items()}
    told = {"x": result.arrays["x"].numpy().tolist(), "metrics": metrics,
            "depth": config["extra.depth"], "run": context.run_id}
    open(config["out"], "w").write(json.dumps(told))
"""
CLIENT = """
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
calls = []  # of this process

@app.train()
def _(message, context):
    calls.append(context.node_id)
    note(context.node_id)
    who, of = context.node_config["partition-id"], context.node_config["num-partitions"]
    seen = context.state["seen"]["n"] + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"n": seen})
    x = message.content["arrays"]["x"].numpy()
    x = x + context.run_config["rate"] * seen * (who - x)
    metrics = MetricRecord({"num-examples": 1, "seen": seen, "of": of, "shared": int(noted == calls)})
    return Message(RecordDict({"arrays": ArrayRecord({"x": Array(x)}), "metrics": metrics}), reply_to=message)

noted = []

def note(node):
    from tiny_pkg import client  # the module by its name must be the one whose functions are called
    client.noted.append(node)

@app.evaluate()
def _(message, context):  # a second function of the same name, as in Flower's templates
    raise NotImplementedError
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """An app that moves the model towards the client's number, faster every round."""
    before = list(sys.path)
    write(tmp_path / "tiny", PYPROJECT, server=SERVER, client=CLIENT)
    yield tmp_path / "tiny"
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == "tiny_pkg"]:
        del sys.modules[name]


def write(folder: Path, pyproject: str, package: str = "tiny_pkg", **modules: str) -> None:
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(pyproject)
    (folder / package / "__init__.py").touch()
    for name, text in modules.items():
        (folder / package / f"{name}.py").write_text(text)


def call(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["run-app", str(folder), *words])


def expected(clients: int, rounds: int, rate: float) -> float:
    x = 0.0
    for t in range(1, rounds + 1):
        x = float(np.mean([x + rate * t * (i - x) for i in range(clients)]))
    return x


def told(out: Path) -> dict[str, Any]:
    return dict(json.loads(out.read_text()))


def test_an_app_runs_unchanged_and_what_it_took_is_told(tiny: Path, tmp_path: Path) -> None:
    done = call(tiny, "--actors", "0", "--run-config", f"rounds=4 out='{tmp_path / 'o'}'", "--run-config", "rate=0.25")
    assert done.exit_code == 0, done.output
    got = told(tmp_path / "o")
    assert np.allclose(got["x"], expected(6, 4, 0.25))
    assert (got["metrics"]["seen"], got["metrics"]["of"], got["depth"], got["run"]) == (4, 6, 2, 1)
    assert "24 client messages answered" in done.stdout and "tiny: 6 clients in this process" in done.stderr


def test_a_toml_file_changes_the_config(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"rounds = 1\nout = '{tmp_path / 'o'}'\n[extra]\ndepth = 9\n")
    done = call(tiny, "--actors", "0", "--clients", "3", "--run-config", str(tmp_path / "c.toml"))
    assert done.exit_code == 0, done.output
    assert told(tmp_path / "o")["depth"] == 9 and told(tmp_path / "o")["metrics"]["of"] == 3


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "scenarios.cli", "run-app", *words]


@pytest.mark.system
def test_actors_import_the_app_by_its_name_from_its_folder(tiny: Path, tmp_path: Path) -> None:
    """From another current folder; state of a module is that of the module, not of a copy of its functions."""
    words = command(str(tiny), "--actors", "2", "--cpus-per-actor", "0.5", "--run-config", f"out='{tmp_path / 'o'}'")
    root = str(Path(__file__).resolve().parent.parent.parent)
    done = subprocess.run(
        words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    got = told(tmp_path / "o")
    assert np.allclose(got["x"], expected(6, 3, 0.5)) and got["metrics"]["shared"] == 1


@pytest.mark.system
def test_flowers_own_simulation_gives_the_same(tiny: Path, tmp_path: Path) -> None:
    from fl_ef21.flower_internals import simulate
    from scenarios.foreign import load

    folder = AppFolder.read(tiny)
    # Flower's server may start before all of its nodes are registered
    config = folder.run_config([f"rounds=2 least=4 out='{tmp_path / 'o'}'"])
    halves = load(folder, config)
    halves.run(4, Settings(0))
    ours = told(tmp_path / "o")
    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    backend = {"init_args": options, "client_resources": {"num_cpus": 1, "num_gpus": 0}}
    simulate(halves.server, halves.client, 4, backend, folder=tiny, run_config=config)
    assert np.allclose(told(tmp_path / "o")["x"], ours["x"], rtol=1e-12)
    assert told(tmp_path / "o")["metrics"] == ours["metrics"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["round=3"], "run-config.round = 3: the app has no such key; did you mean 'rounds'?"),
        (["rounds='many'"], "run-config.rounds = 'many': must be a number; the default is 3"),
        (["rounds=true"], "must be a number"),
        (["verbose=1"], "run-config.verbose = 1: must be true or false"),
        (["out=3"], "run-config.out = 3: must be a text"),
        (["rounds=many"], 'a text in quotes: rounds="many"'),
        (["rounds=[1]"], "must be a number, true, false, or a text"),
        (["rounds 3"], "'rounds 3' is no key=value"),
        (["no.toml"], "--run-config = 'no.toml': cannot be read: No such file"),
        (["rounds=3", "c.toml"], "a TOML file stands alone"),
    ],
)
def test_a_change_that_cannot_be_is_told_with_what_would_be_right(tiny: Path, changes: list[str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        AppFolder.read(tiny).run_config(changes)
    assert words in str(caught.value)


def test_numbers_of_either_kind_are_taken_as_flower_takes_them(tiny: Path) -> None:
    config = AppFolder.read(tiny).run_config(["rate=1 rounds=2.5"])
    assert (config["rate"], config["rounds"]) == (1, 2.5)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[project]", "[project", "is not TOML"),
        ("[tool.flwr.app.components]", "[tool.flwr.other]", "has no [tool.flwr.app.components]"),
        ('clientapp = "tiny_pkg.client:app"', "", "tool.flwr.app.components.clientapp = None: must be given"),
        ("tiny_pkg.client:app", "tiny_pkg.client", "must be written as 'package.module:app'"),
        ("tiny_pkg.client:app", "tiny_pkg.klient:app", "there is no module 'tiny_pkg.klient' in"),
        ("tiny_pkg.client:app", "tiny_pkg.client:ap", "tiny_pkg.client has no 'ap'; did you mean 'app'?"),
        ("tiny_pkg.client:app", "tiny_pkg.server:app", "is a ServerApp, not a ClientApp"),
        ("tiny_pkg.server:app", "tiny_pkg.client:calls", "is a list, not a ServerApp"),
        ("rounds = 3", "rounds = [3]", "The value for key rounds"),
    ],
)
def test_a_folder_that_is_no_app_is_told_why(tiny: Path, old: str, new: str, words: str) -> None:
    (tiny / "pyproject.toml").write_text(PYPROJECT.replace(old, new))
    done = call(tiny, "--actors", "0")
    assert done.exit_code == 3 and words in done.stderr, done.output


def test_a_folder_that_is_not_there_or_holds_nothing_is_told(tmp_path: Path) -> None:
    assert "there is no such folder" in call(tmp_path / "no").stderr
    done = call(tmp_path)
    assert done.exit_code == 3 and "holds no pyproject.toml" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--actors", "7"), "--actors = 7: the app has 6 clients here"),
        (("--actors", "-1"), "--actors = -1: must be at least 0"),
        (("--clients", "0"), "--clients = 0: must be at least 1"),
        (("--cpus-per-actor", "0"), "--cpus-per-actor = 0.0: must be a positive number"),
        (("--gpus-per-actor", "nan"), "--gpus-per-actor = nan: must be a positive number or 0"),
    ],
)
def test_actors_and_clients_that_cannot_be_are_told(tiny: Path, words: tuple[str, ...], told: str) -> None:
    done = call(tiny, *words)
    assert done.exit_code == 3 and told in done.stderr


def test_a_package_that_is_missing_is_named(tiny: Path) -> None:
    write(tiny, PYPROJECT, client="import not_installed_here\n" + CLIENT)
    done = call(tiny, "--actors", "0")
    assert done.exit_code == 4 and "needs the package 'not_installed_here'" in done.stderr


def test_a_module_that_cannot_be_imported_is_told_with_its_reason(tiny: Path) -> None:
    write(tiny, PYPROJECT, server="1 / 0")
    done = call(tiny, "--actors", "0")
    assert done.exit_code == 3 and "importing tiny_pkg.server failed: ZeroDivisionError" in done.stderr


def test_an_app_whose_package_is_called_like_one_of_ours_is_told(tiny: Path) -> None:
    text = PYPROJECT.replace("tiny_pkg", "clients")
    import clients  # noqa: F401

    write(tiny, text, "clients", server=SERVER, client=CLIENT)
    done = call(tiny, "--actors", "0")
    assert done.exit_code == 3 and "another package called 'clients' is in use here" in done.stderr


def test_a_server_that_raises_ends_with_code_5_and_its_words(tiny: Path) -> None:
    write(tiny, PYPROJECT, server=SERVER + "    raise KeyError('lost')\n")
    done = call(tiny, "--actors", "0", "--run-config", f"out='{tiny / 'o'}'")
    assert done.exit_code == 5 and "the ServerApp raised KeyError: 'lost'" in done.stderr
    assert "server.py, line" in done.stderr and "Traceback" not in done.output
    assert "Traceback" in call(tiny, "--actors", "0", "--debug", "--run-config", f"out='{tiny / 'o'}'").stderr


def test_clients_that_raise_are_counted_and_a_run_without_any_has_failed(tiny: Path) -> None:
    for who, code, words in (("== 2", 0, "3 of them with an error, the first from client 2"), (">= 0", 5, "no client")):
        body = CLIENT.replace("    seen =", f"    assert not who {who}, 'no battery'\n    seen =")
        write(tiny, PYPROJECT, client=body)
        for name in [name for name in sys.modules if name.startswith("tiny_pkg")]:
            del sys.modules[name]
        server = SERVER.split("    metrics =")[0]
        write(tiny, PYPROJECT, server=server)
        done = call(tiny, "--actors", "0", "--run-config", f"out='{tiny / 'o'}'")
        assert done.exit_code == code and words in done.stderr and "no battery" in done.stderr, done.output


@pytest.mark.system
def test_ctrl_c_ends_with_code_7(tiny: Path) -> None:
    write(tiny, PYPROJECT, client=CLIENT.replace("    calls.append", "    print('here', flush=True)\n    calls.append"))
    write(tiny, PYPROJECT, server=SERVER.replace('num_rounds=config["rounds"]', "num_rounds=10**9"))
    root = str(Path(__file__).resolve().parent.parent.parent)
    process = subprocess.Popen(
        command(str(tiny), "--actors", "0"), env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while "here" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 7 and "stopped by you" in err


OLDER = """
from flwr.server import ServerAppComponents, ServerConfig
from flwr.serverapp import ServerApp
from flwr.server.strategy import FedAvg
from flwr.common import ndarrays_to_parameters
import numpy as np

class Kept(FedAvg):
    def aggregate_fit(self, server_round, results, failures):
        assert len(results) == 6 and not failures, failures
        new, metrics = super().aggregate_fit(server_round, results, failures)
        open(self.out, "a").write(f"{server_round} ")
        return new, metrics

def server_fn(context):
    strategy = Kept(fraction_evaluate=0.0, initial_parameters=ndarrays_to_parameters([np.zeros(3)]))
    strategy.out = context.run_config["out"]
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=context.run_config["rounds"]))

app = ServerApp(server_fn=server_fn)
"""
NUMPY_CLIENT = """
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

class One(NumPyClient):
    def fit(self, parameters, config):
        return [parameters[0] + 1], 1, {}

app = ClientApp(client_fn=lambda context: One().to_client())
"""


def test_an_app_of_flowers_older_kind_runs_with_a_thread_for_each_client(tiny: Path) -> None:
    write(tiny, PYPROJECT, server=OLDER, client=NUMPY_CLIENT)
    done = call(tiny, "--actors", "0", "--run-config", f"out='{tiny / 'o'}'")
    assert done.exit_code == 0, done.output
    assert (tiny / "o").read_text() == "1 2 3 " and "18 client messages answered" in done.stdout
