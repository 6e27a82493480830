"""A TCP proxy in front of an HTTP/1.1 server that counts the bytes of every exchange, headers included."""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Exchange:
    """A request and its response: the path asked for, and all bytes that went up and came down for it."""

    path: str
    up: int
    down: int = 0


@dataclass
class CountingProxy:
    """Passes connections on to `port` on this machine; `exchanges` are in the order in which they were asked.

    Attributes:
      total_up, total_down: what the sockets passed on, whatever it was.
    """

    port: int
    exchanges: list[Exchange] = field(default_factory=list)
    total_up: int = 0
    total_down: int = 0

    def __enter__(self) -> CountingProxy:
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                below, _ = self._listening.accept()
                above, asked = socket.create_connection(("127.0.0.1", self.port)), deque[Exchange]()
                for source, to, message in ((below, above, self._request), (above, below, self._response)):
                    threading.Thread(target=_pump, args=(source, to, asked, message), daemon=True).start()

    def _request(self, head: bytes, size: int, asked: deque[Exchange]) -> None:
        exchange = Exchange(head.split(b" ", 2)[1].decode(), size)
        asked.append(exchange)
        with self._lock:
            self.exchanges.append(exchange)
            self.total_up += size

    def _response(self, head: bytes, size: int, asked: deque[Exchange]) -> None:
        asked.popleft().down = size
        with self._lock:
            self.total_down += size


def _pump(
    source: socket.socket, to: socket.socket, asked: deque[Exchange],
    message: Callable[[bytes, int, deque[Exchange]], None],
) -> None:  # fmt: skip
    """Passes messages on; each is counted before its last byte leaves, so that a request is known before its answer."""
    waiting = b""
    with suppress(OSError):
        while got := source.recv(1 << 16):
            waiting += got
            while (size := _size(waiting)) is not None and len(waiting) >= size:
                message(waiting[:size], size, asked)
                waiting = waiting[size:]
            to.sendall(got)
    for end in (source, to):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    assert not waiting, f"bytes that are no whole message: {waiting[:80]!r}"


def _size(data: bytes) -> int | None:
    """Bytes of the first HTTP message in `data`, None while its head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(data, 0, end)
    return end + 4 + (int(length[1]) if length else 0)
