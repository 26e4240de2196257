"""Named queries that count."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.store.outbox import Delivery, DeliveryState
from newsletter.store.people import Subscription, SubscriptionState

_NOT_ACCEPTED = (
    DeliveryState.DEFERRED,
    DeliveryState.FAILED,
    DeliveryState.SKIPPED,
    DeliveryState.UNCERTAIN,
)


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


def replies(session: Session, digest_id: int, limit: int = 20) -> list[dict[str, Any]]:
    """What became of a digest's mails that were not accepted, the most frequent first.

    Each: mails (how many), state, reason, code, reply. `reply` is the relay's text: hostile.
    """
    columns = (Delivery.state, Delivery.reason, Delivery.reply_code, Delivery.reply_text)
    rows = session.execute(
        select(func.count(), *columns)
        .where(Delivery.digest_id == digest_id, Delivery.state.in_(_NOT_ACCEPTED))
        .group_by(*columns)
        .order_by(func.count().desc(), *columns)
        .limit(limit)
    )
    names = ("mails", "state", "reason", "code", "reply")
    return [dict(zip(names, row, strict=True)) for row in rows]
