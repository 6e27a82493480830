"""A ClientApp that stays: answers one message after another in one process. Started by `flower_node`.

Flower starts a process for every message, which imports torch and loads the client's data each time: seconds on a
laptop, half a minute on a small device. This program claims tasks as `flower-superexec` does and answers each as
`flwr-clientapp` does, with the functions of the latter, only that the app is kept. It imports nothing of this project,
so that the app's own copy, the one in its bundle, is what answers.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from flwr.app import Error, Message
from flwr.cli.install import install_from_fab
from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import LoadClientAppError
from flwr.clientapp.utils import get_load_client_app_fn
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TASK_TOKEN_HEADER, TaskType
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

SECRET, CLAIMED = "FL_EF21_SECRET", "FL_EF21_CLAIMED"  # not among the arguments, which every user of the machine sees
ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
BEAT = 10.0  # seconds between two signs of life while a message is answered; Flower gives up after 60

log = logging.getLogger("flwr")


class Token:
    """Signs requests with the token of the task that is being answered; repeats those that no answer came to."""

    now = ""

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        if self.now:
            context.request.headers[TASK_TOKEN_HEADER] = self.now
        for pause in (0.05, 0.2, 1.0):  # an idle connection may be closed just when it is used again
            try:
                return call_next(context)
            except httpx.TransportError:
                time.sleep(pause)
        return call_next(context)


class Executor:
    """Answers for one SuperNode.

    wake: file descriptor on which a byte says that there is work, and the end that the SuperNode is gone.
    tell: is told the type of every message and the seconds its answer took, once the SuperNode has the reply.
    lull: seconds after which it looks for work without having been woken.
    """

    def __init__(
        self, client: RuntimeHttpClient, token: Token, wake: int, tell: Callable[[str, float], None], lull: float
    ) -> None:
        self._client, self._token, self._wake, self._tell, self._lull = client, token, wake, tell, lull
        self._woken = threading.Event()
        self._bundle = ""  # digest of what was loaded, or could not be
        self._app: ClientApp | None = None

    def serve(self) -> None:
        """Until the SuperNode is gone. What the app raises is its answer; what Flower raises ends this process."""
        for work in (self._watch, self._beat):
            threading.Thread(target=work, daemon=True).start()
        if claimed := os.environ.pop(CLAIMED, ""):
            self._answer(*claimed.split())
        wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        while True:
            self._woken.clear()
            try:
                got = self._client.AcquireTask(wanted)
            except httpx.TransportError:  # its door is not open yet
                self._woken.wait(0.2)
                continue
            if not got.token:
                self._woken.wait(self._lull)
            elif not self._bundle or (self._app is not None and self._bundle == got.task.fab_hash):
                self._answer(got.task.fab_hash, got.token)
            else:  # another app must not meet the modules of this one
                os.environ[CLAIMED] = f"{got.task.fab_hash} {got.token}"
                os.execv(sys.executable, sys.orig_argv)

    def _watch(self) -> None:
        while os.read(self._wake, 4096):
            self._woken.set()
        os._exit(0)  # in the midst of whatever it is: nobody would take the answer

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            if self._token.now:
                try:
                    self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
                except Exception as error:
                    log.debug("no sign of life went through: %s", error)

    def _answer(self, bundle: str, token: str) -> None:
        self._token.now, self._bundle = token, bundle
        message, context, run, fab = pull_task_input(self._client)
        began, why = time.perf_counter(), ""
        try:
            app = self._loaded(run, fab)
            began = time.perf_counter()
            reply = app(message, context)
        except (Exception, SystemExit) as error:  # an app that calls sys.exit, too
            log.error("the ClientApp raised", exc_info=error)
            loading = isinstance(error, LoadClientAppError) or self._app is None
            code = ErrorCode.LOAD_CLIENT_APP_EXCEPTION if loading else ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            why = f"{type(error)}:<'{error}'>"
            reply = Message(Error(code=code, reason=why), reply_to=message)
        seconds = time.perf_counter() - began
        push_message(self._client, reply, context)
        self._tell(message.metadata.message_type, seconds)
        push_task_output(self._client, None if why else context, SubStatus.FAILED if why else SubStatus.COMPLETED, why)
        self._token.now = ""

    def _loaded(self, run: Any, fab: Any) -> ClientApp:
        if self._app is None:
            install_from_fab(fab.content, skip_prompt=True)
            load = get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
            self._app = load(run.fab_id, run.fab_version, fab.hash_str)
        return self._app


def main() -> None:
    """`python -P flower_executor.py --runtime ADDRESS --wake DESCRIPTOR --tell DESCRIPTOR`."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runtime", required=True)
    words.add_argument("--wake", type=int, required=True)
    words.add_argument("--tell", type=int, required=True)
    words.add_argument("--lull", type=float, required=True)
    given = words.parse_args()
    for pipe in (given.wake, given.tell):
        os.set_inheritable(pipe, True)  # by what takes this program's place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the SuperNode's, which ends this

    def tell(kind: str, seconds: float) -> None:
        os.write(given.tell, f"{kind} {seconds:.6f}\n".encode())

    token, secret = Token(), bytes.fromhex(os.environ[SECRET])
    client = RuntimeHttpClient.from_server_address(
        server_address=given.runtime, insecure=True, root_certificates=None,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={ACQUIRE}), token,
        ],
    )  # fmt: skip
    Executor(client, token, given.wake, tell, given.lull).serve()


if __name__ == "__main__":
    main()
