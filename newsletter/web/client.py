"""Who is asking: the client's network address and program, as evidence and for the limits.

The address comes from the socket. X-Forwarded-For is believed only when the socket's peer is a
proxy that the settings trust, and then only as far as each hop is trusted too: what a client
writes into the header itself is always to the left of that.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, Literal

from flask import request

from newsletter import consent
from newsletter.config import Network
from newsletter.network import Address, kept, parse
from newsletter.web import language
from newsletter.web.site import site

MAX_USER_AGENT = 300


def address_of(peer: str | None, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """The client's address.

    peer: the other end of the socket; None or a path when it is a Unix socket.
    forwarded_for: the X-Forwarded-For header, "" when there is none; the nearest hop is last.
    trusted: the networks of the proxies that may say who asked them.

    Returns the last hop that no trusted proxy stands for; None when the peer has no address.
    """
    client = parse(peer or "")
    if client is None:
        return None
    for hop in reversed(forwarded_for.split(",")):
        if not any(client in network for network in trusted):
            break
        further = parse(hop)
        if further is None:
            break
        client = further
    return client


def address() -> Address | None:
    """The address of the client that is being answered."""
    return address_of(
        request.environ.get("REMOTE_ADDR"),
        request.headers.get("X-Forwarded-For", ""),
        site().settings.trusted_proxies,
    )


def limit_key() -> str:
    """Names the client for the limits without telling its address.

    An IPv6 client has a whole /64 to itself, so that is one client. The hash is keyed, because the
    limits may be kept in a shared store, and a limiter logs its keys.
    """
    found = address()
    if found is None:
        network = "unknown"
    else:
        network = str(ip_network((found, 32 if found.version == 4 else 64), strict=False))
    key = site().settings.hash_key_bytes
    return hmac.new(key, b"limit\0" + network.encode(), hashlib.sha256).hexdigest()[:32]


def user_agent() -> str | None:
    """The program that the client says it is, without control characters, cut to 300."""
    said = request.headers.get("User-Agent", "")
    clean = "".join(char for char in said if unicodedata.category(char)[0] != "C")
    return clean.strip()[:MAX_USER_AGENT] or None


def evidence(
    channel: Literal["form", "link", "one-click", "preferences"], form: str, **more: Any
) -> consent.Evidence:
    """What can be shown for the step that this request takes.

    form: the path of the form, without a link's token: a token in the log would be a key.
    more: further fields of consent.Evidence.
    """
    settings = site().settings
    return consent.Evidence(
        actor="subscriber",
        channel=channel,
        form_url=site().url(form),
        client_address=kept(address(), settings.client_address),
        user_agent=user_agent(),
        **{"language": language.current()} | more,
    )
