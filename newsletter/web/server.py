"""The web server for production: waitress, stopped cleanly.

`make_server` gives a server that one thread runs and any other can stop; `serve` runs one until
SIGTERM or Ctrl-C. Stopping lets the requests that are being answered finish.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from newsletter.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# The app refuses at half of it, with a page; what is longer, waitress does not even store.
_MAX_BODY = 128 * 1024
_FINISH_SECONDS = 10.0
_WAKE_SECONDS = 1.0


class Server:
    """A server that listens from the moment it is made. `port` is the one that it got."""

    def __init__(self, app: WSGIApplication, host: str, port: int, *, threads: int) -> None:
        self._sockets: dict[int, Any] = {}
        try:
            self._server: Any = create_server(
                app,
                map=self._sockets,
                host=host,
                port=port,
                threads=threads,
                max_request_body_size=_MAX_BODY,
                # Whom to believe, the app knows from its settings (newsletter.web.client).
                clear_untrusted_proxy_headers=False,
                ident=None,
            )
        except OSError:
            # waitress starts its threads first, and leaves them when the port is taken.
            for listener in self._listening():
                listener.task_dispatcher.shutdown()
            wasyncore.close_all(self._sockets, ignore_all=True)
            raise
        self._listeners = self._listening()
        self.host = host
        self.port = int(self._listeners[0].effective_port)
        self._is_stopping = False  # no event: its lock would make `close` wait for itself
        self._ended = threading.Event()
        self._runner: int | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self) -> None:
        """Answer requests until `close` is called, then finish those that are being answered."""
        self._runner = threading.get_ident()
        try:
            while not self._is_stopping:
                wasyncore.loop(timeout=_WAKE_SECONDS, map=self._sockets, count=1)
            for listener in self._listeners:
                listener.del_channel()
                listener.socket.close()
            until = time.monotonic() + _FINISH_SECONDS
            while self._is_answering() and time.monotonic() < until:
                wasyncore.loop(timeout=0.05, map=self._sockets, count=1)
        finally:
            self._end()

    def close(self) -> None:
        """Stop. Safe from any thread, from a signal's function, and more than once.

        Returns when all is finished, unless the running thread itself calls it.
        """
        self._is_stopping = True
        if self._runner is None:
            self._end()
        if self._ended.is_set():
            return
        for listener in self._listeners:
            # The runner may have woken up by itself, and closed it, at this very moment.
            with suppress(OSError):
                listener.pull_trigger()
        if self._runner != threading.get_ident():
            self._ended.wait(2 * _FINISH_SECONDS)

    def _listening(self) -> list[Any]:
        return [each for each in self._sockets.values() if isinstance(each, BaseWSGIServer)]

    def _is_answering(self) -> bool:
        channels = [each for each in self._sockets.values() if hasattr(each, "requests")]
        return any(each.requests or each.total_outbufs_len for each in channels)

    def _end(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        self._server.task_dispatcher.shutdown(timeout=_FINISH_SECONDS)
        for listener in self._listeners:
            listener.close()
        wasyncore.close_all(self._sockets, ignore_all=True)


def make_server(app: WSGIApplication, host: str, port: int, *, threads: int = 8) -> Server:
    """Listen on `host` (an address or a name) and `port` (0: any free one).

    threads: requests answered at once.

    Raises OSError when the port is taken.
    """
    return Server(app, host, port, threads=threads)


def serve(settings: Settings, *, host: str, port: int, app: WSGIApplication) -> None:
    """Serve `app` until SIGTERM or SIGINT; to be called by the main thread."""
    run_until_stopped(make_server(app, host, port, threads=settings.threads))


def run_until_stopped(server: Server) -> None:
    """Let `server` answer until SIGTERM or SIGINT; to be called by the main thread."""

    closing = iter((server.close,))

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Once: a second signal may come in the middle of it.
        if (close := next(closing, None)) is not None:
            close()

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run()
    finally:
        for each, action in before.items():
            signal.signal(each, action)
