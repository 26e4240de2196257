"""A way to PostgreSQL that breaks at the worst moment: between a COMMIT and its answer."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

from sqlalchemy import make_url


class Cutter:
    """Listens on `url` and passes everything on to `target`, until there is a COMMIT.

    Then, with a probability of `share`, it hangs up: before the server got it, or after the server
    answered; whoever asked is not told which. cuts: how often that happened.
    """

    def __init__(self, target: str, seed: int, share: float) -> None:
        self.cuts = 0
        self.share = share
        self._lot = random.Random(seed)
        parsed = make_url(target)
        self._target = (parsed.host or "127.0.0.1", parsed.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port: int = self._listener.getsockname()[1]
        self.url = parsed.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Cutter:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A thread that waits in accept() or recv() is woken up by this, not by a close.
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            mutes = threading.Event()
            self._open |= {client, server}
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pass_back, args=(server, client, mutes))
            back.start()
            with suppress(OSError):
                self._pass_on(client, server, mutes)
            for sock in (client, server):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            back.join()
            self._open -= {client, server}

    def _pass_on(
        self, client: socket.socket, server: socket.socket, mutes: threading.Event
    ) -> None:
        while data := client.recv(1 << 16):
            if b"COMMIT" in data and self._lot.random() < self.share:
                self.cuts += 1
                if self._lot.random() < 0.5:
                    return
                mutes.set()
                server.sendall(data)
                time.sleep(0.02)  # the server is done by then
                return
            server.sendall(data)

    def _pass_back(
        self, server: socket.socket, client: socket.socket, mutes: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if not mutes.is_set():
                    client.sendall(data)
