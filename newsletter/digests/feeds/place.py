"""Addresses that lead to the same place: sites move from http to https, and to www. and back."""

from __future__ import annotations

import re

_WEB = re.compile(r"https?://(?:www\.)?([^/?#]+)([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def key(address: str) -> str:
    """The same text for all addresses of one place: without scheme, www. and a slash at its end.

    What is no address of the web, such as the other ids that feeds give, stays as it is.
    """
    found = _WEB.fullmatch(address)
    return f"//{found[1].lower()}{found[2].rstrip('/')}{found[3]}" if found else address


def spellings(address: str) -> list[str]:
    """The addresses that are of the same place as `address`, itself first."""
    found = _WEB.fullmatch(address)
    if found is None:
        return [address]
    host, path, rest = found.groups()
    others = [
        f"{scheme}://{www}{host}{path.rstrip('/')}{slash}{rest}"
        for scheme in ("https", "http")
        for www in ("", "www.")
        for slash in ("", "/")
    ]
    return list(dict.fromkeys([address, *others]))


def host(address: str | None) -> str:
    """The host of a web address, without www.; "" when there is none."""
    found = _WEB.fullmatch(address or "")
    return found[1].rpartition("@")[2].lower() if found else ""
