"""`fl-ef21 deploy run` knows from a run's folder how it is, and goes on where a process died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fl_ef21.errors import InputError
from scenarios.deploy import following, init, run, submit
from scenarios.deploy.following import Following, RunEnded
from scenarios.deploy.health import last_error, run_of
from scenarios.deploy.layout import Fleet
from scenarios.deploy.processes import began
from scenarios.ended import NAME as FAILURE
from scenarios.ended import Failure, noted
from scenarios.loading import ScenarioError, load, resolve, to_toml
from scenarios.progress import Plan, Progress, Silent
from scenarios.runner import DiskFull, RunFailed, Stopped
from scenarios.told import Telling, Told
from tests.small import scenario

PLAN = Plan("small", ["a", "b"], 10, 3)


def at(method: int, round: int) -> Progress:
    return Progress("ab"[method], method, round, 0.5, 0.25, None, 100 * round, 7.0, 2.0)


class Heard(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.rounds: list[Progress] = []
        self.plans: list[Plan] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def start(self, plan: Plan) -> None:
        self.plans.append(plan)

    def round(self, progress: Progress) -> None:
        self.rounds.append(progress)


class ServerApp:
    """A process that is taken for a run's."""

    def __init__(self, out: Path) -> None:
        out.mkdir(exist_ok=True)
        self.out = out
        heeds = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(60)"  # in whatever shell
        self.process = subprocess.Popen([sys.executable, "-I", "-c", heeds])
        there = json.loads((out / "run.json").read_text())["starts"] if (out / "run.json").exists() else []
        (out / "run.json").write_text(json.dumps({"starts": [*there, {"pid": self.process.pid}]}))

    def die(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        (self.out / "summary.json").write_text('{"status": "finished", "name": "small", "methods": []}')
        (self.out / "rounds.jsonl").write_text("")
        self.die()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], ServerApp]]:
    begun: list[ServerApp] = []

    def starter() -> ServerApp:
        begun.append(ServerApp(tmp_path / "run"))
        return begun[-1]

    yield starter
    for one in begun:
        one.die()


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Whose SuperLink answers."""
    for module in (following, submit):
        monkeypatch.setattr(module, "speaks", lambda fleet: True)
    return init(tmp_path / "fleet", 3)


def soon(act: Callable[[], Any]) -> None:
    threading.Timer(0.3, act).start()


def test_a_finished_run_is_seen(fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp]) -> None:
    one = Following(fleet, tmp_path / "run", heard := Heard())
    server = begin()
    Telling(tmp_path / "run").start(PLAN)
    soon(server.finish)
    assert one.until_the_end("7") is None and heard.plans == [PLAN]


def test_a_server_that_died_is_lost_with_the_round_it_was_at(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp]
) -> None:
    one = Following(fleet, tmp_path / "run", heard := Heard())
    server, telling = begin(), Telling(tmp_path / "run")
    telling.start(PLAN)
    telling.message("going on after round 3 of a")
    telling.round(at(1, 4))
    soon(server.die)
    ended = one.until_the_end("7")
    assert ended is not None and ended.lost and one.round == 14
    assert heard.rounds == [at(1, 4)] and heard.messages == ["going on after round 3 of a"]


def test_the_summary_of_an_earlier_start_is_not_taken_for_this_one_s(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp]
) -> None:
    begin().finish()
    one = Following(fleet, tmp_path / "run", Silent())
    begin().die()
    ended = one.until_the_end("7")
    assert ended is not None and ended.lost


def test_why_a_server_failed_is_told(fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp]) -> None:
    one = Following(fleet, tmp_path / "run", Silent())
    server = begin()
    with pytest.raises(InputError), noted(server.out):
        raise InputError("train.timeout", 0, "must be > 0")
    assert one.until_the_end("7") == Failure(3, "train.timeout = 0: must be > 0", lost=False)


def test_a_superlink_that_dies_before_the_run_begins_is_lost(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "speaks", lambda fleet: False)
    monkeypatch.setattr(following, "SILENT", 0.5)
    ended = Following(fleet, tmp_path / "run", Silent()).until_the_end("7")
    assert ended is not None and ended.lost and "SuperLink" in ended.words


def test_a_server_that_asks_for_a_superlink_in_vain_is_lost_and_ended(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "speaks", lambda fleet: False)
    monkeypatch.setattr(following, "SILENT", 0.5)
    one = Following(fleet, tmp_path / "run", Silent())
    server = begin()
    ended = one.until_the_end("7")
    assert ended is not None and ended.lost and began(server.process.pid) != ""
    one.bury(patience=0.1)
    assert began(server.process.pid) == ""


def test_a_run_that_flower_ended_before_it_began_is_told(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"runs": [{"status": "finished:failed", "status-details": "no module named torch"}]}
    monkeypatch.setattr(following, "ASK", 0.0)
    monkeypatch.setattr(following.flower, "flwr", lambda *words: told)
    ended = Following(fleet, tmp_path / "run", Silent()).until_the_end("7")
    assert ended is not None and ended.code == 5 and "no module named torch" in ended.words and not ended.lost


@pytest.fixture
def heeding() -> Iterator[None]:
    """Ctrl-C does what it does in a terminal, also where a shell in the background has this process ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding")
def test_ctrl_c_asks_the_server_to_stop(fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp]) -> None:
    one = Following(fleet, tmp_path / "run", heard := Heard())
    server = begin()
    soon(lambda: os.kill(os.getpid(), signal.SIGINT))
    ended = one.until_the_end("7")  # it ends at SIGINT without a word
    assert ended is not None and began(server.process.pid) == ""
    assert any("Ctrl-C again" in message for message in heard.messages)


# ---------------------------------------------------------------- run


def submitting(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], Any]) -> list[Any]:
    """Each submission does the next of these; what was submitted."""
    todo, seen = iter(acts), list[Any]()

    def submit_(fleet: Fleet, scenario: Any, out: Path) -> str:
        seen.append(scenario)
        next(todo)()
        return str(len(seen))

    monkeypatch.setattr(submit, "submit", submit_)
    monkeypatch.setattr(submit, "revive", lambda folder, say: None)
    monkeypatch.setattr(submit, "stop", lambda fleet, run: None)
    return seen


def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(to_toml(scenario(partition={"clients": 3})))
    return path


def test_a_run_whose_server_dies_is_submitted_again_and_finishes(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = submitting(monkeypatch, lambda: begin().die(), lambda: begin().finish())
    result = run(fleet.folder, small(tmp_path), out=tmp_path / "run", listener=(heard := Heard()))
    assert result.summary["status"] == "finished" and len(seen) == 2
    assert seen[0] == seen[1] and seen[0].durability == "disk"
    assert heard.messages == ["the ServerApp died; going on"]


def test_it_gives_up_where_nothing_gets_further(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = submitting(monkeypatch, *[lambda: begin().die()] * 3)
    with pytest.raises(RunEnded, match="submitted again 2 times in vain") as caught:
        run(fleet.folder, small(tmp_path), out=tmp_path / "run", retries=2)
    assert caught.value.code == 5 and len(seen) == 3


def test_it_does_not_give_up_while_it_gets_further(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_after(round: int) -> None:
        server, telling = begin(), Telling(tmp_path / "run")
        telling.start(PLAN)
        telling.round(at(0, round))
        threading.Timer(0.5, server.die).start()

    seen = submitting(
        monkeypatch, lambda: die_after(1), lambda: die_after(2), lambda: die_after(3), lambda: begin().finish()
    )
    run(fleet.folder, small(tmp_path), out=tmp_path / "run", retries=1)
    assert len(seen) == 4


def test_what_is_wrong_with_the_run_itself_is_not_tried_again(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        with pytest.raises(DiskFull), noted(begin().out):
            raise DiskFull("no room")

    seen = submitting(monkeypatch, full)
    with pytest.raises(RunEnded, match="no room") as caught:
        run(fleet.folder, small(tmp_path), out=tmp_path / "run")
    assert caught.value.code == 6 and len(seen) == 1


def test_a_run_that_could_not_begin_is_told_why_and_leaves_no_folder(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        with pytest.raises(InputError), noted(tmp_path / "runs" / "one"):
            raise InputError("data.path", "a.npz", "is not there")

    submitting(monkeypatch, refuse)
    with pytest.raises(RunEnded, match=r"data\.path = 'a\.npz': is not there") as caught:
        run(fleet.folder, small(tmp_path), out=tmp_path / "runs" / "one")
    assert caught.value.code == 3 and not (tmp_path / "runs" / "one").exists()


def test_what_cannot_work_is_told_before_anything_is_submitted(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = submitting(monkeypatch)
    with pytest.raises(InputError, match=r"partition\.clients = 100: this fleet has 3 devices"):
        run(fleet.folder, "quickstart")
    monkeypatch.setattr(submit, "speaks", lambda fleet: False)
    with pytest.raises(InputError, match="fl-ef21 deploy up"):
        run(fleet.folder, "edge")
    assert not seen


def test_fewer_devices_than_clients_will_do_where_the_scenario_says_so(fleet: Fleet) -> None:
    fewer = ["partition.clients=5", "train.start_clients=3"]
    assert submit._scenario(fleet, "edge", fewer).partition.clients == 5
    with pytest.raises(InputError, match="clients"):
        submit._scenario(fleet, "edge", ["partition.clients=5", "train.start_clients=4"])


def test_what_an_earlier_start_told_is_not_told_again(
    fleet: Fleet, tmp_path: Path, begin: Callable[[], ServerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_after_telling() -> None:
        server, telling = begin(), Telling(tmp_path / "run")
        telling.start(PLAN)
        telling.message("going on after round 5")
        soon(server.die)

    submitting(monkeypatch, die_after_telling, lambda: begin().finish())
    run(fleet.folder, small(tmp_path), out=tmp_path / "run", listener=(heard := Heard()))
    assert heard.messages == ["going on after round 5", "the ServerApp died; going on"] and heard.plans == [PLAN]


def test_durability_stays_as_it_is_asked_for(fleet: Fleet) -> None:
    assert submit._scenario(fleet, "edge", ["durability=memory"]).durability == "memory"


# ---------------------------------------------------------------- what a ServerApp leaves


@pytest.mark.parametrize(
    ("error", "code", "lost"),
    [
        (RunFailed("x"), 5, False), (Stopped("x"), 7, False), (DiskFull("x"), 6, False),
        (InputError("a", 1, "b"), 3, False), (ConnectionResetError("x"), 4, True),
        (ScenarioError("x"), 3, False), (ZeroDivisionError("x"), 5, False),
    ],
)  # fmt: skip
def test_why_it_ended_is_noted_with_the_exit_code(tmp_path: Path, error: Exception, code: int, lost: bool) -> None:
    with pytest.raises(type(error)), noted(tmp_path):
        raise error
    found = Failure.of(tmp_path)
    assert found is not None and (found.code, found.lost) == (code, lost) and found.words


def test_an_error_before_there_is_a_run_folder_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InputError), noted(tmp_path / "run"):
        raise InputError("a", 1, "b")
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_network_means_that_the_superlink_was_lost(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    with pytest.raises(httpx.ConnectError), noted(tmp_path):
        raise httpx.ConnectError("refused")
    found = Failure.of(tmp_path)
    assert found is not None and found.lost


def test_an_older_failure_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / FAILURE).write_text('{"code": 5, "words": "old", "lost": false}')
    with noted(tmp_path):
        pass
    assert not (tmp_path / FAILURE).exists()


def test_progress_is_told_until_the_end(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.message("early")  # before there is a folder to write in
    assert Told.of(tmp_path) is None
    telling.start(PLAN)
    telling.round(at(0, 2))
    assert Told.of(tmp_path) == Told(PLAN, at(0, 2), ("early",))
    telling.end()
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- status


def test_a_run_s_state_is_read_from_its_folder(tmp_path: Path) -> None:
    row = {"method": "a", "round": 5, "uplink_bytes": 70, "downlink_bytes": 90, "rejected": 2}
    (tmp_path / "rounds.jsonl").write_text(json.dumps(row) + "\n" + '{"method": "a", "rou')
    found = run_of(tmp_path)
    assert (found["method"], found["round"], found["uplink_bytes"], found["refused"]) == ("a", 5, 70, 2)
    telling = Telling(tmp_path)
    telling.start(PLAN)
    telling.round(at(1, 7))
    found = run_of(tmp_path)
    assert (found["status"], found["method"], found["round"], found["rounds"]) == ("running", "b", 7, 10)


def test_the_last_error_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_error(log) == ""
    log.write_text(
        "INFO: fine\nERROR :  first\nValueError: second\nINFO: no ErrorHandler here\n\x1b[92mINFO \x1b[0m: ok\n"
    )
    assert last_error(log) == "ValueError: second"
    log.write_text("\x1b[91mERROR \x1b[0m: red\n")
    assert last_error(log) == "ERROR : red"


# ---------------------------------------------------------------- which scenario a run-config names


def test_a_scenario_comes_by_name_by_path_from_the_bundle_or_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    edge = load("edge")
    assert resolve("edge") == resolve("scenarios/edge.toml") == resolve(to_toml(edge)) == edge
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "edge.toml").write_text(to_toml(edge.model_copy(update={"seed": 9})))
    assert resolve("scenarios/edge.toml").seed == 9  # the current folder goes first


@pytest.mark.parametrize("word", ["scenarios/no.toml", "no", "a = 1\nb = 2\n", "rounds = \n"])
def test_a_scenario_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError):
        resolve(word)
