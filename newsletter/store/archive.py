"""Named queries about the digests that the public may read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.store.content import Digest, DigestState
from newsletter.store.people import Publication

# From the first mail on, the letter's "view in browser" must lead somewhere.
_PUBLIC = (DigestState.SENDING, DigestState.PAUSED, DigestState.SENT)


@dataclass(frozen=True)
class Published:
    """A digest as a list of them names it: its public id, its subject, and since when it is out."""

    name: str
    subject: str
    published_at: datetime


def latest(session: Session, publication: Publication, count: int) -> list[Published]:
    """The newest `count` public digests, newest first. Their content is not loaded."""
    rows = session.execute(
        select(Digest.public_id, Digest.subject, Digest.approved_at)
        .where(Digest.publication_id == publication.id, Digest.state.in_(_PUBLIC))
        .order_by(Digest.approved_at.desc(), Digest.id.desc())
        .limit(count)
    )
    return [Published(name, subject, at) for name, subject, at in rows if at is not None]


def published(session: Session, publication: Publication, name: str) -> Digest | None:
    """The public digest with this public id; None for a draft, and for another publication's."""
    return session.scalars(
        select(Digest).where(
            Digest.public_id == name,
            Digest.publication_id == publication.id,
            Digest.state.in_(_PUBLIC),
        )
    ).one_or_none()
