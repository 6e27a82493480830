"""A device that comes back after a kill -9 is let in once the SuperLink has noticed that the process before is dead."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse
from flwr.supernode.fleet_http_client import FleetHttpClient

from fl_ef21.flower_node import outlast


@pytest.fixture
def answers() -> list[int]:
    """Of a SuperLink, in turn; after the last one it lets everybody in."""
    return []


@pytest.fixture
def device(answers: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetHttpClient]:
    monkeypatch.setattr(FleetHttpClient, "ActivateNode", FleetHttpClient.ActivateNode)  # as it is now, afterwards

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()
            self.wfile.write(ActivateNodeResponse(node_id=7).SerializeToString())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with FleetHttpClient.from_server_address(f"127.0.0.1:{http.server_address[1]}", True, None, []) as client:
            yield client
        http.shutdown()


def test_it_asks_again_until_it_is_let_in(
    device: FleetHttpClient, answers: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    answers += [412, 412]
    outlast(pause=0.0)
    with caplog.at_level(logging.WARNING):
        assert device.ActivateNode(ActivateNodeRequest()).node_id == 7
    assert caplog.text.count("not let in: this key is not registered, or") == 2 and not answers


def test_it_gives_up_in_the_end(device: FleetHttpClient, answers: list[int]) -> None:
    answers += [412] * 9
    outlast(patience=-1.0)
    with pytest.raises(httpx.HTTPStatusError, match="412"):
        device.ActivateNode(ActivateNodeRequest())
    assert len(answers) == 8


def test_other_refusals_are_told_at_once(device: FleetHttpClient, answers: list[int]) -> None:
    answers += [401, 412]
    outlast(pause=0.0)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        device.ActivateNode(ActivateNodeRequest())
    assert answers == [412]
