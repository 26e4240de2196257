"""Named queries that list."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from newsletter.store.content import Digest


def digests(session: Session, publication_id: int | None = None) -> list[Digest]:
    """The digests, the newest first, with their publications; of one publication or of all."""
    query = select(Digest).options(joinedload(Digest.publication)).order_by(Digest.id.desc())
    if publication_id is not None:
        query = query.where(Digest.publication_id == publication_id)
    return list(session.scalars(query))
