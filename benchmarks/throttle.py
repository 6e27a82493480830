"""A link of so many bytes per second and so much delay, in user space: a TCP proxy with a token bucket each way.

All connections through it share both directions, as those of one device share its link. Bytes are passed on as they
are, TLS included.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

PIECE = 0.01  # seconds that a piece may take, so that connections share the link finely
_SIZES = (256, 1 << 16)


@dataclass
class Bucket:
    """One direction. `rate`: bytes per second, `delay`: seconds."""

    rate: float
    delay: float
    _free: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def piece(self) -> int:
        """Bytes that are passed on together."""
        return int(min(max(PIECE * self.rate, _SIZES[0]), _SIZES[1]))

    def through(self, size: int) -> float:
        """Waits until so many bytes have left; when they arrive."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / self.rate
            left = self._free
        time.sleep(max(0.0, left - time.monotonic()))
        return left + self.delay


class Throttle:
    """Passes connections on to `port` of this machine, up and down at these bytes per second.

    Attributes:
      address: to connect to instead.
      latency: seconds that a request and its answer are delayed.
    """

    def __init__(self, port: int, up: float, down: float, latency: float) -> None:
        self._port, self.latency = port, latency
        self._up, self._down = Bucket(up, latency / 2), Bucket(down, latency / 2)

    def __enter__(self) -> Throttle:
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
                try:
                    above = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    below.close()
                    continue
                for end in (below, above):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _start(below, above, self._up)
                _start(above, below, self._down)


def _start(source: socket.socket, to: socket.socket, bucket: Bucket) -> None:
    arriving: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_leave, args=(source, bucket, arriving), daemon=True).start()
    threading.Thread(target=_arrive, args=(to, arriving), daemon=True).start()


def _leave(source: socket.socket, bucket: Bucket, arriving: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError):
        while got := source.recv(bucket.piece):
            arriving.put((bucket.through(len(got)), got))
    arriving.put((time.monotonic() + bucket.delay, b""))


def _arrive(to: socket.socket, arriving: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    """An empty piece is the end of the connection."""
    with suppress(OSError):
        while True:
            at, piece = arriving.get()
            time.sleep(max(0.0, at - time.monotonic()))
            if not piece:
                break
            to.sendall(piece)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)
