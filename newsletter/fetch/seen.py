"""Whether something is behind many addresses: asked side by side, and not for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from newsletter.fetch.client import FetchError, Reach, status_of

# The name is known to nobody, or has no address: not that nobody could be asked just now.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


@dataclass(frozen=True)
class Seen:
    """What came of asking for an address.

    status: of HTTP, after redirects; None when there was no answer, and `problem` says why.
    is_gone: there is no such host, though others were found.
    """

    status: int | None
    problem: str = ""
    is_gone: bool = False


def look_at(
    urls: Iterable[str], *, reach: Reach, at_once: int = 8, seconds: float = 60
) -> dict[str, Seen]:
    """Ask for each of `urls`, `at_once` at a time, and for no more of them after `seconds`.

    reach: how far each request may go; its timeout is for one address.
    """
    addresses = list(dict.fromkeys(urls))
    deadline = time.monotonic() + seconds

    def look(url: str) -> Seen:
        left = deadline - time.monotonic()
        if left <= 0:
            return Seen(None, f"It was not asked: {seconds:g} seconds were over.")
        return _seen(url, replace(reach, timeout=min(reach.timeout, left)))

    with ThreadPoolExecutor(at_once, thread_name_prefix="look") as asking:
        found = list(asking.map(look, addresses))
    if not any(each.status for each in found):
        # This machine knows no names at the moment, or is not on the net at all.
        found = [replace(each, is_gone=False) for each in found]
    return dict(zip(addresses, found, strict=True))


def _seen(url: str, reach: Reach) -> Seen:
    try:
        return Seen(status_of(url, reach=reach))
    except FetchError as error:
        cause = error.__cause__
        is_gone = isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_HOST
        return Seen(None, "There is no such host." if is_gone else str(error), is_gone)
