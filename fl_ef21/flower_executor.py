"""A ClientApp that stays: answers one message after another in one process. Started by `flower_node`.

Flower starts a process for every message, which imports torch and loads the client's data each time: seconds on a
laptop, half a minute on a small device. This program asks the SuperNode for tasks as `flower-superexec` does and runs
each as `flwr-clientapp` does, by the same function, only that the app is kept. It imports nothing of this project, so
that the app's own copy, the one in its bundle, is what answers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime import run_clientapp as one

SHORT, LONG = 0.01, 0.25  # seconds between two looks for a task: soon after the last one, and later
Answer = Callable[[Message, Context], Message]


class Over(Exception):
    """A task has ended."""


class Executor:
    """Runs tasks of one SuperNode.

    Attributes:
      address: of the SuperNode's Runtime API, on this machine.
      tell: is told the type of every message and the seconds its answer took.
      bundle: digest of the one whose app is loaded, "" for none.
    """

    def __init__(self, address: str, tell: Callable[[str, float], None]) -> None:
        self.address, self.tell, self.bundle = address, tell, ""
        self._app: Answer | None = None
        self._after: Sequence[Callable[[], None]] = ()
        parts: Any = one
        self._install, self._loader = parts.install_from_fab, parts.get_load_client_app_fn
        for name, ours in {
            "flwr_exit": self._exit, "register_signal_handlers": self._register,
            "install_from_fab": self._installed, "get_load_client_app_fn": self._loading,
        }.items():  # fmt: skip
            assert hasattr(one, name), f"this version of Flower has no {name} in {one.__name__}"
            setattr(one, name, ours)

    def run(self, token: str, bundle: str) -> None:
        """One task of an app out of this bundle, the one that is loaded or the first. What it raises is its answer.

        Raises: SystemExit where the app could not be loaded: what was imported on the way must not be kept.
        """
        try:
            one.run_clientapp(self.address, token, insecure=True)
        except Over:
            if self._app is None:
                raise SystemExit(1) from None
            self.bundle = bundle

    def _installed(self, fab: bytes, **options: Any) -> Any:
        return None if self._app is not None else self._install(fab, **options)

    def _loading(self, **options: Any) -> Callable[[str, str, str], Answer]:
        def load(*which: str) -> Answer:
            if self._app is None:
                self._app = self._timed(self._loader(**options)(*which))
            return self._app

        return load

    def _timed(self, app: ClientApp) -> Answer:
        def answer(message: Message, context: Context) -> Message:
            began = time.perf_counter()
            try:
                return app(message, context)
            finally:
                self.tell(message.metadata.message_type, time.perf_counter() - began)

        return answer

    def _register(self, *_: Any, exit_handlers: Sequence[Callable[[], None]] = (), **__: Any) -> None:
        self._after = exit_handlers

    def _exit(self, *_: Any, **__: Any) -> NoReturn:
        for handler in self._after:
            handler()
        raise Over


def serve(executor: Executor, most: float) -> None:
    """Take tasks for ever; looks are `most` seconds apart at the most."""
    client = RuntimeHttpClient.from_server_address(
        server_address=executor.address, insecure=True, root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec")],
        retry_invoker=make_simple_http_retry_invoker(),
    )  # fmt: skip
    pause, wanted = SHORT, AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    while True:
        got = client.AcquireTask(wanted)
        if got.HasField("task") and got.token:
            bundle = got.task.fab_hash
            if executor.bundle not in ("", bundle):  # another app must not meet the modules of this one
                os.execv(sys.executable, [*_words(sys.orig_argv), "--task", bundle, got.token])
            executor.run(got.token, bundle)
            pause = SHORT
        else:
            time.sleep(pause)
            pause = min(2 * pause, most)


def _words(started: Sequence[str]) -> list[str]:
    """How this program was started, without the task that it was started for."""
    words = list(started)
    return words[: words.index("--task")] if "--task" in words else words


def main() -> None:
    """`python -P flower_executor.py --runtime ADDRESS --parent PID --tell FILE_DESCRIPTOR`."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runtime", required=True)
    words.add_argument("--parent", type=int, required=True)
    words.add_argument("--tell", type=int, required=True)
    words.add_argument("--most", type=float, default=LONG)
    words.add_argument("--task", nargs=2)
    given = words.parse_args()
    os.set_inheritable(given.tell, True)  # also by what takes this program's place
    start_parent_process_monitor(given.parent)

    def tell(kind: str, seconds: float) -> None:
        os.write(given.tell, f"{kind} {seconds:.6f}\n".encode())

    executor = Executor(given.runtime, tell)
    if given.task is not None:
        bundle, token = given.task
        executor.run(token, bundle)
    serve(executor, given.most)


if __name__ == "__main__":
    main()
