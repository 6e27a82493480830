"""Flower's SuperLink behind a gate: other machines reach the interface for devices and no other.

Flower 1.42 serves three interfaces on one port: Fleet, which devices use and node keys guard; Control, with which runs
are submitted and node keys registered; and Runtime, from which the ServerApp's process takes its task. The latter two
ask nobody who he is, so whoever reaches the port could register a key of his own, or have any code run on the server
and on every device. Here they answer the machine they run on and nobody else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any, NoReturn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Service = Callable[[Scope, Receive, Send], Awaitable[None]]

FOR_DEVICES = "/v1/fleet/"
REFUSAL = b"this interface answers the SuperLink's own machine alone\n"


class Gate:
    """An ASGI service in front of another."""

    def __init__(self, app: Service) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith(FOR_DEVICES) or near(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": REFUSAL})
        else:
            await send({"type": "websocket.close", "code": 1008})


def near(scope: Scope) -> bool:
    """Whether a request comes from this machine: from loopback, or from the very address that it came to."""
    client, server = scope.get("client"), scope.get("server")
    if client is None:
        return False
    try:
        here = ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(here, "ipv4_mapped", None) or here
    return mapped.is_loopback or (server is not None and client[0] == server[0])


def serve(options: Sequence[str]) -> None:
    """`flower-superlink OPTIONS` behind the gate; returns when it ends. Exits where this Flower cannot be guarded."""
    try:
        from flwr.superlink import main as service
        from flwr.superlink.cli import flower_superlink

        plain = service.create_app
    except (ImportError, AttributeError) as error:
        _refuse(f"{type(error).__name__}: {error}")
    for name in ("FLWR_INTERNAL_GRPC_CONTROL_API", "FLWR_INTERNAL_GRPC_FLEET_API"):
        os.environ.pop(name, None)  # older interfaces, on ports of their own

    def guarded(*args: Any, **kwargs: Any) -> Any:
        app = plain(*args, **kwargs)
        app.add_middleware(Gate)  # the last one added sees requests first
        return app

    service.create_app = guarded
    sys.argv = ["flower-superlink", *options]
    flower_superlink()


def _refuse(why: str) -> NoReturn:
    sys.exit(f"this version of Flower starts its SuperLink in a way that fl-ef21 cannot guard ({why})")


if __name__ == "__main__":
    serve(sys.argv[1:])
