"""A whole deployment on this machine: SuperLink with TLS, SuperNodes with keys, a faulty proxy before each of them.

Everything is bounded in time and ended by process id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scenarios.deploy import down, init, processes, run, up
from scenarios.deploy.layout import Fleet
from scenarios.deploy.private import write
from scenarios.progress import Silent
from scenarios.results import Result
from scenarios.told import Told
from tests.faulty_proxy import FaultyProxy, Identity

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
    proxies: Sequence[FaultyProxy]
    deadline: float
    plain: bool = False

    def up(self) -> None:
        """Start what is not running."""
        up(self.fleet.folder, plain=self.plain, patience=max(1.0, self.deadline - time.monotonic()))

    def kill(self, role: str) -> None:
        """kill -9 of a SuperNode ("node-1") or of the "superlink"; what it had started is left to notice by itself."""
        (one,) = [found for found in processes.load(self.fleet.processes) if found.role == role and found.alive]
        os.kill(one.pid, signal.SIGKILL)
        self.until(lambda: not one.alive, f"{role} is dead")

    def start(self, scenario: str, out: Path) -> Running:
        """Have the fleet run a scenario's text, as `fl-ef21 deploy run` does; it goes on where the server dies."""
        return Running(self, scenario, out)

    def run(self, scenario: str, out: Path) -> Result:
        """The same, and its end."""
        return self.start(scenario, out).result()

    def until(self, ready: Callable[[], object], what: str) -> None:
        """Wait for something. Raises: TimeoutError with the ends of all logs."""
        while not ready():
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"waited in vain until {what}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self, lines: int = 12) -> str:
        """The last lines of every process."""
        roles = ["superlink", *(f"node-{client}" for client in range(self.fleet.nodes))]
        paths = [self.fleet.log(role) for role in roles if self.fleet.log(role).exists()]
        return "\n".join(f"== {path}\n" + "\n".join(path.read_text().splitlines()[-lines:]) for path in paths)


class Messages(Silent):
    """What a run tells in words."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


class Running:
    """A run that goes on in a thread while the test does something to the fleet.

    Attributes:
      messages: what `fl-ef21 deploy run` would show.
    """

    def __init__(self, deployed: Deployed, scenario: str, out: Path) -> None:
        self.out, self._deployed, self.messages = out, deployed, Messages()
        self._path = out.with_suffix(".toml")
        self._path.write_text(scenario)
        self._end: Result | BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._end = run(self._deployed.fleet.folder, self._path, out=self.out, listener=self.messages)
        except BaseException as error:
            self._end = error

    @property
    def starts(self) -> list[dict[str, Any]]:
        """Of the ServerApp, its process's id among what is told of each."""
        path = self.out / "run.json"
        return list(json.loads(path.read_text())["starts"]) if path.exists() else []

    def rounds(self) -> int:
        """How many are over."""
        told = Told.of(self.out)
        return 0 if told is None or told.round is None else told.round.round

    def until(self, ready: Callable[[], object], what: str) -> None:
        """Wait for something while the run goes on. Raises: AssertionError where it ends before."""
        self._deployed.until(lambda: ready() or self._end is not None, what)
        assert self._end is None or ready(), f"the run ended before {what}: {self._end!r}\n{self._deployed.logs()}"

    def kill_server_app(self) -> None:
        """kill -9 of the process that holds the strategy."""
        os.kill(int(self.starts[-1]["pid"]), signal.SIGKILL)

    def result(self) -> Result:
        """Of the run that has finished. Raises: what ended it."""
        self._deployed.until(lambda: self._end is not None, f"{self.out} is over")
        if isinstance(self._end, BaseException):
            raise AssertionError(self._deployed.logs()) from self._end
        assert self._end is not None
        return self._end


@contextmanager
def deployed(
    folder: Path, *, nodes: int = 3, seconds: float = 600.0, plain: bool = False,
    prefix: Mapping[int, str] | None = None, hosts: Mapping[int, str] | None = None,
) -> Iterator[Deployed]:  # fmt: skip
    """A fleet in `folder` that is up.

    prefix: words before the command that is a client's SuperNode. hosts: under which address a client sees its proxy.
    """
    hosts = hosts or {}
    fleet = init(folder / "fleet", nodes, list(hosts.values()), free_port())
    tls = Identity(fleet.superlink / "server.crt", fleet.superlink / "server.key", fleet.superlink / "ca.crt")
    with ExitStack() as held:
        proxies = [
            held.enter_context(FaultyProxy(fleet.port, tls, host=hosts.get(client, LOCAL))) for client in range(nodes)
        ]
        for client, proxy in enumerate(proxies):
            env = f'SUPERLINK="{proxy.address}"\n'
            if prefix and client in prefix:
                env += f'NODE_PROGRAM="{prefix[client]} $NODE_PROGRAM"\n'
            write(fleet.node(client) / "env", env.encode())
        held.callback(down, fleet.folder, patience=5.0)
        found = Deployed(fleet, proxies, time.monotonic() + seconds, plain)
        found.up()
        yield found


def free_port() -> int:
    with socket.create_server((LOCAL, 0)) as held:
        return int(held.getsockname()[1])


def needs_processes() -> None:
    """Skips where processes that stay alive could not be found and stopped."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: a process that stays alive could not be found and stopped")
