"""A SuperNode that tells the process with the ClientApp when there is work, and is told when it is done or dead.

Flower's SuperNode and its executor ask one another by the clock. Here one wakes the other, so that an idle device does
nothing but look for messages, and an executor that dies is answered for at once instead of after a minute of silence.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

LOOP, COMMAND = "flwr.supernode.start_client_internal", "flwr.supernode.cli.flower_supernode"
KEPT = 50  # finished tasks that are remembered; Flower remembers all, and goes through them with every message


class Attended:
    """Changes Flower's SuperNode in this process until `close`.

    secret: what an executor must sign with to be given work; else any user of this machine could ask for it.
    wake: called when a message has come.

    Attributes:
      tells: whether this version of Flower can be made to wake anybody.
    """

    def __init__(self, secret: bytes, wake: Callable[[], None]) -> None:
        self._secret, self._wake, self._answered = secret, wake, threading.Event()
        self._state: Any = None
        self._before: list[tuple[Any, str, Any]] = []
        loop, command = importlib.import_module(LOOP), importlib.import_module(COMMAND)
        self._change(command, "_start_supernode_http_api", self._serving)
        self._change(command, "start_client_internal", _to_the_end)
        self.tells = self._change(loop, "_pull_and_store_message", self._pulling)
        if self.tells:
            self._change(loop, "time", lambda time: _Waits(time, self._answered))

    def close(self) -> None:
        for module, name, value in reversed(self._before):
            setattr(module, name, value)
        self._before.clear()

    def answered(self) -> None:
        """The executor has a reply ready."""
        self._answered.set()

    def died(self) -> None:
        """The executor is dead: what it was at is answered with Flower's own error, what it had not begun is open."""
        state = self._state
        with suppress(AttributeError):  # another Flower finds out by itself, in a minute
            with state.lock_task_store:
                claimed = list(state.task_token_store)
                begun = any(state.task_store[task].status.status == "running" for task in claimed)
                for task in claimed:
                    state.task_token_store[task].active_until = datetime.min.replace(tzinfo=UTC)
            if begun:
                state.get_messages_legacy(is_reply=False)  # it had this message, or was about to ask for it
            state.get_messages_legacy(run_ids=[])  # which takes note of what has expired
        self._answered.set()

    def _change(self, module: Any, name: str, around: Callable[[Any], Any]) -> bool:
        if not hasattr(module, name):
            return False
        before = getattr(module, name)
        self._before.append((module, name, before))
        setattr(module, name, around(before))
        return True

    def _serving(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def serve(config: Any, factory: Any) -> Any:
            self._state, config.superexec_auth_secret = factory.state(), self._secret
            return start(config, factory)

        return serve

    def _pulling(self, pull: Callable[..., Any]) -> Callable[..., Any]:
        def pulled(*args: Any, **named: Any) -> Any:
            if (run := pull(*args, **named)) is not None:
                _forget(self._state)
                self._wake()
            return run

        return pulled


class _Waits:
    """Stands for `time` in Flower's loop: its wait for a reply ends when there is one."""

    def __init__(self, time: Any, answered: threading.Event) -> None:
        self._time, self._answered = time, answered

    def sleep(self, seconds: float) -> None:
        if seconds < 1:
            self._answered.wait(seconds)
            self._answered.clear()
        else:
            self._time.sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._time, name)


def _to_the_end(serve: Callable[..., Any]) -> Callable[..., Any]:
    """Flower's loop returns when it has given the SuperLink up; its process would stay, and never look again."""

    def served(*args: Any, **named: Any) -> None:
        serve(*args, **named)
        from flwr.supercore.exit import ExitCode, flwr_exit

        flwr_exit(ExitCode.SUPERNODE_CONNECTION_ERROR, "The SuperLink was given up; start this node again.")

    return served


def _forget(state: Any) -> None:
    with suppress(AttributeError), state.lock_task_store:
        over = [name for name, task in state.task_store.items() if task.status.status == "finished"]
        for name in over[:-KEPT]:
            del state.task_store[name]
