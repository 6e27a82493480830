"""Devices with a full disk, with a clone, behind a slow link, and with Flower's own SuperNode."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scenarios.deploy import flower, processes
from scenarios.deploy.authority import device_key
from scenarios.deploy.private import write
from scenarios.deploy.processes import Process
from tests.faulty_proxy import Fault
from tests.system import reference
from tests.system.fleet import Deployed, deployed, needs_processes
from tests.system.scenarios import CLIENTS, answer, small

pytestmark = [pytest.mark.system, pytest.mark.nightly]

VICTIM = 1
ALL = list(range(CLIENTS))
OFFER = "push-messages"


def test_flowers_own_supernode_does_as_well(tmp_path: Path) -> None:
    needs_processes()
    with deployed(tmp_path, plain=True, seconds=600) as fleet:
        result = fleet.run(small(2), tmp_path / "run")
        assert reference.heard(tmp_path / "run") == [ALL] * 2
        assert reference.again(tmp_path / "run", tmp_path / "again") == reference.digests(tmp_path / "run")
        assert result.rounds["invariant_error"].max() < 1e-6


def test_a_device_whose_disk_is_full_misses_that_round_alone(tmp_path: Path) -> None:
    """Its state lies on a small file system of its own, which is full in round 3."""
    needs_processes()
    may("unshare", "--mount", "true")
    script = tmp_path / "small-disk.sh"
    script.write_text(
        "mkdir -p state\n"
        """exec unshare --mount sh -c 'mount -t tmpfs -o size=256k,mode=700 none state && exec "$@"' sh "$@"\n"""
    )
    with deployed(tmp_path, prefix={VICTIM: f"sh {script}"}, seconds=600) as fleet:
        proxy = fleet.proxies[VICTIM]
        proxy.begin([Fault("held", OFFER, (answer(2), answer(3)))])
        running = fleet.start(small(5), tmp_path / "run")
        running.until(lambda: proxy.done("held") == 1, "round 2")
        (node,) = [one for one in processes.load(fleet.fleet.processes) if one.role == f"node-{VICTIM}"]
        filler = Path(f"/proc/{node.pid}/root") / (fleet.fleet.node(VICTIM) / "state" / "filler").relative_to("/")
        fill(filler)
        proxy.release(arrives=True)
        running.until(lambda: proxy.done("held") == 2, "round 3")
        filler.unlink()
        proxy.release(arrives=True)
        result = running.result()
        assert reference.heard(running.out) == [ALL, ALL, [0, 2], ALL, ALL]
        assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
        assert result.rounds["rejected"].max() == 1 and result.rounds["invariant_error"].max() < 1e-6


def fill(path: Path) -> None:
    """A file that takes all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28, error  # no space left


def test_clones_of_a_device_take_no_part_beside_it(tmp_path: Path) -> None:
    """One has its state and its key, another its state and a key of its own, which the SuperLink knows."""
    needs_processes()
    with deployed(tmp_path, seconds=600) as fleet:
        proxy = fleet.proxies[VICTIM]
        proxy.begin([Fault("held", OFFER, (answer(2), answer(4), answer(5)))])
        running = fleet.start(small(5), tmp_path / "run")
        running.until(lambda: proxy.done("held"), "round 2")
        private, public = device_key()
        write(fleet.fleet.public_key(CLIENTS), public)
        flower.register(fleet.fleet, CLIENTS)
        with clone(fleet, tmp_path / "same") as same, clone(fleet, tmp_path / "other", private) as other:
            running.until(lambda: "not let in" in same.read_text(), "the first is refused")
            running.until(lambda: "SuperNode ID" in other.read_text(), "the second is let in")
            proxy.release(arrives=True)
            running.until(lambda: "Sent successfully" in other.read_text(), "the second has said who it is")
            proxy.release(arrives=True)
            both = "both say they are client 1"
            running.until(lambda: any(both in told for told in running.messages.told), "that is told")
            proxy.release(arrives=True)
            result = running.result()
        assert reference.heard(running.out) == [ALL] * 5
        assert reference.again(running.out, tmp_path / "again") == reference.digests(running.out)
        assert result.rounds["invariant_error"].max() < 1e-6


@contextmanager
def clone(fleet: Deployed, folder: Path, key: bytes | None = None) -> Iterator[Path]:
    """A second device with the victim's folder as it is now, on a network of its own: its log. key: another one."""
    shutil.copytree(fleet.fleet.node(VICTIM), folder, ignore=shutil.ignore_patterns("flower", "log.txt"))
    with (folder / "env").open("a") as env:
        env.write(f'SUPERLINK="127.0.0.1:{fleet.fleet.port}"\n')
    if key is not None:
        (folder / "node.key").write_bytes(key)
    log = folder / "log.txt"
    log.touch()
    (noted,) = [one for one in processes.load(fleet.fleet.processes) if one.role == f"node-{VICTIM}"]
    started = Process.start("clone", folder, log, flower.environment(), noted.settings)
    try:
        yield log
    finally:
        processes.end([started], 5.0)


def test_a_device_behind_one_megabit_a_second_takes_part_as_the_others_do(tmp_path: Path) -> None:
    needs_processes()
    wide = 'data = { source = "synthetic", samples = 200, features = 784, classes = 10 }'  # d = 7,850: 31 kB a model
    with link("1mbit") as (name, address), deployed(
        tmp_path, prefix={2: f"ip netns exec {name}"}, hosts={2: address}, seconds=600
    ) as fleet:  # fmt: skip
        result = fleet.run(small(3, more=wide), tmp_path / "run")
        assert reference.heard(tmp_path / "run") == [ALL] * 3
        assert reference.again(tmp_path / "run", tmp_path / "again") == reference.digests(tmp_path / "run")
        assert result.rounds["invariant_error"].max() < 1e-6
        said = sum(one.up for one in fleet.proxies[2].exchanges)
        assert said > 4 * 7850 and through(name) > said  # all of it went through that link


@contextmanager
def link(rate: str) -> Iterator[tuple[str, str]]:
    """A network namespace behind a link of this rate, each way: its name, and our address as seen from there."""
    name, net = f"fleet{os.getpid()}", f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    may("ip", "netns", "add", name)
    inside, slow = ["ip", "netns", "exec", name], ["root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms"]
    try:
        may("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        may("ip", "addr", "add", f"{net}.1/30", "dev", f"{name}a")
        may("ip", "link", "set", f"{name}a", "up")
        for words in (["addr", "add", f"{net}.2/30", "dev", f"{name}b"], ["link", "set", f"{name}b", "up"]):
            may(*inside, "ip", *words)
        may(*inside, "ip", "link", "set", "lo", "up")  # a SuperNode and its ClientApps speak there
        may("tc", "qdisc", "add", "dev", f"{name}a", *slow)
        may(*inside, "tc", "qdisc", "add", "dev", f"{name}b", *slow)
        yield name, f"{net}.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)  # the link goes with it


def through(name: str) -> int:
    """Bytes that have gone from a namespace into its link."""
    command = ["ip", "netns", "exec", name, "cat", f"/sys/class/net/{name}b/statistics/tx_bytes"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def may(*command: str) -> None:
    """Does it, or skips where it may not be done here."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
