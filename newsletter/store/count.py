"""Named queries that count."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.store.people import Subscription, SubscriptionState


def subscriptions_by_state(session: Session, publication_id: int) -> dict[str, int]:
    """How many subscriptions of a publication are in each state; every state is named.

    Served by the index on publication and state alone.
    """
    rows = session.execute(
        select(Subscription.state, func.count())
        .where(Subscription.publication_id == publication_id)
        .group_by(Subscription.state)
    ).all()
    return {str(state): 0 for state in SubscriptionState} | {row[0]: row[1] for row in rows}
