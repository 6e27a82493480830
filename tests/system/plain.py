"""A SuperLink and Flower's own SuperNodes without TLS, all that they say to one another through a counting proxy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fl_ef21 import flower_traffic
from tests.counting_proxy import CountingProxy, Exchange
from tests.system.test_flwr_run import copy_project, free_ports

OF_MESSAGES = ("pull-messages", "pull-object", "confirm-message-received", "push-messages", "push-object")


def deploy(folder: Path, scenario: str, nodes: Sequence[str], deadline: float) -> CountingProxy:
    """Run a scenario's text with one SuperNode for each line of node-config; what the proxy saw when all have ended.

    The run is in `folder`/run. Its processes have FLWR_HOME `folder`/home, by which they can be found and stopped.
    deadline: by time.monotonic().
    """
    tools, port, home = Path(sys.executable).parent, free_ports()[0], folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(f'[superlink.real]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    (folder / "scenario.toml").write_text(scenario)
    copy_project(folder / "fl-ef21")
    private = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | private
    with ExitStack() as held:
        log = held.enter_context((folder / "log").open("w"))

        def start(*words: str) -> subprocess.Popen[bytes]:
            words = (str(tools / words[0]), *words[1:])
            return subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)

        start("flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation")
        _listening(port, deadline)
        proxy = held.enter_context(CountingProxy(port))
        common = ("flower-supernode", "--insecure", "--superlink", proxy.address)
        begun = [start(*common, "--port", str(free_ports()[0]), "--node-config", told) for told in nodes]
        config = f'scenario="{folder / "scenario.toml"}" out="{folder / "run"}"'
        done = start("flwr", "run", str(folder / "fl-ef21"), "real", "--stream", "--run-config", config)
        assert done.wait(deadline - time.monotonic()) == 0, (folder / "log").read_text()[-4000:]
        for node in begun:
            node.send_signal(signal.SIGTERM)
        for node in begun:
            node.wait(30)
    assert (folder / "run" / "summary.json").is_file(), (folder / "log").read_text()[-4000:]
    return proxy


def of_messages(proxy: CountingProxy) -> list[Exchange]:
    """What messages cost: exchanges that carried one, without the questions that found none."""
    return [one for one in proxy.exchanges if one.path.rsplit("/", 1)[1] in OF_MESSAGES and not is_poll(one)]


def is_poll(exchange: Exchange) -> bool:
    """Whether this was a question for work that found none."""
    return exchange.path.endswith("/pull-messages") and exchange.down == flower_traffic.poll().down


def _listening(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"nobody listens on port {port}")
