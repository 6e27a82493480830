"""Three SuperNodes with keys, a SuperLink with TLS and a proxy between them, all of them processes of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import scenarios
from fl_ef21 import flower_traffic
from scenarios.deploy import flower
from scenarios.deploy.authority import device_key
from scenarios.loading import parse
from scenarios.results import Result
from tests.faulty_proxy import Exchange
from tests.system import reference
from tests.system.fleet import Deployed, deployed, free_port, needs_processes
from tests.system.scenarios import CLIENTS, small

pytestmark = pytest.mark.system

ROUNDS = 4
OF_MESSAGES = ("pull-messages", "pull-object", "confirm-message-received", "push-messages", "push-object")


@dataclass(frozen=True)
class Ran:
    """A fleet that has run something.

    Attributes:
      stranger: how a SuperNode ended whose key the SuperLink does not know, and what it said.
    """

    fleet: Deployed
    out: Path
    result: Result
    stranger: tuple[int, str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    needs_processes()
    folder = tmp_path_factory.mktemp("fleet")
    with deployed(folder) as fleet:
        running = fleet.start(small(ROUNDS, every=2), folder / "run")
        stranger = knock(fleet, folder / "stranger")  # meanwhile
        yield Ran(fleet, folder / "run", running.result(), stranger)


def knock(fleet: Deployed, folder: Path) -> tuple[int, str]:
    """A device whose folder is that of client 1, but for the key."""
    shutil.copytree(fleet.fleet.node(1), folder, ignore=shutil.ignore_patterns("flower", "state", "log.txt"))
    (folder / "node.key").write_bytes(device_key()[0])
    command = [
        "flower-supernode", "--superlink", fleet.proxies[1].address, "--root-certificates", "ca.crt",
        "--auth-supernode-private-key", "node.key", "--node-config", "partition-id=1", "--isolation", "process",
        "--port", str(free_port()),
    ]  # fmt: skip
    environment = flower.environment(folder / "flower")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_a_fleet_has_the_trajectory_of_the_resident_engine(ran: Ran) -> None:
    wanted = scenarios.run(parse(small(ROUNDS, every=2)))
    assert ran.result.summary["status"] == "finished" and ran.result.summary["runtime"] == "flower"
    for column in ("method", "round", "uplink_bytes", "downlink_bytes", "participants", "rejected"):
        assert list(ran.result.rounds[column]) == list(wanted.rounds[column]), column
    for column in ("train_loss", "grad_norm_sq", "test_accuracy"):
        np.testing.assert_allclose(ran.result.rounds[column], wanted.rounds[column], rtol=1e-5, err_msg=column)
    assert ran.result.rounds["invariant_error"].max() < 1e-6


def test_it_is_that_of_the_same_halves_in_one_process_to_the_last_bit(ran: Ran, tmp_path: Path) -> None:
    assert reference.heard(ran.out) == [list(range(CLIENTS))] * ROUNDS
    assert reference.again(ran.out, tmp_path) == reference.digests(ran.out)


def test_the_wire_bytes_of_the_ledger_are_those_that_the_proxies_saw_within_one_percent(ran: Ran) -> None:
    seen = [one for proxy in ran.fleet.proxies for one in proxy.exchanges if of_messages(one)]
    told = ran.result.summary["methods"][0]["traffic"]
    for way, bytes_ in (("uplink", sum(one.up for one in seen)), ("downlink", sum(one.down for one in seen))):
        said = told[way]["wire_bytes"] + told["asides"][f"{way}_wire_bytes"]
        assert said == pytest.approx(bytes_, rel=0.01), way


def of_messages(exchange: Exchange) -> bool:
    """Whether it carried a message, or a part of one; not where there was nothing yet, or nobody answered."""
    last = exchange.path.rsplit("/", 1)[1]
    nothing = {"pull-messages": flower_traffic.poll().down, "pull-object": flower_traffic.early().down}
    return exchange.status == 200 and last in OF_MESSAGES and exchange.down != nothing.get(last)


def test_a_device_whose_key_is_not_registered_is_refused(ran: Ran) -> None:
    code, said = ran.stranger
    assert code != 0 and "Failed to initialize the connection to the SuperLink" in said
    welcomed = [one.status for one in ran.fleet.proxies[1].exchanges if one.path.endswith("/activate-node")]
    assert sorted(welcomed) == [200, 412], said  # client 1 itself, and then the stranger


def test_what_a_fleet_keeps_is_for_its_owner_alone(ran: Ran) -> None:
    modes = {path: path.stat().st_mode for path in ran.fleet.fleet.folder.rglob("*") if not path.is_symlink()}
    ours = {path for path in modes if "flower" not in path.relative_to(ran.fleet.fleet.folder).parts}
    assert not {path for path in ours if modes[path] & 0o077}
    assert any(path.name == "superlink.db" for path in ours) and os.geteuid() == os.stat(ran.out).st_uid
