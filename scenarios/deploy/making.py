"""`fl-ef21 deploy init`: keys, certificates, scripts and units of a fleet, all or nothing."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from fl_ef21 import signing
from fl_ef21.errors import InputError
from scenarios.deploy import scripts
from scenarios.deploy.authority import Authority, certificate_pem, device_key, private_pem
from scenarios.deploy.layout import NAME, Fleet
from scenarios.deploy.private import write

PORT = 8000
MOST = 10_000  # devices of one fleet: one folder each
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def init(folder: Path, nodes: int, hosts: Sequence[str] = (), port: int = PORT) -> Fleet:
    """Make a fleet in `folder`, which must not be there yet; readable by its owner alone.

    hosts: names and addresses that devices may reach the SuperLink under, this machine's loopback by default.
    Raises: InputError before anything is made; OSError, and then nothing is left.
    """
    folder = Path(os.path.abspath(folder))
    fleet = Fleet(folder, _connection_name(folder.name), tuple(hosts) or ("127.0.0.1",), port, nodes)
    _check(fleet)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # 0700
    try:
        _fill(scratch, fleet)
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return fleet


def _check(fleet: Fleet) -> None:
    if fleet.folder.exists() or fleet.folder.is_symlink():
        raise InputError("DIR", str(fleet.folder), "is there already; name a folder that is not")
    if not 1 <= fleet.nodes <= MOST:
        raise InputError("nodes", fleet.nodes, f"must lie in 1 to {MOST}")
    if not 1 <= fleet.port <= 65535:
        raise InputError("port", fleet.port, "must lie in 1 to 65535")
    for host in fleet.hosts:
        _check_host(host)


def _check_host(host: str) -> None:
    advice = "must be a name such as server.example.org or an address such as 192.168.1.10, without a port"
    try:
        if ip_address(host).is_unspecified:
            raise InputError("host", host, "is no address to connect to; name the server's own")
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        labels = host.split(".")
        if len(host) > 253 or not all(_LABEL.fullmatch(one) for one in labels) or labels[-1].isdigit():
            raise InputError("host", host, advice) from None


def _connection_name(folder: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder).strip("-") or "fleet"


def _fill(scratch: Path, fleet: Fleet) -> None:
    at = Fleet(scratch, fleet.name, fleet.hosts, fleet.port, fleet.nodes)  # the same places, elsewhere
    authority = Authority.new(f"fl-ef21 {fleet.name}"[:64])
    key, certificate = authority.server(fleet.hosts)
    ca = certificate_pem(authority.certificate)
    write(at.ca / "ca.key", private_pem(authority.key))
    write(at.ca / "ca.crt", ca)
    write(at.superlink / "ca.crt", ca)
    write(at.superlink / "server.key", private_pem(key))
    write(at.superlink / "server.crt", certificate_pem(certificate))
    write(at.superlink / "start.sh", scripts.superlink(fleet).encode(), 0o700)
    _unit(at.superlink, *scripts.superlink_unit())
    private, public = signing.pair()
    write(at.message_keys / "server.key", private)
    write(at.message_keys / "server.pub", public)
    for client in range(fleet.nodes):
        _device(at, fleet, client, ca, public)
    at.flower.mkdir(0o700)
    write(at.flower / "config.toml", scripts.connection(fleet).encode())
    write(scratch / NAME, fleet.text().encode())


def _device(at: Fleet, fleet: Fleet, client: int, ca: bytes, server: bytes) -> None:
    """The folder of one device, and what the SuperLink must know of it."""
    place = at.node(client)
    private, public = device_key()
    write(at.public_key(client), public)
    write(place / "node.key", private)
    write(place / "ca.crt", ca)
    private, public = signing.pair()
    write(at.message_keys / f"client-{client}.pub", public)
    write(place / "message.key", private)
    write(place / "server.pub", server)
    write(place / "start.sh", scripts.node(fleet, client).encode(), 0o700)
    _unit(place, *scripts.node_unit(client))


def _unit(place: Path, name: str, text: str) -> None:
    write(place / name, text.encode())
