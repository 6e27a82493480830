"""Other machines reach the interface for devices, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from fl_ef21.flower_gate import REFUSAL, Gate

HERE, ELSEWHERE = ("127.0.0.1", 5), ("10.0.0.7", 5)
CONTROL, RUNTIME, FLEET = "/v1/control/start-run", "/v1/runtime/acquire-task", "/v1/fleet/pull-messages"


def answer(scope: dict[str, Any]) -> list[MutableMapping[str, Any]]:
    """What is sent; the service behind says `in`."""
    sent: list[MutableMapping[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "in"})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    asyncio.run(Gate(behind)(scope, receive, send))
    return sent


def http(path: str, client: Any, server: Any = ("10.0.0.1", 8000), kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "path": path, "client": client, "server": server}


@pytest.mark.parametrize(
    "scope",
    [
        http(FLEET, ELSEWHERE), http(FLEET, HERE), http(FLEET, None), {"type": "lifespan"},
        http(CONTROL, HERE), http(RUNTIME, HERE), http(CONTROL, ("::1", 5)), http(CONTROL, ("::ffff:127.0.0.1", 5)),
        http(RUNTIME, ("10.0.0.1", 9)),  # the server's own address: its ServerApp
    ],
)  # fmt: skip
def test_these_are_let_in(scope: dict[str, Any]) -> None:
    assert answer(scope) == [{"type": "in"}]


@pytest.mark.parametrize(
    "scope",
    [
        http(CONTROL, ELSEWHERE), http(RUNTIME, ELSEWHERE), http("/", ELSEWHERE), http("/docs", ELSEWHERE),
        http("/V1/FLEET/x", ELSEWHERE), http("/v1/fleet", ELSEWHERE), http("//v1/fleet/x", ELSEWHERE),
        http(CONTROL, None), http(CONTROL, ("unix", 0)), http(CONTROL, ("127.0.0.1.example.org", 5)),
        http(CONTROL, ("::ffff:10.0.0.7", 5)), http(CONTROL, ELSEWHERE, None),
    ],
)  # fmt: skip
def test_these_are_refused(scope: dict[str, Any]) -> None:
    head, body = answer(scope)
    assert head["status"] == 403 and body["body"] == REFUSAL


def test_no_other_connection_is_let_in() -> None:
    assert answer(http(CONTROL, ELSEWHERE, kind="websocket")) == [{"type": "websocket.close", "code": 1008}]


def test_flower_s_own_service_is_behind_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    service = pytest.importorskip("flwr.superlink.main")
    from flwr.superlink import cli

    from fl_ef21.flower_gate import serve

    made: list[Any] = []
    monkeypatch.setattr(service, "create_app", service.create_app)  # put back afterwards
    monkeypatch.setattr(cli, "flower_superlink", lambda: made.append(service.create_app()))
    monkeypatch.setattr("sys.argv", ["x"])
    serve([])
    (app,) = made
    scope = http(CONTROL, ELSEWHERE) | {"method": "POST", "headers": [], "query_string": b"", "app": app}
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 403 and sent[1]["body"] == REFUSAL
