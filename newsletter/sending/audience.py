"""Who would get a digest and who not, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.store import Delivery, Digest, Subscription, SubscriptionState


@dataclass(frozen=True)
class Audience:
    """receivers: how many readers get it. excluded: how many do not, by one word that says why."""

    receivers: int
    excluded: dict[str, int] = field(default_factory=dict)


def count(session: Session, digest: Digest) -> Audience:
    """The audience of a digest as it is now: the confirmed readers of its publication.

    The others count by the state of their subscription (pending, unsubscribed, ...); readers who
    have a delivery of this digest already count as "queued".
    """
    query = (
        select(Subscription.state, func.count())
        .where(Subscription.publication_id == digest.publication_id)
        .group_by(Subscription.state)
    )
    by_state = {row[0]: row[1] for row in session.execute(query)}
    confirmed = by_state.pop(SubscriptionState.CONFIRMED, 0)
    has_one = (
        select(func.count())
        .select_from(Delivery)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(Delivery.digest_id == digest.id, Subscription.state == SubscriptionState.CONFIRMED)
    )
    queued = session.scalar(has_one) or 0
    excluded = dict(sorted(by_state.items()))
    if queued:
        excluded["queued"] = queued
    return Audience(confirmed - queued, excluded)
