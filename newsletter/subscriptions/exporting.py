"""Taking people out as a table: one row a subscription, all that a new home for them needs."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from newsletter.store import Publication, Subscription

COLUMNS = (
    "email",
    "name",
    "language",
    "publication",
    "state",
    "created_at",
    "confirmed_at",
    "ended_at",
)


def rows(session: Session, publication: Publication | None = None) -> Iterator[dict[str, str]]:
    """One dict a subscription, with the keys of COLUMNS; times are ISO 8601 in UTC.

    publication: only its subscriptions; None for all.
    """
    query = (
        select(Subscription)
        .options(joinedload(Subscription.subscriber), joinedload(Subscription.publication))
        .order_by(Subscription.id)
        .execution_options(yield_per=1000)
    )
    if publication is not None:
        query = query.where(Subscription.publication_id == publication.id)
    with session.scalars(query) as found:
        for each in found:
            yield {
                "email": each.subscriber.address,
                "name": each.subscriber.name or "",
                "language": each.subscriber.language,
                "publication": each.publication.slug,
                "state": each.state,
                "created_at": each.created_at.isoformat(),
                "confirmed_at": each.confirmed_at.isoformat() if each.confirmed_at else "",
                "ended_at": each.ended_at.isoformat() if each.ended_at else "",
            }


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (CWE-1236): such a text gets a ' in front."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
