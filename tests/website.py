"""A website on loopback: what stands at each path, and what was asked of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """An answer. A page with an ETag answers 304 to whoever has that one already.

    seconds: how long it takes.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0


@dataclass
class Website:
    """pages: what stands at each path. asked: each request's path and headers."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, body: str | bytes, kind: str = "text/xml", **headers: str) -> str:
        """Put this at `path`; its address. Headers are named like ETag and Last_Modified."""
        raw = body if isinstance(body, bytes) else body.encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Page(raw, headers={"Content-Type": kind, **named})
        return self.url + path

    def fail(self, path: str, status: int, **headers: str) -> str:
        """Answer with this status at `path`; its address."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Page(status=status, headers=named)
        return self.url + path


class _Server(ThreadingHTTPServer):
    website: Website
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        site = self.server.website
        site.asked.append((self.path, dict(self.headers)))
        page = site.pages.get(self.path, Page(status=404))
        time.sleep(page.seconds)
        etag = page.headers.get("ETag")
        if etag and self.headers.get("If-None-Match") == etag:
            page = Page(status=304, headers=page.headers)
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.status != 304:
            self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        with suppress(OSError):  # who asked may have had enough
            self.wfile.write(page.body)

    def log_message(self, *args: object) -> None:
        """Silent."""


@contextmanager
def website() -> Iterator[Website]:
    """A running website without any page."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.website = Website(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.website
        finally:
            server.shutdown()
            thread.join()
