"""Flower apps of other people: what their folder says, and a run of one on the resident engine."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.named import NamedApp, find
from fl_ef21.errors import InputError, nearest
from fl_ef21.flower_internals import new_context
from scenarios.app_folder import AppFolder


class PackageMissing(ImportError):
    """The app needs a package that is not installed."""


class RunFailed(RuntimeError):
    """The ServerApp raised, or no client could answer."""


@dataclass
class Answers:
    """What came of a run.

    Attributes:
      seconds: that the ServerApp took.
      answered, failed: client messages that came back, and those of them that carry an error.
      reason: of the first error, with the client's number.
    """

    seconds: float = 0.0
    answered: int = 0
    failed: int = 0
    reason: str = ""

    def count(self, replies: list[Message]) -> list[Message]:
        """The same replies, counted."""
        for reply in replies:
            self.answered += 1
            if reply.has_error():
                self.failed += 1
                self.reason = self.reason or f"client {reply.metadata.src_node_id - 1}: {reply.error.reason}"
        return replies


@dataclass(frozen=True)
class App:
    """Both halves of an app, imported, and the run-config they will see."""

    server: ServerApp
    client: ClientApp
    run_config: dict[str, Any]

    def run(self, clients: int, settings: Settings) -> Answers:
        """Run it to its end. Raises: InputError where the actors cannot be had; RunFailed."""
        answers = Answers()
        with CountingGrid(clients, self, settings, answers) as grid:
            context = new_context(grid.run, dict(self.run_config))
            began = time.perf_counter()
            try:
                self.server(grid, context)
            except Exception as error:  # an app may raise anything
                frame = traceback.extract_tb(error.__traceback__)[-1]
                told = f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
                raise RunFailed(f"the ServerApp raised {told}" + _besides(answers)) from error
            except SystemExit as left:
                if left.code not in (None, 0):
                    raise RunFailed(f"the ServerApp left with {left.code!r}" + _besides(answers)) from left
            finally:
                answers.seconds = time.perf_counter() - began
        if answers.answered and answers.failed == answers.answered:
            raise RunFailed("no client could answer" + _besides(answers))
        return answers


def _besides(answers: Answers) -> str:
    return f"; {answers.failed:,} client messages failed, the first at {answers.reason}" if answers.failed else ""


class CountingGrid(RayGrid):
    """A RayGrid that counts, and may be used by several threads, as Flower's older strategies do."""

    def __init__(self, clients: int, app: App, settings: Settings, answers: Answers) -> None:
        super().__init__(clients, app=app.client, settings=settings, run_config=app.run_config)
        self.answers, self._turn = answers, threading.RLock()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        with self._turn:
            return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        with self._turn:
            return self.answers.count(super().pull_messages(message_ids))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The main thread waits for all at once; others, one for each client, take turns at looking."""
        if threading.current_thread() is threading.main_thread():
            with self._turn:
                return self.answers.count(super().send_and_receive(messages, timeout=timeout))
        names = self.push_messages(messages)
        deadline, replies = time.monotonic() + (timeout or 0.0), list[Message]()
        while len(replies) < len(names) and (timeout is None or time.monotonic() < deadline):
            replies += self.pull_messages(names)
            time.sleep(0.001)
        return replies


def load(folder: AppFolder, run_config: dict[str, Any]) -> App:
    """Import both halves. Raises: InputError for what is not there; PackageMissing."""
    server = _component(folder, "serverapp", ServerApp)
    _component(folder, "clientapp", ClientApp)
    return App(server, NamedApp(str(folder.path), folder.components["clientapp"]), run_config)


def _component(folder: AppFolder, key: str, kind: type) -> Any:
    name, where = folder.components[key], f"tool.flwr.app.components.{key}"
    module = name.partition(":")[0]
    try:
        found = find(str(folder.path), name)
    except AttributeError as error:
        if error.obj is None or error.name is None or error.name not in name.partition(":")[2].split("."):
            raise InputError(where, name, f"importing {module} failed: AttributeError: {error}") from error
        public = [word for word in vars(error.obj) if not word.startswith("_")]
        advice = f"{module} has no {error.name!r}; {nearest(error.name, public)}"
        raise InputError(where, name, advice) from error
    except ModuleNotFoundError as error:
        _tell_missing(folder, where, name, error)
    except Exception as error:
        advice = f"importing {module} failed: {type(error).__name__}: {error}"
        raise InputError(where, name, advice) from error
    _refuse_namesake(folder, where, name)
    if not isinstance(found, kind):
        raise InputError(where, name, f"is a {type(found).__name__}, not a {kind.__name__}")
    return found


def _tell_missing(folder: AppFolder, where: str, name: str, error: ModuleNotFoundError) -> None:
    module = name.partition(":")[0]
    _refuse_namesake(folder, where, name)
    if error.name is not None and f"{module}.".startswith(f"{error.name}."):
        raise InputError(where, name, f"there is no module {error.name!r} in {folder.path}") from error
    raise PackageMissing(
        f"{where} = {name!r}: the app needs the package {error.name!r}, which is not installed here; "
        f"`pip install {folder.path}` installs what the app asks for"
    ) from error


def _refuse_namesake(folder: AppFolder, where: str, name: str) -> None:
    """An app's package may be called as one that is already imported, of ours for example."""
    root = name.partition(":")[0].partition(".")[0]
    inside = (folder.path / root).is_dir() or (folder.path / f"{root}.py").is_file()
    module = sys.modules.get(root)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    if inside and module is not None and not any(
        place and Path(place).resolve().is_relative_to(folder.path) for place in places
    ):  # fmt: skip
        raise InputError(where, name, f"another package called {root!r} is in use here; give the app's another name")
