"""Whether something is behind an address: asked of real servers on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from newsletter.fetch import Reach, Seen, look_at

REACH = Reach(allow_private=True, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        with self.server.lock:
            self.server.asked.append(f"{method} {self.path}")
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        with self.server.lock:
            self.server.now -= 1
        status = {"/gone": 404, "/moved": 301, "/post": 405}.get(self.path, 200)
        status = 200 if (method, self.path) == ("GET", "/post") else status
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/here")
        self.send_header("Content-Length", "1000000000")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.now = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def site() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_head_and_where_that_fails_get(site: _Server) -> None:
    """A page that is there is asked once, and no body is waited for; redirects are followed."""
    paths = ("/here", "/moved", "/gone", "/post")
    found = look_at([site.url + path for path in (*paths, "/here")], reach=REACH)
    assert [found[site.url + path] for path in paths] == [
        *(Seen(200), Seen(200), Seen(404), Seen(200))
    ]
    assert sorted(site.asked) == [
        *("GET /gone", "GET /post", "HEAD /gone", "HEAD /here", "HEAD /here", "HEAD /moved"),
        "HEAD /post",
    ]


def test_side_by_side_but_not_all(site: _Server) -> None:
    """Some at a time: not one after the other, and no flood."""
    found = look_at([f"{site.url}/slow/{n}" for n in range(8)], reach=REACH, at_once=4)
    assert {each.status for each in found.values()} == {200}
    assert 1 < site.most <= 4


def test_the_time_is_limited(site: _Server) -> None:
    """What is not asked when the time is over is said to be so; nobody waits longer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [f"http://127.0.0.1:{silent.getsockname()[1]}/{n}" for n in range(3)]
        begin = time.monotonic()
        found = look_at(addresses, reach=REACH, at_once=1, seconds=1)
        assert time.monotonic() - begin < 4
    assert [each.status for each in found.values()] == [None] * 3
    assert "did not answer" in found[addresses[0]].problem
    assert "was not asked" in found[addresses[2]].problem


def test_no_such_host(site: _Server) -> None:
    """Gone is a host that nobody knows while others are known; else it is this machine's fault."""

    def resolver(host: str, port: int) -> list[str]:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [host]

    reach = Reach(allow_private=True, resolver=resolver)
    missing = "http://missing.example/"
    assert look_at([missing, f"{site.url}/here"], reach=reach)[missing].is_gone
    assert not look_at([missing], reach=reach)[missing].is_gone


def test_what_is_not_public_is_not_asked(site: _Server) -> None:
    """An article's link makes nobody knock at one's own doors."""
    (found,) = look_at([f"{site.url}/here"], reach=Reach()).values()
    assert found.status is None
    assert "not on the public internet" in found.problem
    assert site.asked == []


def test_what_is_no_address(site: _Server) -> None:
    """It is said, and the others are asked all the same."""
    found = look_at(["http://[::1", "ftp://x/", f"{site.url}/here"], reach=REACH)
    assert [each.status for each in found.values()] == [None, None, 200]
