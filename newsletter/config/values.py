"""What single settings must look like; a wrong one is told with the cure, never with its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, PlainValidator, SecretStr

from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput


@dataclass(frozen=True)
class SmtpServer:
    """Where mail is handed over. `security`: none, starttls (required) or tls (from the start)."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    user: str | None
    password: str | None = field(repr=False)


_SMTP_CURE = (
    "must look like smtp://host:25, smtps://host:465 or smtp+starttls://user:password@host:587, "
    "with signs such as / # ? @ in user and password written as %2F %23 %3F %40"
)
_SMTP_SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


def smtp_server(url: str) -> SmtpServer:
    """The parts of an smtp_url; raises ValueError with the cure when it is not one."""
    try:
        parts = urlsplit(url)
        given_port = parts.port
    except ValueError:
        # Not from it: its text has a piece of the password when that has a slash in it.
        raise ValueError(_SMTP_CURE) from None
    if parts.scheme not in _SMTP_SCHEMES or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(_SMTP_CURE)
    if parts.query or parts.fragment:
        raise ValueError(_SMTP_CURE)
    security, port = _SMTP_SCHEMES[parts.scheme]
    return SmtpServer(
        host=parts.hostname,
        port=given_port or port,
        security=security,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def check_base_url(value: str) -> str:
    """The address without a slash at its end; ValueError unless it may stand in a header."""
    cure = "must be the public address of the service, such as https://news.example.org"
    # It becomes part of mail headers, as it stands.
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{cure}; other letters than ASCII in their xn-- or %-form")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValueError(cure) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(cure)
    if "?" in value or "#" in value or "@" in parts.netloc:
        raise ValueError(f"{cure}, without user, ? and #")
    return value.rstrip("/")


def check_database_url(value: str) -> str:
    """The URL with our driver named; ValueError when it is of neither database."""
    # postgresql:// means another driver in each SQLAlchemy release: name ours.
    for old in ("postgres://", "postgresql://"):
        if value.startswith(old):
            value = "postgresql+psycopg://" + value.removeprefix(old)
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")) or value == "sqlite:///":
        raise ValueError("must be sqlite:///FILE or postgresql://user:password@host/database")
    return value


def check_secret(value: SecretStr) -> SecretStr:
    """The secret; ValueError when it is too short to be one."""
    if len(value.get_secret_value()) < 32:
        raise ValueError(
            "must be at least 32 characters; make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return value


def check_smtp_url(value: SecretStr | None) -> SecretStr | None:
    """The URL; ValueError when `smtp_server` cannot read it."""
    if value is not None:
        smtp_server(value.get_secret_value())
    return value


def check_address(value: str | None) -> str | None:
    """The address; ValueError when it is none."""
    if value is not None:
        try:
            parse_address(value)
        except BadInput as error:
            raise ValueError(f"is not an address: {error}") from error
    return value


def check_domain_rates(rates: dict[str, float]) -> dict[str, float]:
    """The rates by domains in A-labels and lower case, as mails are counted; the lowest of each.

    Raises ValueError for what is no domain.
    """
    found: dict[str, float] = {}
    for name, rate in rates.items():
        try:
            domain = parse_address(f"reader@{name.strip()}").domain
        except BadInput as error:
            raise ValueError(
                f"{name!r} is not a domain; write what stands behind the @, such as example.org"
            ) from error
        found[domain] = min(rate, found.get(domain, rate))
    return found


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"must be networks such as 127.0.0.1/32 or fd00::/8: {error}") from error


def check_limit(value: str) -> str:
    """The limit, such as "30 per hour"; ValueError when it is written otherwise."""
    if not re.fullmatch(r"[1-9]\d* per (second|minute|hour|day)", value, re.ASCII):
        raise ValueError("must look like: 30 per hour (or second, minute, day)")
    return value


_LIMIT_STORES = (
    "memory://",
    "redis://",
    "rediss://",
    "redis+sentinel://",
    "redis+unix://",
    "memcached://",
    "mongodb://",
)


def check_limit_storage(value: str) -> str:
    """The store's URL; ValueError when it is of none that can count limits."""
    if not value.startswith(_LIMIT_STORES):
        others = ", ".join(_LIMIT_STORES[2:])
        raise ValueError(f"must be memory:// or such as redis://host (or {others})")
    return value


Secret = Annotated[SecretStr, AfterValidator(check_secret)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]


# Fields that our mails have already, or that mean something to those who carry mail.
_TAKEN = frozenset(
    [
        "from",
        "to",
        "cc",
        "bcc",
        "sender",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "received",
        "return-path",
        "auto-submitted",
        "mime-version",
        "feedback-id",
        "consent-log-checkpoint",
    ]
)
_TAKEN_FAMILIES = ("list-", "content-", "dkim-", "arc-", "resent-")


def check_own_header(name: str | None) -> str | None:
    """The name of a header field that is only for the relay; None stays None.

    Raises ValueError for one that mails of ours have already.
    """
    lower = (name or "").lower()
    if lower in _TAKEN or lower.startswith(_TAKEN_FAMILIES):
        raise ValueError(f"{name} stands in mails already; name the relay's own header")
    return name
