"""A device's process: Flower's SuperNode, which asks more often and keeps the ClientApp loaded.

`flower-supernode` looks for messages every 3 s and starts a process for each, so that a round of nothing takes 6 s.
This is the same SuperNode in the same process with its own options, but
- it waits `poll` seconds instead of 3, and a twentieth of a second instead of a half for an answer;
- the ClientApp answers in one child process that stays (`flower_executor`), and is started again if it dies.
A SuperLink, its keys and certificates, and the app see no difference.
"""

from __future__ import annotations

import ast
import importlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx

from fl_ef21.errors import InputError
from fl_ef21.flower_attended import Attended

log = logging.getLogger("fl_ef21")
EXECUTOR = Path(__file__).with_name("flower_executor.py")
POLL = 0.5  # seconds between two looks for messages
OURS = ("--isolation", "--host")  # options of flower-supernode that are decided here
ANSWER = 0.05  # seconds between two looks for the app's answer
LEAST, MOST = 0.02, 60.0
GONE, KNOCK = 90.0, 2.0  # seconds: a SuperLink takes a device that died for alive up to 60 s; between two tries
IDLE = 4.0  # seconds after which a child that nobody woke looks for work all the same
AGAIN = 1.0  # seconds before a child that died is started again, doubled up to a minute while it dies at once


class Seen(Protocol):
    """Is told what a device does while it works."""

    def exchange(self, path: str, up: int, down: int, seconds: float) -> None:
        """A request to the SuperLink and its response, in bytes with their heads; `path` without the host."""

    def task(self, kind: str, seconds: float) -> None:
        """The app has answered a message of this type, such as "train"."""


def run(options: Sequence[str], seen: Seen | None = None) -> None:
    """Be a SuperNode until SIGTERM or SIGINT. `options` are those of `flower-supernode`, and `--poll SECONDS`.

    Raises: InputError for an option that is decided here or a poll out of range; SystemExit as flower-supernode does.
    """
    for option in options:
        if option.partition("=")[0] in OURS:
            raise InputError("option", option, "is decided here; leave it out, or start flower-supernode itself")
    told = list(options)
    poll = _seconds(_take(told, "--poll") or str(POLL))
    if lacks := lacking():
        if seen is not None:
            raise InputError("flwr", lacks, "this version has no such name, so that nothing can be seen of its work")
        log.warning("this version of Flower has no %s: this is flower-supernode as it comes, which is slower", lacks)
        plain = str(Path(sys.executable).with_name("flower-supernode"))
        os.execv(plain, [plain, *told])
    port = _take(told, "--port") or str(_free())
    from flwr.supernode.cli.flower_supernode import flower_supernode

    quicken(poll)
    outlast()
    if seen is not None:
        watch(seen)
    sys.argv = ["flower-supernode", *told, "--isolation", "process", "--host", "127.0.0.1", "--port", port]
    with Child(f"127.0.0.1:{port}", poll, seen):
        flower_supernode()


def lacking() -> str:
    """What the executor takes out of Flower's inside and the installed version has not, "" if it can start."""
    lacks = []
    for line in ast.walk(ast.parse(EXECUTOR.read_text())):
        if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("flwr"):
            try:
                found: object = importlib.import_module(str(line.module))
            except ImportError:
                found = None
            lacks += [f"{line.module}.{name.name}" for name in line.names if not hasattr(found, name.name)]
    return ", ".join(lacks)


def _take(options: list[str], name: str) -> str | None:
    """The value of an option, which is taken out. Raises: InputError where it has none."""
    for at, option in enumerate(options):
        if option.startswith(f"{name}="):
            return options.pop(at).partition("=")[2]
        if option == name:
            if at + 1 == len(options):
                raise InputError(name, None, "needs a value")
            return [options.pop(at) for _ in range(2)][1]
    return None


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if LEAST <= (poll := float(text)) <= MOST:
            return poll
    raise InputError("--poll", text, f"must be seconds from {LEAST} to {MOST:.0f}")


def _free() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    return port


def quicken(poll: float) -> None:
    """Shorten the waits of Flower's loop, which are written down there as numbers."""
    from flwr.supercore.inflatable.inflatable_utils import pull_objects
    from flwr.supernode import start_client_internal as loop

    if not hasattr(loop, "time"):
        log.warning("this version of Flower waits elsewhere: messages are looked for as often as it does")
        return

    class Time:
        """`time` for one module of Flower's."""

        @staticmethod
        def sleep(seconds: float) -> None:
            time.sleep(min(seconds, poll if seconds >= 1 else ANSWER))

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

    loop.time = Time()
    if "initial_backoff" in (pull_objects.__kwdefaults__ or {}):  # a look between a message and what is in it
        loop.pull_objects = partial(pull_objects, initial_backoff=ANSWER)  # type: ignore[attr-defined]


def outlast(patience: float = GONE, pause: float = KNOCK) -> None:
    """Ask again to be let in while the SuperLink takes an earlier process with our key, which was killed, for alive.

    Flower's SuperNode gives up at once. A SuperLink refuses a key that it does not know in the same words.
    """
    from flwr.supernode.fleet_http_client import FleetHttpClient

    asks: Callable[..., Any] = FleetHttpClient.ActivateNode

    def ask(self: FleetHttpClient, request: Any) -> Any:
        began = time.monotonic()
        while True:
            try:
                return asks(self, request)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.PRECONDITION_FAILED or time.monotonic() - began > patience:
                    raise
            log.warning("not let in: this key is not registered, or a process that had it died less than a minute ago")
            time.sleep(pause)

    FleetHttpClient.ActivateNode = ask  # type: ignore[method-assign]


def watch(seen: Seen) -> None:
    """Tell of every exchange with the SuperLink."""
    from flwr.supernode.fleet_http_client import FleetHttpClient

    sends: Callable[..., httpx.Response] = FleetHttpClient._send

    def send(self: FleetHttpClient, context: Any, **options: Any) -> httpx.Response:
        began = time.perf_counter()
        response = sends(self, context, **options)
        if not options.get("stream"):
            request = context.request
            up, down = _size(request.method, request.headers, request.content), 0
            down = _size("HTTP/1.1", response.headers, response.content)
            seen.exchange(request.url.path, up + len(request.url.path), down, time.perf_counter() - began)
        return response

    FleetHttpClient._send = send  # type: ignore[method-assign, assignment]


def _size(first: str, headers: httpx.Headers, content: bytes) -> int:
    """Bytes of a request or response in HTTP/1.1, a dozen or so for the rest of its first line."""
    return len(first) + 12 + sum(len(name) + len(value) + 4 for name, value in headers.raw) + 2 + len(content)


class Child:
    """The process in which the app answers; another one is started whenever it ends.

    It looks for work when it is started and when it is woken, and ends when its pipe does: with this process.
    """

    def __init__(self, address: str, poll: float, seen: Seen | None) -> None:
        self.address, self._poll, self._seen = address, poll, seen
        self._over, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._bell: int | None = None
        self._secret = secrets.token_bytes(32)
        self._keeper = threading.Thread(target=self._keep, name="client-app", daemon=True)

    def __enter__(self) -> Child:
        self._node = Attended(self._secret, self.wake)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._hang_up()
        self._keeper.join(5)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._node.close()

    def wake(self) -> None:
        """There is work."""
        with self._lock, suppress(OSError):
            if self._bell is not None:
                os.write(self._bell, b"w")

    def _hang_up(self) -> None:
        with self._lock:
            if self._bell is not None:
                os.close(self._bell)
                self._bell = None

    def _keep(self) -> None:
        pause = AGAIN
        while not self._over.is_set():
            began = time.monotonic()
            status = self._live()
            if self._over.is_set():
                return
            self._node.died()
            pause = AGAIN if time.monotonic() - began > 60 else min(2 * pause, 60.0)
            log.warning("the process of the ClientApp ended (%d); another one is started in %.0f s", status, pause)
            self._over.wait(pause)

    def _live(self) -> int:
        """One life of the child, which says on a pipe what it does; its exit status."""
        (hears, tells), (wakes, bell) = os.pipe(), os.pipe()
        lull = IDLE if self._node.tells else min(0.25, self._poll)
        words = ["--runtime", self.address, "--wake", str(wakes), "--tell", str(tells), "--lull", str(lull)]
        secret = os.environ | {"FL_EF21_SECRET": self._secret.hex()}
        with self._lock:
            process = subprocess.Popen(
                [sys.executable, "-P", str(EXECUTOR), *words], pass_fds=[wakes, tells], env=secret
            )
            self._process, self._bell = process, bell
        os.set_blocking(bell, False)
        os.close(tells)
        os.close(wakes)
        threading.Thread(target=self._listen, args=(hears,), daemon=True).start()
        if self._over.is_set():
            self._hang_up()
        status = process.wait()
        self._hang_up()
        return status

    def _listen(self, pipe: int) -> None:
        with os.fdopen(pipe) as lines:
            for line in lines:
                self._node.answered()
                kind, _, seconds = line.strip().rpartition(" ")
                if self._seen is not None and seconds:
                    self._seen.task(kind, float(seconds))
