"""A way of some length between a client and a server: what goes in comes out so much later.

    python benchmarks/far.py PORT SECONDS

Prints the port that it listens on (127.0.0.1) and passes everything on to PORT, either way
SECONDS later, as a line with room for everything would do: nothing is lost, nothing is slowed
down. SIGTERM ends it.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass

_CHUNK = 1 << 18


@dataclass
class _Direction:
    """One direction of a connection. `back` is the other one."""

    source: socket.socket
    goal: socket.socket
    back: _Direction | None = None
    ended: bool = False


class Proxy:
    """Passes bytes on between clients and the server at `port`, `delay` seconds later."""

    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        # When it comes out, where, and what; nothing for the end. All are delayed alike, so that
        # the first in is the first out. The relay's answers hold the senders back, nothing else
        # does: with one mail under way on each connection, that is little.
        self._under_way: deque[tuple[float, _Direction, bytes]] = deque()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Pass on, until the process is ended."""
        while True:
            first = self._under_way[0][0] if self._under_way else None
            wait = None if first is None else max(0.0, first - time.monotonic())
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    self._open()
                else:
                    self._read(key.data)
            now = time.monotonic()
            while self._under_way and self._under_way[0][0] <= now:
                _, direction, data = self._under_way.popleft()
                self._write(direction, data)

    def _open(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there = _Direction(client, server)
        there.back = _Direction(server, client, there)
        for direction in (there, there.back):
            self._selector.register(direction.source, selectors.EVENT_READ, direction)

    def _read(self, direction: _Direction) -> None:
        try:
            got = direction.source.recv(_CHUNK)
        except OSError:
            got = b""
        if not got:
            self._selector.unregister(direction.source)
        self._under_way.append((time.monotonic() + self._delay, direction, got))

    def _write(self, direction: _Direction, data: bytes) -> None:
        try:
            # The sockets block. The receivers that are measured do read.
            if data:
                direction.goal.sendall(data)
            else:
                direction.goal.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side has gone, and its own end says so
        direction.ended = direction.ended or not data
        if direction.ended and direction.back and direction.back.ended:
            direction.source.close()
            direction.goal.close()


def main() -> None:
    """Listen, say where, and pass on."""
    proxy = Proxy(int(sys.argv[1]), float(sys.argv[2]))
    print(proxy.port, flush=True)
    proxy.run()


if __name__ == "__main__":
    main()
