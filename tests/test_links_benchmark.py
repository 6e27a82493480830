"""The links of benchmarks/links.py are as slow as they say: times are bounded from below alone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.throttle import Throttle


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    end, _ = listening.accept()
                    threading.Thread(target=_echo, args=(end,), daemon=True).start()
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def _echo(end: socket.socket) -> None:
    with end:
        while got := end.recv(1 << 16):
            end.sendall(got)


def round_trip(address: str, data: bytes) -> tuple[bytes, float]:
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as end:
        began, back = time.monotonic(), b""
        threading.Thread(target=end.sendall, args=(data,), daemon=True).start()
        while len(back) < len(data):
            back += end.recv(1 << 16)
        return back, time.monotonic() - began


def test_bytes_pass_as_they_are_and_take_at_least_what_the_link_says(echo: int) -> None:
    data = bytes(range(256)) * 80
    with Throttle(echo, up=200_000, down=1_000_000, latency=0.05) as link:
        back, seconds = round_trip(link.address, data)
    assert back == data and seconds >= 0.05 + len(data) / 200_000


def test_connections_share_the_link(echo: int) -> None:
    data, ends = bytes(10_000), []
    with Throttle(echo, up=100_000, down=1_000_000, latency=0.0) as link:
        began = time.monotonic()
        both = [threading.Thread(target=lambda: ends.append(round_trip(link.address, data))) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert time.monotonic() - began >= 2 * len(data) / 100_000
    assert [len(back) for back, _ in ends] == [10_000, 10_000]


def test_an_end_of_either_side_reaches_the_other(echo: int) -> None:
    with Throttle(echo, up=1e6, down=1e6, latency=0.01) as link:
        host, port = link.address.split(":")
        with socket.create_connection((host, int(port))) as end:
            end.sendall(b"last words")
            end.shutdown(socket.SHUT_WR)
            said = b""
            while got := end.recv(100):
                said += got
    assert said == b"last words"
