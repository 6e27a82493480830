"""Start scripts, systemd units and Flower's connection entry, as text."""

from __future__ import annotations

from scenarios.deploy.layout import Fleet

PREFIX = "/opt/fl-ef21"  # where the units look for the folders

_QUIET = "FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1"

_SUPERLINK = """\
#!/bin/sh
# The SuperLink of this fleet. A file `env` beside this one may set LISTEN, PORT and others.
set -eu
cd "$(dirname "$0")"
umask 077
[ ! -f env ] || . ./env
export FLWR_HOME="${{FLWR_HOME:-$PWD/flower}}" NUMBA_CACHE_DIR="${{NUMBA_CACHE_DIR:-$PWD/compiled}}"
export {quiet}
exec ${{SUPERLINK_PROGRAM:-fl-ef21 deploy superlink}} \\
    --ssl-ca-certfile ca.crt --ssl-certfile server.crt --ssl-keyfile server.key \\
    --enable-supernode-auth --disable-runtime-dependency-installation --database superlink.db \\
    --host "${{LISTEN:-0.0.0.0}}" --port "${{PORT:-{port}}}"
"""

_NODE = """\
#!/bin/sh
# Client {client} of this fleet. A file `env` beside this one may set
#   SUPERLINK=host:port          another address of the server
#   NODE_CONFIG='data-path="my.npz"'   more of Flower's node-config
#   NODE_OPTIONS="--max-retries 9"     more options
set -eu
cd "$(dirname "$0")"
umask 077
[ ! -f env ] || . ./env
export FLWR_HOME="${{FLWR_HOME:-$PWD/flower}}" NUMBA_CACHE_DIR="${{NUMBA_CACHE_DIR:-$PWD/compiled}}"
export {quiet}
exec ${{NODE_PROGRAM:-fl-ef21 node}} \\
    --superlink "${{SUPERLINK:-{address}}}" --root-certificates ca.crt --auth-supernode-private-key node.key \\
    --node-config "partition-id={client} num-partitions={nodes} state-dir=\\"state\\" \\
message-key=\\"message.key\\" server-key=\\"server.pub\\" ${{NODE_CONFIG:-}}" \\
    ${{NODE_PORT:+--port $NODE_PORT}} ${{NODE_OPTIONS:-}}
"""

_UNIT = """\
# Copy this folder to {prefix}/{place}, owned by the user fl-ef21, with Python and fl-ef21 in {prefix}/venv; then
#   sudo cp {prefix}/{place}/{unit} /etc/systemd/system/ && sudo systemctl enable --now {unit}
[Unit]
Description={what}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=fl-ef21
WorkingDirectory={prefix}/{place}
Environment=PATH={prefix}/venv/bin:/usr/local/bin:/usr/bin:/bin
ExecStart={prefix}/{place}/start.sh
Restart=always
RestartSec=5
KillMode=mixed
TimeoutStopSec=30
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={prefix}/{place}

[Install]
WantedBy=multi-user.target
"""

_CONNECTION = """\
[superlink]
default = "{name}"

[superlink.{name}]
address = "127.0.0.1:{port}"
root-certificates = "{ca}"
"""


def superlink(fleet: Fleet) -> str:
    return _SUPERLINK.format(port=fleet.port, quiet=_QUIET)


def node(fleet: Fleet, client: int) -> str:
    host = fleet.hosts[0]
    address = f"[{host}]:{fleet.port}" if ":" in host else f"{host}:{fleet.port}"
    return _NODE.format(client=client, nodes=fleet.nodes, address=address, quiet=_QUIET)


def superlink_unit() -> tuple[str, str]:
    """Name and text of a unit."""
    return _unit("superlink", "SuperLink of a fleet of fl-ef21")


def node_unit(client: int) -> tuple[str, str]:
    """Name and text of a unit."""
    return _unit(f"node-{client}", f"Client {client} of a fleet of fl-ef21")


def connection(fleet: Fleet) -> str:
    """Flower's config.toml: Control answers the server's own machine alone, so the address is local."""
    ca = str(fleet.superlink / "ca.crt").replace("\\", "\\\\").replace('"', '\\"')
    return _CONNECTION.format(name=fleet.name, port=fleet.port, ca=ca)


def _unit(place: str, what: str) -> tuple[str, str]:
    name = f"fl-ef21-{place}.service"
    return name, _UNIT.format(prefix=PREFIX, place=place, unit=name, what=what)
