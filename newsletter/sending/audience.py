"""Who would get a digest and who not, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import case, exists, func, not_, select
from sqlalchemy.orm import Session

from newsletter.sending.gate import HALTED, UNRECORDED, halted, recorded
from newsletter.store import Delivery, Digest, Subscription, SubscriptionState

# Has a row already: it is sent, or about to be.
QUEUED = "queued"


@dataclass(frozen=True)
class Audience:
    """receivers: how many readers get it. excluded: how many do not, by one word that says why."""

    receivers: int
    excluded: dict[str, int] = field(default_factory=dict)


def count(session: Session, digest: Digest) -> Audience:
    """The audience of a digest as it is now: the confirmed readers of its publication.

    The others count by the state of their subscription (pending, unsubscribed, ...), as
    "unrecorded" when the consent log does not say that they are confirmed, and as "halted" when
    sending stands still; readers who have a delivery of this digest already count as "queued".
    Who is suppressed is known at hand-over only: the suppressions name nobody.
    """
    is_recorded = recorded(Subscription.id, around=Subscription)
    has_one = exists().where(
        Delivery.digest_id == digest.id, Delivery.subscriber_id == Subscription.subscriber_id
    )
    fate = case(
        (Subscription.state != SubscriptionState.CONFIRMED, Subscription.state),
        (has_one, QUEUED),
        (halted(), HALTED),
        (not_(is_recorded), UNRECORDED),
        else_=SubscriptionState.CONFIRMED.value,
    )
    query = (
        select(fate, func.count())
        .where(Subscription.publication_id == digest.publication_id)
        .group_by(fate)
    )
    by_fate = {row[0]: row[1] for row in session.execute(query)}
    receivers = by_fate.pop(SubscriptionState.CONFIRMED, 0)
    return Audience(receivers, dict(sorted(by_fate.items())))
