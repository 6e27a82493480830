"""An HTTP/1.1 proxy that ends TLS, counts the bytes of every exchange, and does to messages what networks do.

lost       the request never arrives; the connection ends
cut        the server has done what was asked, its answer never arrives; the connection ends
twice      the request arrives twice, one answer is passed on
replayed   a copy of the request arrives once more, after the next request to that path
overtaken  the request waits until the next one to that path was answered
held       the request waits until somebody says what becomes of it
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = ("lost", "cut", "twice", "replayed", "overtaken", "held")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What becomes of some requests.

    Attributes:
      what: one of FAULTS.
      path: how theirs ends, such as "push-messages".
      at: which of the requests to that path, counted from 1.
    """

    what: str
    path: str
    at: Collection[int]

    def __post_init__(self) -> None:
        if self.what not in FAULTS:
            raise ValueError(f"what must be one of {', '.join(FAULTS)}, got {self.what!r}")


@dataclass(eq=False)
class Exchange:
    """A request and its answer: bytes with heads, before encryption, of all that was passed on.

    Attributes:
      number: of the request among those to its path, from 1; 0 for copies.
      status: of the server's answer, 0 where there was none.
      fault: what was done to it, "" if nothing.
    """

    path: str
    up: int
    number: int
    fault: str = ""
    status: int = 0
    down: int = 0


@dataclass(frozen=True)
class Identity:
    """For TLS on both sides. Attributes: certificate and key, shown to clients; ca, what the server is checked by."""

    certificate: Path
    key: Path
    ca: Path


@dataclass
class FaultyProxy:
    """Passes requests on to `port` of this machine, a new connection each; `exchanges` are in the order of asking.

    Attributes:
      tls: None for plain HTTP.
      rate: bytes per second of the link, each way, None without limit.
      delay: seconds until the first byte of a request, and of an answer, arrives.
      patience: seconds that an overtaken or held request waits at the most.
    """

    port: int
    tls: Identity | None = None
    faults: Sequence[Fault] = ()
    rate: float | None = None
    delay: float = 0.0
    patience: float = 120.0
    host: str = "127.0.0.1"
    exchanges: list[Exchange] = field(default_factory=list)

    def __enter__(self) -> FaultyProxy:
        self._inbound = self._outbound = None
        if self.tls is not None:
            self._inbound = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._inbound.load_cert_chain(self.tls.certificate, self.tls.key)
            self._outbound = ssl.create_default_context(cafile=str(self.tls.ca))
        self._counted = threading.Condition()
        self.begin(self.faults)
        self._way = {"up": threading.Lock(), "down": threading.Lock()}
        self._listening = socket.create_server((self.host, 0))
        self.address = f"{self.host}:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def begin(self, faults: Sequence[Fault] = ()) -> None:
        """Count from the beginning, and do these faults."""
        with self._counted:
            self.faults, self.exchanges = faults, []
            self._asked: dict[str, int] = {}
            self._answered: dict[str, int] = {}
            self._copies: dict[str, list[bytes]] = {}
            self._verdicts: list[bool] = []

    def release(self, arrives: bool) -> None:
        """The first request that is held and was not released yet arrives, or never does."""
        with self._counted:
            self._verdicts.append(arrives)
            self._counted.notify_all()

    def done(self, what: str) -> int:
        """How often this fault was done."""
        return sum(one.fault == what for one in self.exchanges)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                below, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(below,), daemon=True).start()

    def _serve(self, below: socket.socket) -> None:
        """One connection, until either side ends it: without TLS's goodbye, as where a cable is pulled."""
        with below, suppress(OSError):
            client = below if self._inbound is None else self._inbound.wrap_socket(below, server_side=True)
            while request := read(client):
                answer = self._exchange(request)
                if answer is None:
                    break
                self._carry("down", len(answer))
                client.sendall(answer)

    def _exchange(self, request: bytes) -> bytes | None:
        """The answer to pass on, None where the connection shall end."""
        exchange, copies = self._count(request)
        self._carry("up", len(request))
        if exchange.fault == "lost" or (exchange.fault == "held" and not self._hold(exchange)):
            return None
        if exchange.fault == "overtaken":
            self._wait_for(exchange)
        answer = self._ask(request, exchange)
        for copy in [request] * (exchange.fault == "twice") + copies:
            self._ask(copy, self._note(Exchange(exchange.path, len(copy), 0, "copy")))
        self._count_answer(exchange)
        return None if exchange.fault == "cut" else answer

    def _count(self, request: bytes) -> tuple[Exchange, list[bytes]]:
        """Its exchange, and older requests that shall be sent again after it."""
        path = request.split(b" ", 2)[1].decode()
        last = path.rsplit("/", 1)[1]
        with self._counted:
            number = self._asked[last] = self._asked.get(last, 0) + 1
            what = next((one.what for one in self.faults if one.path == last and number in one.at), "")
            copies = self._copies.pop(last, [])
            if what == "replayed":
                self._copies[last] = [request]
        return self._note(Exchange(path, len(request), number, what)), copies

    def _note(self, exchange: Exchange) -> Exchange:
        with self._counted:
            self.exchanges.append(exchange)
        return exchange

    def _hold(self, exchange: Exchange) -> bool:
        """Whether it arrives."""
        with self._counted:
            before = [one for one in self.exchanges if one.fault == "held"].index(exchange)
            self._counted.wait_for(lambda: len(self._verdicts) > before, self.patience)
            return self._verdicts[before] if len(self._verdicts) > before else True

    def _wait_for(self, exchange: Exchange) -> None:
        last = exchange.path.rsplit("/", 1)[1]
        with self._counted:
            self._counted.wait_for(lambda: self._answered.get(last, 0) > exchange.number, self.patience)

    def _count_answer(self, exchange: Exchange) -> None:
        last = exchange.path.rsplit("/", 1)[1]
        with self._counted:
            self._answered[last] = max(self._answered.get(last, 0), exchange.number)
            self._counted.notify_all()

    def _ask(self, request: bytes, exchange: Exchange) -> bytes | None:
        """The server's answer; None where it cannot be reached or ends the connection."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 60) as raw:
                server = raw
                if self._outbound is not None:
                    server = self._outbound.wrap_socket(raw, server_hostname="127.0.0.1")
                server.sendall(request)
                answer = read(server)
        except OSError:
            return None
        if answer:
            exchange.status, exchange.down = int(answer.split(b" ", 2)[1]), len(answer)
        return answer or None

    def _carry(self, way: str, size: int) -> None:
        """Takes the time that so many bytes take; a link carries one message after the other."""
        time.sleep(self.delay)
        if self.rate is not None:
            with self._way[way]:
                time.sleep(size / self.rate)


def read(source: socket.socket) -> bytes:
    """One HTTP message with its head, b"" where the connection has ended. Raises: OSError where it ends within one."""
    got = b""
    while (size := _size(got)) is None or len(got) < size:
        more = source.recv(1 << 16)
        if not more:
            if got:
                raise ConnectionError(f"ended within a message of {size or 'unknown'} bytes after {len(got)}")
            return b""
        got += more
    if len(got) > size:
        raise ConnectionError("two messages at once: pipelining is not expected of Flower")
    return got


def _size(data: bytes) -> int | None:
    """Bytes of the HTTP message in `data`, None while its head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    if _CHUNKED.search(data, 0, end):
        raise ConnectionError("a message of unknown length")
    length = _LENGTH.search(data, 0, end)
    return end + 4 + (int(length[1]) if length else 0)
