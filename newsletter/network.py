"""Network addresses as evidence: read as people write them, kept as the settings say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Keep = Literal["full", "truncated", "none"]


def parse(text: str) -> Address | None:
    """An address, also with a port, in brackets, or IPv4 within IPv6; None when it is none."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def kept(found: Address | None, how: Keep) -> str | None:
    """What of an address is kept: all, its network (/24 or /48), or nothing."""
    if found is None or how == "none":
        return None
    if how == "full":
        return str(found)
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))
