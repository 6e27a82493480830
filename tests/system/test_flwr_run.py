"""`flwr run .` and `flwr build` on a fresh copy of the project, in a Flower home and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import scenarios
from scenarios.loading import gallery
from scenarios.results import Result

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("fl_ef21", "strategies", "clients", "scenarios")
CLIENTS = 4
SCENARIO = f"""
name = "small"
rounds = 3
seed = 3
partition = {{ clients = {CLIENTS}, scheme = "label-sorted" }}
model = {{ name = "logistic", bias = true }}
train = {{ batch_size = 2 }}
evaluate = {{ every = 1 }}
engine = {{ actors = 0 }}
method = [
  {{ name = "ef14", gamma = 0.2, compressor = "topk", k = 5 }},
  {{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 5 }},
]
"""


@dataclass(frozen=True)
class User:
    """Somebody with a project folder, whose SuperLink nobody else shares.

    Attributes:
      folder: holds the project `fl-ef21` and the scenario `small.toml`.
      home: Flower's home; its name in a process's environment says whose process that is.
      ports: of the SuperLink, HTTP and Control.
    """

    folder: Path
    home: Path
    ports: tuple[int, int]

    @property
    def project(self) -> Path:
        return self.folder / "fl-ef21"

    @property
    def state(self) -> Path:
        """Where simulated clients keep what they must remember."""
        return self.folder / "state"

    def flwr(self, *words: str) -> str:
        """What `flwr` says in the project's folder; it exits with 0 whatever became of a run."""
        tools = Path(sys.executable).parent
        private = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "FLWR_HOME": str(self.home),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(self.ports[0]),
            "FLWR_LOCAL_CONTROL_API_PORT": str(self.ports[1]), "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        inherited = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTHONPATH")}
        done = subprocess.run(
            [tools / "flwr", *words], cwd=self.project, env=inherited | private, timeout=400,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=True,
        )  # fmt: skip
        return done.stdout

    def run(self, out: Path, app: str = ".", nodes: int = CLIENTS) -> str:
        """`flwr run` of the small scenario."""
        return self.flwr(
            "run", app, "--stream",
            "--run-config", f'scenario="{self.folder / "small.toml"}" out="{out}" state-dir="{self.state}"',
            "--federation-config", f"num-supernodes={nodes} client-resources-num-cpus=1 init-args-num-cpus=2",
        )  # fmt: skip


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    pytest.importorskip("ray")
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: a SuperLink that stays alive could not be found and stopped")
    folder = tmp_path_factory.mktemp("user")
    copy_project(folder / "fl-ef21")
    (folder / "small.toml").write_text(SCENARIO)
    someone = User(folder, folder / "home", free_ports())
    try:
        yield someone
    finally:
        stop(someone.home)


@pytest.fixture(scope="module")
def ran(user: User) -> tuple[Path, str]:
    """The run folder of `flwr run .`, and what was printed."""
    out = user.folder / "run"
    return out, user.run(out)


def copy_project(to: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, to / name)


def free_ports() -> tuple[int, int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        first, second = (one.getsockname()[1] for one in sockets)
        return first, second


def processes(home: Path) -> list[int]:
    """Ids of all processes started with this Flower home: SuperLink, simulation, Ray."""
    found, mark = [], f"FLWR_HOME={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def stop(home: Path) -> None:
    """Ends this home's processes, by force after five seconds. Raises: AssertionError where one is left."""
    for way in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        for process in processes(home):
            with suppress(ProcessLookupError):
                os.kill(process, way)
        while processes(home) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not processes(home)


def test_flwr_run_agrees_with_the_resident_engine(user: User, ran: tuple[Path, str]) -> None:
    out, told = ran
    assert (out / "summary.json").is_file(), told
    got, wanted = Result.load(out), scenarios.run(user.folder / "small.toml")
    assert got.summary["status"] == "finished" and got.summary["runtime"] == "flower"
    assert list(got.rounds["round"]) == [0, 1, 2, 3] * 2
    for column in ("method", "round", "uplink_bytes", "downlink_bytes", "participants", "rejected"):
        assert list(got.rounds[column]) == list(wanted.rounds[column]), column
    for column in ("train_loss", "grad_norm_sq", "test_accuracy"):
        np.testing.assert_allclose(got.rounds[column], wanted.rounds[column], rtol=1e-5, err_msg=column)
    assert got.of("ef21-sgdm")["invariant_error"].max() < 1e-6
    assert (out / "report.html").is_file() and str(out) in told
    assert user.state.is_dir() and not list(user.state.iterdir())  # a run that is over is forgotten


@pytest.mark.parametrize("nodes", [CLIENTS - 1, pytest.param(CLIENTS + 1, marks=pytest.mark.nightly)])
@pytest.mark.usefixtures("ran")
def test_another_number_of_supernodes_is_told_with_the_cure(user: User, nodes: int) -> None:
    out = user.folder / f"run-{nodes}"
    told = user.run(out, nodes=nodes)
    assert f"num-supernodes = {nodes}: the scenario has 4 clients" in told
    assert "add --federation-config 'num-supernodes=4'" in told
    assert not out.exists()


@pytest.mark.nightly
@pytest.mark.usefixtures("ran")
def test_a_second_working_tree_on_the_same_superlink_is_stopped_by_name(user: User) -> None:
    """Ray's workers import from the folder in which the SuperLink was started."""
    other, out = user.folder / "fl-ef21-changed", user.folder / "run-changed"
    copy_project(other)
    with (other / "clients" / "ef21.py").open("a") as file:
        file.write("# changed\n")
    user.run(out, app=str(other))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "server and client run different code or scenarios" in summary["methods"][0]["reason"]


def test_flwr_build_takes_all_sources_and_the_gallery(user: User) -> None:
    user.flwr("build")
    (bundle,) = user.project.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        packed = {name for name in archive.namelist() if name.split("/")[0] in PACKAGES}
    files = {
        path.relative_to(user.project).as_posix()
        for package in PACKAGES
        for path in (user.project / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files and {f"scenarios/{name}.toml" for name in gallery()} <= packed
