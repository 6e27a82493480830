"""The proxy that tests of whole fleets trust: against a small server in this process that writes down what arrives."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.certificate import self_signed
from tests.faulty_proxy import Fault, FaultyProxy, Identity

BODY = b"x" * 1000


@dataclass
class Server:
    """Attributes: arrived, the bodies in the order of arrival."""

    port: int = 0
    arrived: list[bytes] = field(default_factory=list)


@pytest.fixture(params=["plain", "TLS"])
def identity(request: pytest.FixtureRequest, tmp_path: Path) -> Identity | None:
    if request.param == "plain":
        return None
    certificate, key = self_signed(tmp_path)
    return Identity(certificate, key, ca=certificate)


@pytest.fixture
def server(identity: Identity | None) -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.arrived.append(body)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        if identity is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(identity.certificate, identity.key)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        found.port = http.server_address[1]
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        http.shutdown()


def connect(proxy: FaultyProxy) -> HTTPConnection:
    if proxy.tls is None:
        return HTTPConnection(proxy.address, timeout=10)
    trusted = ssl.create_default_context(cafile=str(proxy.tls.ca))
    return HTTPSConnection(proxy.address, timeout=10, context=trusted)


def ask(connection: HTTPConnection, body: bytes, path: str = "/v1/push") -> bytes:
    connection.request("POST", path, body)
    return connection.getresponse().read()


def suppressed(do: Callable[..., object], *words: object) -> None:
    with suppress(HTTPException, OSError):
        do(*words)


def test_it_passes_on_and_counts_every_byte(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity) as proxy:
        connection = connect(proxy)
        assert ask(connection, BODY) == BODY and ask(connection, b"", "/v1/pull") == b""
        connection.close()
    first, second = proxy.exchanges
    assert (first.path, first.number, first.status, first.fault) == ("/v1/push", 1, 200, "")
    assert (second.path, second.number) == ("/v1/pull", 1)
    assert first.up - second.up == len(BODY) + len("1000") - len("0")  # the heads are equal but for the length
    assert first.down - second.down == len(BODY) + len("1000") - len("0")
    assert 60 < second.up < 200 and 60 < second.down < 300


def test_a_lost_request_never_arrives_and_the_next_one_does(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("lost", "push", (1,))]) as proxy:
        with pytest.raises((HTTPException, OSError)):
            ask(connect(proxy), b"first")
        assert server.arrived == []
        assert ask(connect(proxy), b"second") == b"second"
    assert server.arrived == [b"second"] and proxy.done("lost") == 1


def test_a_cut_answer_was_given_and_does_not_arrive(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("cut", "push", (1,))]) as proxy:
        with pytest.raises((HTTPException, OSError)):
            ask(connect(proxy), b"first")
        assert server.arrived == [b"first"] and proxy.exchanges[0].status == 200
        assert ask(connect(proxy), b"first") == b"first"
    assert server.arrived == [b"first", b"first"]


def test_a_request_arrives_twice(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("twice", "push", (2,))]) as proxy:
        connection = connect(proxy)
        for body in (b"first", b"second", b"third"):
            assert ask(connection, body) == body
        connection.close()
    assert server.arrived == [b"first", b"second", b"second", b"third"] and proxy.done("copy") == 1


def test_a_request_is_replayed_after_the_next_one_to_that_path(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("replayed", "push", (1,))]) as proxy:
        connection = connect(proxy)
        for body, path in ((b"first", "/v1/push"), (b"other", "/v1/pull"), (b"second", "/v1/push")):
            assert ask(connection, body, path) == body
        connection.close()
    assert server.arrived == [b"first", b"other", b"second", b"first"]


def test_a_request_is_overtaken_by_the_next_one(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("overtaken", "push", (1,))]) as proxy:
        first = threading.Thread(target=ask, args=(connect(proxy), b"first"))
        first.start()
        while not proxy.exchanges:
            time.sleep(0.001)
        ask(connect(proxy), b"second")
        first.join()
    assert server.arrived == [b"second", b"first"]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_request_is_held_until_somebody_says_what_becomes_of_it(
    server: Server, identity: Identity | None, arrives: bool
) -> None:
    with FaultyProxy(server.port, identity, [Fault("held", "push", (1,))]) as proxy:
        first = threading.Thread(target=lambda: suppressed(ask, connect(proxy), b"first"))
        first.start()
        while not proxy.done("held"):
            time.sleep(0.001)
        ask(connect(proxy), b"second")
        assert server.arrived == [b"second"]
        proxy.release(arrives)
        first.join()
    assert server.arrived == [b"second", b"first"][: 1 + arrives]


def test_it_counts_from_the_beginning_where_it_is_told_to(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity) as proxy:
        ask(connect(proxy), b"first")
        proxy.begin([Fault("lost", "push", (1,))])
        with pytest.raises((HTTPException, OSError)):
            ask(connect(proxy), b"second")
    assert server.arrived == [b"first"] and [one.number for one in proxy.exchanges] == [1]


def test_who_is_not_overtaken_goes_on_alone(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, [Fault("overtaken", "push", (1,))], patience=0.01) as proxy:
        assert ask(connect(proxy), b"first") == b"first"


def test_a_server_that_is_gone_ends_the_connection(identity: Identity | None) -> None:
    with FaultyProxy(1, identity) as proxy, pytest.raises((HTTPException, OSError)):
        ask(connect(proxy), b"first")
    assert proxy.exchanges[0].status == 0


def test_a_slow_link_takes_at_least_its_time(server: Server, identity: Identity | None) -> None:
    with FaultyProxy(server.port, identity, rate=50_000, delay=0.01) as proxy:
        began = time.monotonic()
        ask(connect(proxy), BODY * 5)
        assert time.monotonic() - began >= 2 * (0.01 + 5000 / 50_000)  # never less; more is the machine's affair


def test_an_unknown_fault_is_told() -> None:
    with pytest.raises(ValueError, match="what must be one of lost, cut, twice, replayed, overtaken, held, got 'gone'"):
        Fault("gone", "push", (1,))
