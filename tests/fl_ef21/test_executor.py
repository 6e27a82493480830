"""The process that keeps a ClientApp loaded, with Flower's own Runtime API and loop, and no SuperLink."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.exit import ExitCode
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from fl_ef21 import flower_attended, flower_node
from fl_ef21.errors import InputError
from tests.supernode import COMMAND, SuperNode, bundle, said, supernode, until

TOY = """
import os, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
answered = 0

@app.train()
def train(message, context):
    global answered
    answered += 1
    what, _, where = str(message.content.config_records["told"]["text"]).partition(" ")
    if what == "raise":
        raise ValueError("on purpose")
    if what == "exit":
        raise SystemExit(3)
    if what == "die":
        os._exit(9)
    if what == "sleep":
        open(where, "w").write(str(os.getpid()))
        time.sleep(60)
    return Message(RecordDict({"told": ConfigRecord({"text": f"NAME {os.getpid()} {answered}"})}), reply_to=message)
"""
ONE, TWO = bundle(TOY.replace("NAME", "one")), bundle(TOY.replace("NAME", "two"))
BROKEN = bundle("import nowhere_to_be_found")


pytestmark = pytest.mark.filterwarnings("ignore:websockets")  # of the web server that Flower starts


class Seen:
    def __init__(self) -> None:
        self.tasks: list[str] = []

    def exchange(self, path: str, up: int, down: int, seconds: float) -> None: ...

    def task(self, kind: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.tasks.append(kind)


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLWR_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(flower_node, "AGAIN", 0.01)
        yield patch


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def child(patch: pytest.MonkeyPatch, seen: Seen) -> Iterator[flower_node.Child]:
    with flower_node.Child(f"127.0.0.1:{flower_node._free()}", 0.5, seen) as child:
        yield child


@pytest.fixture(scope="module")
def node(child: flower_node.Child) -> Iterator[SuperNode]:
    with supernode(int(child.address.rpartition(":")[2])) as node:
        yield node


def answer(node: SuperNode, fab: Fab = ONE, run: int = 11, text: str = "") -> tuple[str, int, int]:
    """Which app answered, in which process, and how many messages before."""
    name, process, count = said(node.ask(fab, run, text)).split()
    return name, int(process), int(count)


def test_the_app_stays_loaded_and_what_it_raises_is_its_answer(node: SuperNode, seen: Seen) -> None:
    name, process, before = answer(node)
    assert name == "one" and process != os.getpid()
    for text, words in (("raise", "on purpose"), ("exit", "SystemExit")):
        error = node.ask(ONE, text=text).error
        assert error.code == 2 and words in str(error.reason)
    assert answer(node) == ("one", process, before + 3)
    until(lambda: seen.tasks.count("train") >= 4)


def test_another_bundle_finds_none_of_the_modules_of_the_one_before(node: SuperNode) -> None:
    _, process, _ = answer(node)
    assert answer(node, TWO, run=12) == ("two", process, 1)
    assert answer(node, TWO, run=13) == ("two", process, 2)
    assert answer(node, ONE) == ("one", process, 1)


def test_an_app_that_cannot_be_loaded_is_told_and_another_one_can(node: SuperNode) -> None:
    for run in (14, 15):
        error = node.ask(BROKEN, run).error
        assert error.code == 1 and "nowhere_to_be_found" in str(error.reason)
    assert answer(node, run=16)[0] == "one"


def test_an_app_that_kills_its_process_is_answered_for_at_once_and_another_process_goes_on(node: SuperNode) -> None:
    _, process, _ = answer(node)
    beginning = max(task.pending_at for task in node.state.get_tasks())
    error = node.ask(ONE, text="die").error
    assert error.code == 8 and "stopped responding" in str(error.reason)
    (task,) = [task for task in node.state.get_tasks() if task.pending_at > beginning]
    assert task.finished_at < task.running_at  # Flower's own patience of a minute is not what ended it
    name, other, before = answer(node)
    assert (name, before) == ("one", 1) and other != process


def test_finished_tasks_are_forgotten_but_for_the_last(node: SuperNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower_attended, "KEPT", 2)
    for _ in range(5):
        answer(node)
    assert len(node.state.get_tasks()) <= 4


def test_nobody_else_on_the_machine_is_given_a_task(node: SuperNode) -> None:
    stranger = RuntimeHttpClient.from_server_address(
        f"127.0.0.1:{node.port}", True, None, [RuntimeVersionHttpInterceptor("SuperExec")]
    )
    with stranger, pytest.raises(httpx.HTTPStatusError, match="401"):
        stranger.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))


def test_the_executor_ends_with_its_pipe_in_the_midst_of_an_answer(
    node: SuperNode, child: flower_node.Child, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    node.pull(ONE, 11, f"sleep {here}")
    until(lambda: here.exists() and here.read_text())
    child._hang_up()  # as the system does with the pipes of a parent that was killed
    assert node.push().error.code == 8
    with pytest.raises(ProcessLookupError):
        os.kill(int(here.read_text()), 0)


def test_a_node_that_gave_its_superlink_up_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMAND, "start_client_internal", lambda: None)
    before = COMMAND._start_supernode_http_api
    ended: list[int] = []  # Flower's own would end this process by force some seconds later
    monkeypatch.setattr("flwr.supercore.exit.flwr_exit", lambda code, message: ended.append(code))
    attended = flower_attended.Attended(b"secret", lambda: None)
    COMMAND.start_client_internal()
    attended.close()
    assert ended == [ExitCode.SUPERNODE_CONNECTION_ERROR]
    assert COMMAND.start_client_internal() is None and COMMAND._start_supernode_http_api is before


def test_a_flower_made_differently_inside_is_started_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert flower_node.lacking() == ""
    other = tmp_path / "executor.py"
    other.write_text("from flwr.nowhere import one\nfrom flwr.app import Message, Nothing\n")
    monkeypatch.setattr(flower_node, "EXECUTOR", other)
    became: list[list[str]] = []

    def become(program: str, words: list[str]) -> None:
        became.append([Path(program).name, *words[1:]])
        raise SystemExit

    monkeypatch.setattr(os, "execv", become)
    with pytest.raises(SystemExit):
        flower_node.run(["--insecure", "--poll", "0.1", "--port", "9"])
    assert became == [["flower-supernode", "--insecure", "--port", "9"]]
    with pytest.raises(InputError, match=r"flwr\.nowhere\.one, flwr\.app\.Nothing"):
        flower_node.run(["--insecure"], Seen())
    assert "flower-supernode" not in sys.argv[0]
