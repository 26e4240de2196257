"""Named queries about the digests that the public may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_
from sqlalchemy.orm import Session

from newsletter.store.base import UTCDateTime
from newsletter.store.content import Digest, DigestState
from newsletter.store.people import Publication

# From the first mail on, the letter's "view in browser" must lead somewhere.
_PUBLIC = (DigestState.SENDING, DigestState.PAUSED, DigestState.SENT)
# When it went out: a digest may be approved long before its time. Readers get their rows within
# moments of the start, and until all have one the approval must do.
_OUT_SINCE = func.coalesce(Digest.queued_at, Digest.approved_at, type_=UTCDateTime)
_NEWEST_FIRST = (_OUT_SINCE.desc(), Digest.id.desc())


@dataclass(frozen=True)
class Published:
    """A digest as a list of them names it: its public id, its subject, and since when it is out.

    preheader: the line that stands beside the subject; None when it was not asked for.
    """

    name: str
    subject: str
    published_at: datetime
    preheader: str | None = None


@dataclass(frozen=True)
class Told:
    """A digest with what it says. content: as newsletter.digests.content.Content.to_json has it.

    newer, older: its neighbours among the public digests, None at the ends.
    """

    published: Published
    content: dict[str, Any]
    newer: Published | None = None
    older: Published | None = None


def latest(
    session: Session, publication: Publication, count: int, *, skip: int = 0
) -> list[Published]:
    """The newest `count` public digests after the first `skip`, newest first.

    Of their content only the preheader is read.
    """
    line = Digest.frozen["content"]["preheader"].as_string()
    return [_published(row, row[3]) for row in _page(session, publication, count, skip, line)]


def names(session: Session, publication: Publication, count: int) -> list[Published]:
    """The newest `count` public digests, newest first, without reading any content."""
    return [_published(row) for row in _page(session, publication, count, 0)]


def contents(session: Session, publication: Publication, count: int) -> list[Told]:
    """The newest `count` public digests with what they say, newest first."""
    rows = _page(session, publication, count, 0, Digest.frozen["content"])
    return [Told(_published(row), row[3]) for row in rows]


def published(session: Session, publication: Publication, name: str) -> Told | None:
    """The public digest with this public id; None for a draft, and for another publication's."""
    row = session.execute(
        _public(publication, Digest.frozen["content"], Digest.id).where(Digest.public_id == name)
    ).one_or_none()
    if row is None:
        return None
    found = _published(row)
    here = tuple_(literal(found.published_at, UTCDateTime), literal(row[4]))
    place = tuple_(_OUT_SINCE, Digest.id)
    return Told(
        found,
        row[3],
        newer=_first(session, publication, place > here, (_OUT_SINCE, Digest.id)),
        older=_first(session, publication, place < here, _NEWEST_FIRST),
    )


def _public(publication: Publication, *more: Any) -> Select[Any]:
    """Name, subject, moment and `more` of the public digests of a publication."""
    return select(Digest.public_id, Digest.subject, _OUT_SINCE, *more).where(
        Digest.publication_id == publication.id,
        Digest.state.in_(_PUBLIC),
        Digest.frozen.is_not(None),
        Digest.approved_at.is_not(None),
    )


def _page(
    session: Session, publication: Publication, count: int, skip: int, *more: Any
) -> Sequence[Any]:
    query = _public(publication, *more).order_by(*_NEWEST_FIRST).limit(count).offset(skip)
    return session.execute(query).all()


def _first(
    session: Session,
    publication: Publication,
    which: ColumnElement[bool],
    order: Sequence[Any],
) -> Published | None:
    query = _public(publication).where(which).order_by(*order).limit(1)
    row = session.execute(query).one_or_none()
    return _published(row) if row else None


def _published(row: Any, preheader: str | None = None) -> Published:
    return Published(row[0], row[1], row[2], preheader)
