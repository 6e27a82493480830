"""A whole deployment on this machine for one test: SuperLink with TLS, SuperNodes with keys, a faulty proxy before each.

Everything is bounded in time and ended by process id.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scenarios.deploy import down, flower, init, processes, up
from scenarios.deploy.layout import Fleet
from tests.faulty_proxy import Fault, FaultyProxy, Identity
from tests.system.test_flwr_run import copy_project

LOCAL = "127.0.0.1"


@dataclass
class Deployed:
    """A fleet that runs.

    Attributes:
      fleet: where its files are.
      proxies: of each client; all that its SuperNode says goes through.
      deadline: of everything that is waited for, by time.monotonic().
      plain: whether SuperNodes are Flower's own.
    """

    fleet: Fleet
    app: Path
    proxies: Sequence[FaultyProxy]
    deadline: float
    plain: bool = False
    runs: int = field(default=0, init=False)

    def up(self) -> None:
        """Start what is not running."""
        up(self.fleet.folder, plain=self.plain, patience=max(1.0, self.deadline - time.monotonic()))

    def kill(self, role: str) -> None:
        """kill -9 of a SuperNode ("node-1") or of the "superlink"; what it had started is left to notice by itself."""
        (one,) = [found for found in processes.load(self.fleet.processes) if found.role == role and found.alive]
        os.kill(one.pid, signal.SIGKILL)
        self.until(lambda: not one.alive, f"{role} is dead")

    def kill_server_app(self) -> None:
        """kill -9 of the ServerApp's process, a grandchild of the SuperLink."""
        (superlink,) = [one for one in processes.load(self.fleet.processes) if one.role == "superlink"]
        found = [pid for pid in superlink.offspring() if "flwr-serverapp" in command_of(pid)]
        assert found, "no ServerApp runs"
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def submit(self, scenario: Path, out: Path) -> None:
        """Have the SuperLink run a scenario, or go on with it."""
        told = f'scenario="{scenario}" out="{out}"'
        flower.flwr(self.fleet, "run", str(self.app), self.fleet.name, "--run-config", told)

    def finished(self, out: Path) -> str:
        """The status of a run, once it has ended."""
        self.until(lambda: (out / "summary.json").exists(), f"{out} is over")
        return str(json.loads((out / "summary.json").read_text())["status"])

    def until(self, ready: Callable[[], object], what: str) -> None:
        """Wait for something. Raises: TimeoutError with the ends of all logs."""
        while not ready():
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"waited in vain until {what}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self, lines: int = 25) -> str:
        """The last lines of every process."""
        roles = ["superlink", *(f"node-{client}" for client in range(self.fleet.nodes))]
        paths = [self.fleet.log(role) for role in roles if self.fleet.log(role).exists()]
        return "\n".join(f"== {path}\n" + "\n".join(path.read_text().splitlines()[-lines:]) for path in paths)


@contextmanager
def deployed(
    folder: Path, *, nodes: int = 3, faults: Mapping[int, Sequence[Fault]] | None = None, seconds: float = 300.0,
    plain: bool = False, abrupt: bool = False,
) -> Iterator[Deployed]:  # fmt: skip
    """A fleet in `folder` that is up; faults: of the client's proxy."""
    copy_project(folder / "fl-ef21")
    fleet = init(folder / "fleet", nodes, port=free_port())
    tls = Identity(fleet.superlink / "server.crt", fleet.superlink / "server.key", fleet.superlink / "ca.crt")
    with ExitStack() as held:
        proxies = [
            held.enter_context(FaultyProxy(fleet.port, tls, (faults or {}).get(client, ()), abrupt=abrupt))
            for client in range(nodes)
        ]
        for client, proxy in enumerate(proxies):
            (fleet.node(client) / "env").write_text(f'SUPERLINK="{proxy.address}"\n')
        held.callback(down, fleet.folder, patience=5.0)
        found = Deployed(fleet, folder / "fl-ef21", proxies, time.monotonic() + seconds, plain)
        found.up()
        yield found


def free_port() -> int:
    with socket.create_server((LOCAL, 0)) as held:
        return int(held.getsockname()[1])


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
