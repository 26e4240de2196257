"""Bytes from the web, guarded: a stranger's address must not reach what only we can reach.

A host is resolved once, every address that it has is checked, and the connection goes to the very
address that was checked, so that a name server which answers differently the second time gains
nothing. What comes is limited in size (counted after decompression) and in time (all in all, not
for each byte). Proxies and passwords of the environment are not used.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from newsletter import __version__
from newsletter.errors import NewsletterError

MAX_REDIRECTS = 3
NOT_FOUND = 404
_AGENT = f"newsletter/{__version__}"
# A gzip stream of this many bytes can become a thousand times as many before they are counted.
_READ_BYTES = 16 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052 §2.1

# Host and port to the addresses as text.
Resolver = Callable[[str, int], Iterable[str]]


class FetchError(NewsletterError):
    """A web address cannot be read; says which and why.

    `status` is what the server answered; None when there was no answer to read.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class _Forbidden(Exception):
    pass


@dataclass(frozen=True)
class Fetched:
    """An answer. url: where it came from in the end. content_type: as the server said, or ""."""

    url: str
    status: int
    content_type: str
    body: bytes


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system resolves it; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also by what is embedded in it.

    Loopback, private, link-local, shared, reserved and multicast ones do not (RFC 6890).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def get(
    url: str,
    *,
    limit: int = 5_000_000,
    timeout: float = 20,
    allow_private: bool = False,
    resolver: Resolver = addresses_of,
) -> Fetched:
    """What `url` (http or https) gives; up to three redirects are followed, each checked anew.

    limit: bytes of the decompressed body. timeout: seconds for everything together; only the
        system's name resolution keeps its own time. allow_private: also loopback and private
        addresses. resolver: how names become addresses.

    Raises FetchError, also for an answer that is not a success.
    """
    guard = _Guard(timeout, resolver, allow_private=allow_private)
    fetched = _ask(httpx.Request("GET", _checked(url), headers=_headers()), guard, limit)
    if not httpx.codes.is_success(fetched.status):
        raise FetchError(
            f"{url} cannot be read: the server answered {fetched.status}.", status=fetched.status
        )
    return fetched


def post_form(
    url: str,
    fields: Mapping[str, str],
    *,
    limit: int = 5_000_000,
    timeout: float = 20,
    allow_private: bool = False,
    resolver: Resolver = addresses_of,
) -> Fetched:
    """Send a form as a browser does (urlencoded), without cookies; no redirect is followed.

    Arguments as for `get`. An answer of any status is returned. Raises FetchError without one.
    """
    guard = _Guard(timeout, resolver, allow_private=allow_private)
    request = httpx.Request("POST", _checked(url), headers=_headers(), data=dict(fields))
    return _ask(request, guard, limit, redirects=0)


def _headers() -> dict[str, str]:
    return {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "gzip"}


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchError(f"{url[:200]} is not a web address: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise FetchError(f"{url[:200]} is not a web address: it must begin with https://.")
    if parsed.userinfo:
        raise FetchError("A web address with a user and password in it is not read.")
    return parsed


def _ask(
    request: httpx.Request, guard: _Guard, limit: int, *, redirects: int = MAX_REDIRECTS
) -> Fetched:
    shown = f"{request.url.scheme}://{request.url.host}{request.url.path}"
    try:
        with httpx.Client(
            transport=_Transport(guard),
            trust_env=False,
            timeout=guard.timeout,
            follow_redirects=redirects > 0,
            max_redirects=redirects,
        ) as client:
            response = client.send(request, stream=True)
            try:
                body = _body(response, limit)
            finally:
                response.close()
            return Fetched(
                url=str(response.url),
                status=response.status_code,
                content_type=response.headers.get("Content-Type", ""),
                body=body,
            )
    except _Forbidden as error:
        raise FetchError(f"{shown} is not read: {error}.") from error
    except (httpx.TimeoutException, httpcore.TimeoutException) as error:
        raise FetchError(f"{shown} did not answer within {guard.timeout:g} seconds.") from error
    except httpx.TooManyRedirects as error:
        raise FetchError(f"{shown} redirects more than {redirects} times.") from error
    except (
        *(httpx.HTTPError, httpx.InvalidURL, httpcore.NetworkError, httpcore.ProtocolError),
        # ValueError: a name that the resolver cannot even encode.
        *(httpcore.UnsupportedProtocol, OSError, ValueError),
    ) as error:
        raise FetchError(f"{shown} cannot be read: {error or type(error).__name__}.") from error


def _body(response: httpx.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > limit:
            raise _Forbidden(f"it is larger than {limit:,} bytes")
        parts.append(part)
    return b"".join(parts)


class _Guard(httpcore.NetworkBackend):
    """Opens connections to checked addresses, until the time is over."""

    def __init__(self, timeout: float, resolver: Resolver, *, allow_private: bool) -> None:
        self.timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._resolver = resolver
        self._allow_private = allow_private
        self._network = httpcore.SyncBackend()

    def left(self) -> float:
        """Seconds until the deadline; raises httpcore.ReadTimeout when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is over")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = list(dict.fromkeys(self._resolver(host, port)))
        # One bad address among good ones is no accident either.
        if not self._allow_private and not all(map(is_public, addresses)):
            raise _Forbidden(f"{host} is not on the public internet")
        problem: Exception = OSError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._network.connect_tcp(
                    address, port, self.left(), local_address, socket_options
                )
            except httpcore.ConnectError as error:
                problem = error
            else:
                return _Stream(stream, self)
        raise problem

    def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - refused whatever it is
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        raise _Forbidden("it is not on the public internet")


class _Stream(httpcore.NetworkStream):
    """A connection on which every step has only the time that is left of the whole."""

    def __init__(self, stream: httpcore.NetworkStream, guard: _Guard) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(min(max_bytes, _READ_BYTES), self._guard.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._guard.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        # The certificate is checked for the name, though the connection went to an address.
        tls = self._stream.start_tls(ssl_context, server_hostname, self._guard.left())
        return _Stream(tls, self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx.BaseTransport):
    """httpx over a connection pool whose connections the guard opens."""

    def __init__(self, guard: _Guard) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False), network_backend=guard
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
