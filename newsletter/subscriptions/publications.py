"""Publications: made and changed by operators, found by their slug."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter import addresses
from newsletter.consent import check_wording
from newsletter.errors import BadInput, NotFound
from newsletter.i18n import known, languages
from newsletter.mail.look import DEFAULT_THEME, FONTS, LOGO_HEIGHTS, LOGO_WIDTHS, THEME_NAME
from newsletter.store import Publication

# First segments of the service's own routes, and of those that are likely to come: a publication
# of this name would be out of reach. A test compares it with the routes.
RESERVED_SLUGS = frozenset(
    {
        "access",
        "api",
        "archive",
        "assets",
        "confirm",
        "console",
        "demo",
        "embed",
        "favicon",
        "feed",
        "feeds",
        "healthz",
        "login",
        "logout",
        "mailbox",
        "metrics",
        "preferences",
        "robots",
        "rss",
        "sign-up",
        "signup",
        "sitemap",
        "static",
        "subscribe",
        "theme",
        "unsubscribe",
        "webhooks",
        "well-known",
    }
)

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SENDER = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]+)>")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_LONGEST_LANGUAGE = 16  # characters, of the column
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def create(
    session: Session,
    *,
    slug: str,
    title: str,
    from_: str,
    privacy_url: str,
    postal_address: str,
    now: datetime,
    **options: Any,
) -> Publication:
    """Make a publication.

    from_: the sender, as "Name <address>".
    options: any of what `edit` can change.

    Raises BadInput with the field that is wrong.
    """
    if not _SLUG.fullmatch(slug):
        raise BadInput(
            "A slug has 1 to 63 lower-case letters, digits and hyphens: it becomes the address "
            "of the sign-up page.",
            "slug",
        )
    if slug in RESERVED_SLUGS:
        raise BadInput(f'"{slug}" is an address of the service itself; choose another.', "slug")
    if session.scalar(select(Publication.id).where(Publication.slug == slug)):
        raise BadInput(
            f'There is a publication "{slug}" already; change it with: '
            f"newsletter publication edit {slug}",
            "slug",
        )
    options.setdefault("privacy_version", now.date().isoformat())
    publication = Publication(slug=slug, created_at=now)
    _set(
        publication,
        title=title,
        from_=from_,
        privacy_url=privacy_url,
        postal_address=postal_address,
        **options,
    )
    session.add(publication)
    session.flush()
    return publication


def edit(session: Session, slug: str, **changes: Any) -> Publication:
    """Change a publication: title, from_, description, reply_to, unsubscribe_mailto,
    postal_address, privacy_url, privacy_version, consent_wording, language, accent_color, theme,
    heading_font, text_font, logo_url, logo_alt, logo_width, logo_height, sends_welcome,
    sends_goodbye. An empty text takes an optional value away.

    Raises NotFound, or BadInput with the field that is wrong.
    """
    publication = find(session, slug)
    _set(publication, **changes)
    session.flush()
    return publication


def find(session: Session, slug: str) -> Publication:
    """The publication with this slug; raises NotFound with the ones that there are."""
    found = session.scalars(select(Publication).where(Publication.slug == slug)).one_or_none()
    if found is None:
        have = ", ".join(each.slug for each in all_of(session)) or "none yet"
        raise NotFound(f'There is no publication "{slug}". There are: {have}.')
    return found


def all_of(session: Session) -> list[Publication]:
    """Every publication, by title."""
    return list(session.scalars(select(Publication).order_by(Publication.title, Publication.id)))


def _set(publication: Publication, **values: Any) -> None:
    for name, value in values.items():
        if name == "from_":
            publication.from_name, publication.from_address = _sender(value)
        elif name in _CHECKS:
            setattr(publication, name, _CHECKS[name](value, name))
        else:
            raise BadInput(f"A publication has no {name}.", name)
    _check_logo(publication)


def _check_logo(publication: Publication) -> None:
    """A logo without its size would be shown in any."""
    if publication.logo_url is None:
        publication.logo_alt = publication.logo_width = publication.logo_height = None
    elif publication.logo_width is None or publication.logo_height is None:
        raise BadInput(
            "A logo needs its size in pixels, as it is to be shown: --logo-size 240x60",
            "logo_size",
        )


def _sender(text: str) -> tuple[str, str]:
    found = _SENDER.fullmatch(text.strip())
    if not found or _CONTROL.search(text):
        raise BadInput("The sender is written as: Name <address@example.org>", "from")
    name = found["name"].strip().strip('"').strip()
    if not name:
        raise BadInput("The sender needs a name: Name <address@example.org>", "from")
    return name, _address(found["address"], "from") or ""


def _line(value: Any, field: str) -> str:
    text = str(value).strip()
    if not text or len(text) > 200 or _CONTROL.search(text):
        raise BadInput(f"{field} must be one line of 1 to 200 characters.", field)
    return text


def _text(value: Any, field: str) -> str:
    text = str(value).replace("\r\n", "\n").strip()
    if not text or len(text) > 2000 or _LINES.search(text):
        raise BadInput(f"{field} must be a text of 1 to 2000 characters.", field)
    return text


def _address(value: Any, field: str) -> str | None:
    if not value:
        return None
    try:
        return addresses.parse(str(value)).spelling
    except BadInput as error:
        raise BadInput(f"{field}: {error}", field) from error


def _url(value: Any, field: str) -> str:
    parts = urlsplit(str(value).strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or _CONTROL.search(str(value)):
        raise BadInput(f"{field} must be a web address, such as https://example.org/x.", field)
    return str(value).strip()


def _color(value: Any, field: str) -> str:
    if not _COLOR.fullmatch(str(value)):
        raise BadInput(f"{field} must be a colour such as #1f5f4a.", field)
    return str(value).lower()


def _language(value: Any, field: str) -> str:
    tag = known(str(value))
    if tag is None or len(tag) > _LONGEST_LANGUAGE:
        raise BadInput(
            f"{field} must be the tag of a language, such as en, ar or pt-BR; pages and letters "
            f"have words of ours in {', '.join(languages())}, and in English for all others.",
            field,
        )
    return tag


def _theme(value: Any, field: str) -> str:
    if not THEME_NAME.fullmatch(str(value)):
        raise BadInput(f"{field} must be the name of a theme, such as {DEFAULT_THEME}.", field)
    return str(value)


def _font(value: Any, field: str) -> str | None:
    if not value:
        return None
    if value not in FONTS:
        raise BadInput(f"{field} must be one of: {', '.join(FONTS)}.", field)
    return str(value)


def _picture_url(value: Any, field: str) -> str | None:
    if not value:
        return None
    url = _url(value, field)
    if not url.lower().startswith("https://"):
        raise BadInput(
            f"{field} must begin with https://: mail programs load no picture from elsewhere.",
            field,
        )
    return url


def _within(allowed: range, value: Any, field: str) -> int:
    if int(value) not in allowed:
        raise BadInput(
            f"{field} must be {allowed.start} to {allowed.stop - 1} pixels, as it is to be shown.",
            field,
        )
    return int(value)


def _choice(value: Any, _field: str) -> bool:
    return bool(value)


_CHECKS = {
    "title": _line,
    "description": lambda value, field: _text(value, field) if value else None,
    "reply_to": _address,
    "unsubscribe_mailto": _address,
    "postal_address": _text,
    "privacy_url": _url,
    "privacy_version": _line,
    "consent_wording": lambda value, _field: check_wording(str(value)) if value else None,
    "language": _language,
    "accent_color": _color,
    "theme": _theme,
    "heading_font": _font,
    "text_font": _font,
    "logo_url": _picture_url,
    "logo_alt": lambda value, field: _line(value, field) if value else None,
    "logo_width": lambda value, field: _within(LOGO_WIDTHS, value, field),
    "logo_height": lambda value, field: _within(LOGO_HEIGHTS, value, field),
    "sends_welcome": _choice,
    "sends_goodbye": _choice,
}
