"""The guarded HTTP client against real servers on loopback."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import fetch
from newsletter.fetch import FetchError
from newsletter.fetch.client import status_of


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
            "/moved": lambda: self.reply(301, b"", {"Location": "/text"}),
            "/moved/twice": lambda: self.reply(308, b"", {"Location": "/once"}),
            "/inside/other": lambda: self.redirect(
                f"http://other.example:{self.server.server_port}/text"
            ),
            "/heavy": lambda: self.reply(302, b"x" * 3_000_000, {"Location": "/text"}),
            "/user": lambda: self.redirect("http://user:password@outside.example/"),
            "/dated": lambda: self.dated(),
            "/busy": lambda: self.reply(429, b"", {"Retry-After": "120"}),
            "/busy/until": lambda: self.reply(
                503, b"", {"Retry-After": formatdate(time.time() + 500, usegmt=True)}
            ),
            "/busy/nonsense": lambda: self.reply(503, b"", {"Retry-After": "soon"}),
            "/gzip/twice": lambda: self.reply(
                200,
                gzip.compress(gzip.compress(b"\0" * 5_000_000)),
                {"Content-Encoding": "gzip, gzip"},
            ),
            "/brotli": lambda: self.reply(200, b"x", {"Content-Encoding": "br"}),
            "/deflate": lambda: self.reply(
                200, zlib.compress(b"text"), {"Content-Encoding": "deflate"}
            ),
            "/gzip/cut": lambda: self.reply(
                200, gzip.compress(os.urandom(5000))[:2000], {"Content-Encoding": "gzip"}
            ),
            "/gzip/tail": lambda: self.reply(
                200, gzip.compress(b"text") + b"x" * 2_000_000, {"Content-Encoding": "gzip"}
            ),
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

    def dated(self) -> None:
        headers = {"ETag": '"v1"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
        same = self.headers.get("If-None-Match") == '"v1"'
        since = self.headers.get("If-Modified-Since") == headers["Last-Modified"]
        if same or since:
            self.send_response(304)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
        else:
            self.reply(200, b"new", headers)

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
    for path in ("gzip", "deflate"):
        assert fetch.get(f"{url}/{path}", allow_private=True).body == b"text"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing", "answered 404"),
        ("/file", "not a web address"),
        ("/user", "user and password"),
        ("/gzip/twice", 'coded as "gzip, gzip"'),
        ("/gzip/cut", "ends in the middle"),
        ("/gzip/tail", "larger than 1,000,000 bytes"),
        ("/brotli", 'coded as "br"'),
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


def test_a_redirects_own_body_is_not_read(url: str) -> None:
    """Three megabytes beside a redirect do not count against the limit of what it leads to."""
    assert fetch.get(f"{url}/heavy", limit=1000, allow_private=True).body == b"# Hello"


def test_what_did_not_change_is_not_sent_again(url: str) -> None:
    """The validators of one answer, sent back, get an answer that says so; without them, all."""
    first = fetch.get(f"{url}/dated", allow_private=True)
    assert (first.body, first.etag) == (b"new", '"v1"')
    for validators in (
        {"etag": first.etag},
        {"last_modified": first.last_modified},
        {"etag": first.etag, "last_modified": first.last_modified},
    ):
        again = fetch.get(f"{url}/dated", allow_private=True, **validators)
        assert (again.status, again.body, again.etag) == (fetch.NOT_MODIFIED, b"", '"v1"')
    assert fetch.get(f"{url}/dated", allow_private=True, etag='"v0"').body == b"new"


def test_what_moved_for_good(url: str) -> None:
    """Said only when every redirect on the way was permanent."""
    assert fetch.get(f"{url}/moved", allow_private=True).moved_to == f"{url}/text"
    for path in ("once", "moved/twice", "text"):
        assert fetch.get(f"{url}/{path}", allow_private=True).moved_to == ""


@pytest.mark.parametrize(("path", "low", "high"), [("/busy", 120, 120), ("/busy/until", 450, 500)])
def test_how_long_a_server_wants_to_be_left_alone(
    url: str, path: str, low: float, high: float
) -> None:
    """Seconds or a moment; nonsense is nothing."""
    with pytest.raises(FetchError) as caught:
        fetch.get(f"{url}{path}", allow_private=True)
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high
    with pytest.raises(FetchError) as caught:
        fetch.get(f"{url}/busy/nonsense", allow_private=True)
    assert caught.value.retry_after is None


def test_the_time_is_counted_over_everything(url: str) -> None:
    """A server that gives one byte at a time does not hold us for ever."""
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"within 0\.5 seconds"):
        fetch.get(f"{url}/drip", timeout=0.5, allow_private=True)
    assert time.monotonic() - began < 3


def test_a_slow_name_server_is_counted_too() -> None:
    """The system's name resolution may take minutes: it has no more time than all the rest."""
    answered = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        answered.wait(10)
        return ["127.0.0.1"]

    began = time.monotonic()
    try:
        with pytest.raises(FetchError, match=r"within 0\.3 seconds"):
            fetch.get("http://slow.example/", timeout=0.3, resolver=resolve)
        assert time.monotonic() - began < 3
    finally:
        answered.set()


def test_an_address_that_is_silent_leaves_time_for_the_next(url: str, server: _Server) -> None:
    """Of several addresses, one that does not answer is given its share of the time only."""
    with socket.socket() as full:
        # Nobody accepts, and the queue is full: a connection hangs.
        full.bind(("127.0.0.2", server.server_port))
        full.listen(0)
        with contextlib.ExitStack() as waiting:
            for _ in range(3):
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            found = fetch.get(
                f"http://two.example:{server.server_port}/text",
                timeout=4,
                allow_private=True,
                resolver=lambda _host, _port: ["127.0.0.2", "127.0.0.1"],
            )
    assert found.body == b"# Hello"


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
     "fec0::1", "feff::1", "3fff::1", "3fff:fff::1", "64:ff9b:1::1", "5f00::1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    """Every special range, and IPv4 addresses inside IPv6 ones."""
    assert not fetch.is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::808:808", "3ffe::1"]
)
def test_what_is_public(address: str) -> None:
    """Ordinary addresses, also behind a NAT64."""
    assert fetch.is_public(address)


@pytest.mark.parametrize(
    "url", ["https://xn--/", "https://xn--a.xn--/b", "https://\u2488.example/"]
)
def test_a_name_that_cannot_be_one(url: str) -> None:
    """It is an address that cannot be read, and no fault of ours."""
    for ask in (fetch.get, lambda each: status_of(each, reach=fetch.Reach())):
        with pytest.raises(FetchError, match=r"web address|cannot be read"):
            ask(url)
    assert fetch.look_at([url], reach=fetch.Reach(timeout=1))[url].status is None


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_no_better(address: object) -> None:
    """An IPv4 address is judged the same when it comes as IPv6."""
    assert fetch.is_public(f"::ffff:{address}") == fetch.is_public(str(address))


def test_one_private_address_among_public_ones_is_enough(server: _Server) -> None:
    """A name that means both outside and inside is refused."""
    shown = f"http://both.example:{server.server_port}/text is not read"
    with pytest.raises(FetchError, match=f"{shown}: both.example is not on the public internet"):
        fetch.get(
            f"http://both.example:{server.server_port}/text?key=1",
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


def test_a_network_that_is_allowed(server: _Server, url: str) -> None:
    """What lies in it is read, however it is spelt; what lies beside it is not."""
    near = fetch.Reach(networks=[ip_network("127.0.0.1/32")])
    assert fetch.get(f"{url}/text", reach=near).status == 200
    mapped = fetch.Reach(networks=near.networks, resolver=lambda _host, _port: ["::ffff:127.0.0.1"])
    assert fetch.get(f"http://x.example:{server.server_port}/text", reach=mapped).status == 200
    before = len(server.seen)
    other = fetch.Reach(networks=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    with pytest.raises(FetchError, match="not on the public internet"):
        fetch.get(f"{url}/text", reach=other)
    assert len(server.seen) == before


@pytest.mark.parametrize("second", ["127.0.0.2", "10.0.0.1", "169.254.169.254", "::1"])
def test_a_name_that_means_another_place_on_the_second_look(server: _Server, second: str) -> None:
    """After a redirect the name is asked and checked anew: rebinding it does not help."""
    answers = iter([["127.0.0.1"], [second]])
    reach = fetch.Reach(
        networks=[ip_network("127.0.0.1/32")], resolver=lambda _host, _port: next(answers)
    )
    with pytest.raises(FetchError, match="not on the public internet"):
        fetch.get(f"http://outside.example:{server.server_port}/inside/other", reach=reach)
    assert server.seen == ["/inside/other"]
    assert next(answers, None) is None


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
