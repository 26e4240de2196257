"""What the signed link of a page names, and that such a page is kept to its reader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from newsletter.errors import BadLink, ExpiredLink
from newsletter.links import Purpose
from newsletter.web import headers
from newsletter.web.site import now, site


@dataclass(frozen=True)
class Named:
    """What a link names: a public id; and whether the link is past its time."""

    name: str
    is_too_old: bool


def named(purpose: Purpose, link: str, *, good_for: timedelta | None = None) -> Named:
    """Read the link of the request's path. The answer will not be stored or indexed anywhere.

    Raises BadLink when it is not one of ours for this purpose.
    """
    headers.keep_private()
    is_too_old = False
    try:
        ids = site().links.read(purpose, link, now=now(), good_for=good_for)
    except ExpiredLink as error:
        ids, is_too_old = error.payload, True
    if len(ids) != 1:
        raise BadLink("This link is not one of ours.")
    return Named(ids[0], is_too_old)
