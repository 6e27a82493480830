"""What `fl-ef21 deploy init` makes: keys that fit, files for their owner alone, scripts that start the right thing."""

from __future__ import annotations

import stat
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fl_ef21 import signing
from fl_ef21.errors import InputError
from scenarios.deploy import init, scripts
from scenarios.deploy.layout import Fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return init(tmp_path_factory.mktemp("some where") / "my fleet", 2, ["edge.example.org", "192.168.1.10"], 8443)


def test_only_the_owner_may_read_anything(fleet: Fleet) -> None:
    for path in [fleet.folder, *fleet.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_init_was_told_is_read_again(fleet: Fleet) -> None:
    assert Fleet.load(fleet.folder) == fleet
    assert (fleet.hosts, fleet.port, fleet.nodes) == (("edge.example.org", "192.168.1.10"), 8443, 2)


@pytest.mark.parametrize("host", ["edge.example.org", "192.168.1.10", "127.0.0.1", "localhost"])
def test_devices_accept_the_server_under_its_names(fleet: Fleet, host: str) -> None:
    verify(fleet, host)


def test_nobody_else_has_the_server_s_certificate(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(VerificationError):
        verify(fleet, "other.example.org")
    with pytest.raises(VerificationError):
        verify(fleet, "192.168.1.10", trusted=init(tmp_path / "other", 1).node(0) / "ca.crt")


def verify(fleet: Fleet, host: str, trusted: Path | None = None) -> None:
    """As a device does. Raises: VerificationError."""
    ca = x509.load_pem_x509_certificate((trusted or fleet.node(0) / "ca.crt").read_bytes())
    served = x509.load_pem_x509_certificate((fleet.superlink / "server.crt").read_bytes())
    try:
        name: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    PolicyBuilder().store(Store([ca])).build_server_verifier(name).verify(served, [])


def test_every_device_has_a_key_of_its_own_that_the_superlink_knows(fleet: Fleet) -> None:
    keys = [serialization.load_ssh_private_key((fleet.node(i) / "node.key").read_bytes(), None) for i in (0, 1)]
    known = [serialization.load_ssh_public_key(fleet.public_key(i).read_bytes()) for i in (0, 1)]
    assert [key.public_key() for key in keys] == known and known[0] != known[1]
    assert {key.curve.name for key in keys} == {"secp384r1"}  # type: ignore[union-attr]


def test_message_keys_fit(fleet: Fleet) -> None:
    for i in (0, 1):
        mine = signing.private_key("message-key", fleet.node(i) / "message.key")
        assert signing.holds(
            signing.public_key("client", fleet.message_keys / f"client-{i}.pub"),
            signing.sign(mine, signing.REPLY, b"told"), signing.REPLY, b"told",
        )  # fmt: skip
    server = signing.private_key("message-keys", fleet.message_keys / "server.key")
    there = signing.public_key("server-key", fleet.node(1) / "server.pub")
    assert signing.holds(there, signing.sign(server, signing.INSTRUCTION, b"x"), signing.INSTRUCTION, b"x")


def test_no_secret_of_the_server_or_of_another_device_is_in_a_device_s_folder(fleet: Fleet) -> None:
    for i in (0, 1):
        held = {path.name: path.read_bytes() for path in fleet.node(i).iterdir()}
        assert set(held) == {
            "ca.crt", "node.key", "message.key", "server.pub", "start.sh", f"fl-ef21-node-{i}.service",
        }  # fmt: skip
        secrets = [*fleet.folder.rglob("*.key")]
        foreign = [path.read_bytes() for path in secrets if path.parent != fleet.node(i)]
        assert len(foreign) == len(secrets) - 2 and not set(foreign) & set(held.values())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"nodes": 0}, "nodes"), ({"nodes": 10**6}, "nodes"), ({"port": 0}, "port"), ({"port": 65536}, "port"),
        ({"hosts": ["a b"]}, "host"), ({"hosts": ["1.2.3"]}, "host"), ({"hosts": ["host:80"]}, "host"),
        ({"hosts": ["0.0.0.0"]}, "host"), ({"hosts": [""]}, "host"), ({"hosts": ['x"; rm']}, "host"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_and_leaves_nothing(tmp_path: Path, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field} = "):
        init(tmp_path / "fleet", **{"nodes": 1} | wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    with pytest.raises(InputError, match="is there already"):
        init(tmp_path / "fleet", 1)
    assert not list((tmp_path / "fleet").iterdir())


def test_an_error_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fleet: Fleet, client: int) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scripts, "node", full)
    with pytest.raises(OSError, match="No space"):
        init(tmp_path / "fleet", 1)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    """A program that says where it was started and with what."""
    path = tmp_path / "spy"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$FLWR_HOME" "$@"\n')
    path.chmod(0o755)
    return path


def started(home: Path, **env: str) -> list[str]:
    done = subprocess.run([home / "start.sh"], env={"PATH": "/usr/bin:/bin"} | env, capture_output=True, check=True)
    return done.stdout.decode().splitlines()


def test_a_device_is_started_with_its_keys_and_number(fleet: Fleet, spy: Path) -> None:
    home = fleet.node(1)
    pwd, flower, *options = started(home, NODE_PROGRAM=str(spy))
    assert (pwd, flower) == (str(home), str(home / "flower"))
    told = dict(zip(options[::2], options[1::2], strict=True))
    assert told["--superlink"] == "edge.example.org:8443"
    assert (home / told["--root-certificates"]).is_file() and (home / told["--auth-supernode-private-key"]).is_file()
    config = told["--node-config"].split()
    assert config == [
        "partition-id=1", "num-partitions=2", 'state-dir="state"', 'message-key="message.key"',
        'server-key="server.pub"',
    ]  # fmt: skip


def test_a_device_s_env_file_has_the_last_word(tmp_path: Path, spy: Path) -> None:
    home = init(tmp_path / "fleet", 1).node(0)
    (home / "env").write_text(
        "SUPERLINK=10.0.0.1:9\nNODE_CONFIG='data-path=\"a b.npz\"'\nNODE_OPTIONS='--max-retries 9'\n"
    )
    told = started(home, NODE_PROGRAM=str(spy), SUPERLINK="elsewhere:1")
    assert told[told.index("--superlink") + 1] == "10.0.0.1:9" and told[-2:] == ["--max-retries", "9"]
    assert told[told.index("--node-config") + 1].endswith(' data-path="a b.npz"')


def test_the_superlink_is_started_with_tls_and_node_keys(fleet: Fleet, spy: Path) -> None:
    told = started(fleet.superlink, SUPERLINK_PROGRAM=str(spy), LISTEN="192.168.1.10")
    assert {"--enable-supernode-auth", "--disable-runtime-dependency-installation"} <= set(told)
    assert told[-4:] == ["--host", "192.168.1.10", "--port", "8443"] and "--insecure" not in told


def test_units_start_the_scripts(fleet: Fleet) -> None:
    for unit, place in [(scripts.superlink_unit(), "superlink"), (scripts.node_unit(1), "node-1")]:
        assert unit[0] == f"fl-ef21-{place}.service"
        assert f"ExecStart=/opt/fl-ef21/{place}/start.sh" in unit[1] and "Restart=always" in unit[1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_fleet_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "deploy.json").write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        Fleet.load(tmp_path)
