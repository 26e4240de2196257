"""The guarded HTTP client against real servers on loopback."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import fetch
from newsletter.fetch import FetchError


class _Handler(BaseHTTPRequestHandler):
    """What a stranger's server may do."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        routes: dict[str, Callable[[], None]] = {
            "/text": lambda: self.reply(200, b"# Hello", {"Content-Type": "text/markdown"}),
            "/missing": lambda: self.reply(404, b"no"),
            "/once": lambda: self.redirect("/text"),
            "/inside": lambda: self.redirect(
                f"http://inside.example:{self.server.server_port}/text"
            ),
            "/file": lambda: self.redirect("file:///etc/passwd"),
            "/loop": lambda: self.redirect("/loop"),
            "/cookie": lambda: self.reply(200, b"", {"Set-Cookie": "a=b"}),
            "/bomb": lambda: self.reply(
                200, gzip.compress(b"\0" * 5_000_000), {"Content-Encoding": "gzip"}
            ),
            "/gzip": lambda: self.reply(200, gzip.compress(b"text"), {"Content-Encoding": "gzip"}),
            "/notgzip": lambda: self.reply(200, b"text", {"Content-Encoding": "gzip"}),
            "/drip": self.drip,
            "/cut": lambda: self.reply(200, b"short", {"Content-Length": "100"}),
        }
        routes[self.path]()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, parse_qs(body.decode()), self.headers.get("Cookie")))
        if self.path == "/redirect":
            self.redirect("/text")
        else:
            self.reply(422, b"again", {"Set-Cookie": "a=b"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, target: str) -> None:
        self.reply(302, b"", {"Location": target})

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    seen: list[object]
    daemon_threads = True


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as running:
        running.seen = []
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def url(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_bytes_and_where_they_came_from(url: str) -> None:
    """A redirect is followed, and the answer says where it ended."""
    found = fetch.get(f"{url}/once", allow_private=True)
    assert found == fetch.Fetched(f"{url}/text", 200, "text/markdown", b"# Hello")
    assert fetch.get(f"{url}/gzip", allow_private=True).body == b"text"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing", "answered 404"),
        ("/file", "cannot be read"),
        ("/loop", "more than 3 times"),
        ("/bomb", "larger than 1,000,000 bytes"),
        ("/notgzip", "cannot be read"),
        ("/cut", "cannot be read"),
    ],
)
def test_bad_answers_are_our_errors(url: str, path: str, said: str) -> None:
    """Whatever the server does, what comes out is a FetchError with words."""
    with pytest.raises(FetchError, match=said):
        fetch.get(f"{url}{path}", limit=1_000_000, allow_private=True)


def test_the_time_is_counted_over_everything(url: str) -> None:
    """A server that gives one byte at a time does not hold us for ever."""
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"within 0\.5 seconds"):
        fetch.get(f"{url}/drip", timeout=0.5, allow_private=True)
    assert time.monotonic() - began < 3


def test_nobody_there_is_our_error() -> None:
    """A closed port is a FetchError, not a traceback."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(FetchError, match="cannot be read"):
            fetch.get(f"http://127.0.0.1:{port}/", allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/a",
        "file:///etc/passwd",
        "example.org/a",
        "https://",
        "https://user:password@example.org/",
        "http://[::1",
        "http://exa mple.org/",
        "",
    ],
)
def test_only_web_addresses(address: str) -> None:
    """http and https with a host, and nothing else, not even tried."""
    with pytest.raises(FetchError):
        fetch.get(address, allow_private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "0.0.0.0",
     "[::ffff:127.0.0.1]", "[::]", "169.254.169.254", "10.0.0.1"],
)  # fmt: skip
def test_private_hosts_are_not_asked(server: _Server, host: str) -> None:
    """However an inner address is spelt, no connection is made to it."""
    with pytest.raises(FetchError):
        fetch.get(f"http://{host}:{server.server_port}/text", timeout=5)
    assert server.seen == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
     "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    """Every special range, and IPv4 addresses inside IPv6 ones."""
    assert not fetch.is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_is_public(address: str) -> None:
    """Ordinary addresses, also behind a NAT64."""
    assert fetch.is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_no_better(address: object) -> None:
    """An IPv4 address is judged the same when it comes as IPv6."""
    assert fetch.is_public(f"::ffff:{address}") == fetch.is_public(str(address))


def test_one_private_address_among_public_ones_is_enough(server: _Server) -> None:
    """A name that means both outside and inside is refused."""
    with pytest.raises(FetchError, match="not on the public internet"):
        fetch.get(
            f"http://both.example:{server.server_port}/text",
            resolver=lambda _host, _port: ["93.184.215.14", "127.0.0.1"],
        )
    assert server.seen == []


def test_the_name_is_asked_once_for_each_connection(server: _Server) -> None:
    """The connection goes to the address that was checked: a second answer is never asked for."""
    answers = iter([["127.0.0.1"]])
    found = fetch.get(
        f"http://rebinding.example:{server.server_port}/text",
        allow_private=True,
        resolver=lambda _host, _port: next(answers),
    )
    assert found.body == b"# Hello"


def test_a_redirect_to_the_inside_is_refused(server: _Server) -> None:
    """Each redirect's host is checked anew."""
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host == "inside.example":
            raise OSError("checked anew")
        return ["127.0.0.1"]

    with pytest.raises(FetchError, match="checked anew"):
        fetch.get(
            f"http://outside.example:{server.server_port}/inside",
            allow_private=True,
            resolver=resolve,
        )
    assert asked == ["outside.example", "inside.example"]
    assert server.seen == ["/inside"]


def test_proxies_of_the_environment_are_not_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would make the connection for us, and check nothing."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch.get(f"{url}/text", allow_private=True).status == 200


def test_a_form_is_posted_as_a_browser_does(server: _Server, url: str) -> None:
    """Urlencoded; any status is an answer; no redirect is followed and no cookie kept."""
    fields = {"email": "ada@example.org", "name": "Ada & Grace é"}
    answer = fetch.post_form(f"{url}/form", fields, allow_private=True)
    assert (answer.status, answer.body) == (422, b"again")
    moved = fetch.post_form(f"{url}/redirect", {"a": "b"}, allow_private=True)
    assert moved.status == 302
    assert server.seen == [
        ("/form", {name: [value] for name, value in fields.items()}, None),
        ("/redirect", {"a": ["b"]}, None),
    ]
