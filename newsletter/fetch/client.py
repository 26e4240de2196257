"""One request and its answer, redirects followed by hand so that none is followed unseen."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache

import httpcore
import httpx

from newsletter import __version__
from newsletter.config import Settings
from newsletter.errors import NewsletterError
from newsletter.fetch import body
from newsletter.fetch.guard import Forbidden, Guard, Network, Resolver, addresses_of

MAX_REDIRECTS = 3
NOT_FOUND = 404
NOT_MODIFIED = 304
_AGENT = f"newsletter/{__version__}"
# RFC 9110 §15.4: from now on the other address is the one.
_PERMANENT = (301, 308)
_LONGEST_VALIDATOR = 500
_FIRST_ERROR = 400


class FetchError(NewsletterError):
    """A web address cannot be read; says which and why.

    `status` is what the server answered; None when there was no answer to read. `retry_after` is
    how many seconds it asks to be left alone for, None when it does not.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


@dataclass(frozen=True)
class Fetched:
    """An answer. url: where it came from in the end. content_type: as the server said, or "".

    etag, last_modified: the validators of the answer as they came, "" for none; `get` sends them
    back. moved_to: where it moved for good, when every redirect on the way said so; "" otherwise.
    """

    url: str
    status: int
    content_type: str
    body: bytes
    etag: str = ""
    last_modified: str = ""
    moved_to: str = ""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a request may go.

    limit: bytes of the decompressed body. timeout: seconds for everything together.
    allow_private: also loopback, private and other addresses that are not public. networks: those
    of them that are allowed when they are not all. setting: where an operator says which; "" when
    there is none. resolver: how names become addresses.
    """

    limit: int = 5_000_000
    timeout: float = 20
    allow_private: bool = False
    networks: Sequence[Network] = ()
    setting: str = ""
    resolver: Resolver = addresses_of

    @classmethod
    def of(cls, settings: Settings) -> Reach:
        """How far feeds and pages may be read from, as the settings say."""
        return cls(
            limit=settings.fetch_max_bytes,
            timeout=settings.fetch_timeout,
            networks=settings.fetch_networks,
            setting="fetch_networks",
        )


def get(
    url: str,
    *,
    limit: int = 5_000_000,
    timeout: float = 20,
    allow_private: bool = False,
    resolver: Resolver = addresses_of,
    reach: Reach | None = None,
    accept: str = "*/*",
    etag: str = "",
    last_modified: str = "",
) -> Fetched:
    """What `url` (http or https) gives; up to three redirects are followed, each checked anew.

    limit, timeout, allow_private, resolver: as in `Reach`. reach: all of them at once, in their
        place. accept: the media types that are wished for. etag, last_modified: the validators of
        an earlier answer; when nothing changed since, the answer has status 304 and no body
        (RFC 9110 §13.1).

    Raises FetchError, also for an answer that is not a success.
    """
    reach = reach or Reach(
        limit=limit, timeout=timeout, allow_private=allow_private, resolver=resolver
    )
    headers = {**_headers(), "Accept": accept}
    if etag:
        headers["If-None-Match"] = etag
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    request = httpx.Request("GET", _checked(url), headers=headers)
    return _ask(request, reach, follow=MAX_REDIRECTS, wanted=True)


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
    reach = Reach(limit=limit, timeout=timeout, allow_private=allow_private, resolver=resolver)
    request = httpx.Request("POST", _checked(url), headers=_headers(), data=dict(fields))
    return _ask(request, reach, follow=0, wanted=False)


def status_of(url: str, *, reach: Reach) -> int:
    """The status that `url` answers in the end, redirects followed; no body is read.

    HEAD asks for it, and where that gives an error GET, since some servers only know the one.

    Raises FetchError without an answer.
    """
    status = 0
    for method in ("HEAD", "GET"):
        request = httpx.Request(method, _checked(url), headers=_headers())
        status = _ask(request, reach, follow=MAX_REDIRECTS, wanted=False, reads_body=False).status
        if status < _FIRST_ERROR:
            break
    return status


def _headers() -> dict[str, str]:
    return {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "gzip"}


def _checked(url: str | httpx.URL) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        host = parsed.host
    # ValueError: a name of letters that no name may have, which is found out when it is asked for.
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError(f"{_shown(url)} is not a web address: {error}.") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise FetchError(f"{_shown(url)} is not a web address: it must begin with https://.")
    if parsed.userinfo:
        raise FetchError("A web address with a user and password in it is not read.")
    return parsed


def _shown(url: str | httpx.URL) -> str:
    return str(url)[:200]


def _ask(
    request: httpx.Request, reach: Reach, *, follow: int, wanted: bool, reads_body: bool = True
) -> Fetched:
    """wanted: only an answer that is a success will do (or one that nothing changed)."""
    guard = Guard(
        reach.timeout,
        reach.resolver,
        allow_private=reach.allow_private,
        networks=reach.networks,
        setting=reach.setting,
    )
    # Without what follows "?", which may be a key.
    shown = f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.path}"
    try:
        with httpx.Client(
            transport=_Transport(guard), trust_env=False, timeout=guard.timeout
        ) as client:
            limit = reach.limit if reads_body else None
            return _follow(client, request, limit, follow=follow, wanted=wanted)
    except Forbidden as error:
        raise FetchError(f"{shown} is not read: {error}.") from error
    except (httpx.TimeoutException, httpcore.TimeoutException) as error:
        raise FetchError(f"{shown} did not answer within {guard.timeout:g} seconds.") from error
    except (
        *(httpx.HTTPError, httpx.InvalidURL, httpcore.NetworkError, httpcore.ProtocolError),
        # ValueError: a name that the resolver cannot even encode, or a broken body.
        *(httpcore.UnsupportedProtocol, OSError, ValueError),
    ) as error:
        raise FetchError(f"{shown} cannot be read: {error or type(error).__name__}.") from error


def _follow(
    client: httpx.Client, request: httpx.Request, limit: int | None, *, follow: int, wanted: bool
) -> Fetched:
    """limit: bytes of the body; None leaves it unread."""
    first = request.url
    permanent = True
    for _ in range(follow + 1):
        response = client.send(request, stream=True)
        try:
            # The body of a redirect is nobody's to read: it has no limit of its own.
            if follow == 0 or not response.has_redirect_location:
                moved = str(response.url) if permanent and response.url != first else ""
                return _answer(response, limit, moved, wanted=wanted)
        finally:
            response.close()
        permanent = permanent and response.status_code in _PERMANENT
        request = response.next_request or request
        _checked(request.url)
    raise Forbidden(f"it redirects more than {follow} times")


def _answer(response: httpx.Response, limit: int | None, moved: str, *, wanted: bool) -> Fetched:
    status = response.status_code
    asked = response.request.headers
    is_same = status == NOT_MODIFIED and ("If-None-Match" in asked or "If-Modified-Since" in asked)
    if wanted and not response.is_success and not is_same:
        raise FetchError(
            f"{response.url} cannot be read: the server answered {status}.",
            status=status,
            retry_after=_retry_after(response.headers.get("Retry-After", "")),
        )
    encoding = response.headers.get("Content-Encoding", "")
    was_read = (
        b"" if is_same or limit is None else body.read(response.iter_raw(), encoding, limit=limit)
    )
    return Fetched(
        url=str(response.url),
        status=status,
        content_type=response.headers.get("Content-Type", ""),
        body=was_read,
        etag=_validator(response, "ETag"),
        last_modified=_validator(response, "Last-Modified"),
        moved_to=moved,
    )


def _validator(response: httpx.Response, name: str) -> str:
    value: str = response.headers.get(name, "")
    # It is sent back one day: what cannot stand in a header is worth nothing.
    is_fit = len(value) <= _LONGEST_VALIDATOR and value.isascii() and value.isprintable()
    return value if is_fit else ""


def _retry_after(value: str) -> float | None:
    """Seconds from the header, which says seconds or a moment (RFC 9110 §10.2.3)."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than many a request."""
    return httpx.create_ssl_context(trust_env=False)


class _Transport(httpx.BaseTransport):
    """httpx over a connection pool whose connections the guard opens."""

    def __init__(self, guard: Guard) -> None:
        self._pool = httpcore.ConnectionPool(ssl_context=_tls(), network_backend=guard)

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
