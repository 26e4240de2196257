"""The mails that were refused because there is no such mailbox, and whose reader is still one."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from newsletter.sending.claim import PERSONAL
from newsletter.sending.settle import NO_MAILBOX
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    DigestState,
    Subscription,
    SubscriptionState,
)

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)
# A digest is called sent only after these were looked at; a paused or cancelled one may not be.
_OPEN = (DigestState.SENDING, DigestState.PAUSED, DigestState.CANCELLED)


def waiting(session: Session, *, limit: int) -> list[int]:
    """The ids of up to `limit` deliveries whose subscription is to be ended for them.

    Whoever asked anew after the refusal is left out: the mailbox may be there by now.
    """
    open_digests = select(Digest.id).where(Digest.state.in_(_OPEN))
    found: list[int] = []
    for rows in (and_(PERSONAL), Delivery.digest_id.in_(open_digests)):
        query = (
            select(Delivery.id)
            .join(Subscription, Subscription.id == Delivery.subscription_id)
            .where(
                rows,
                Delivery.state == DeliveryState.FAILED,
                Delivery.reason == NO_MAILBOX,
                Subscription.state.in_(_ALIVE),
                Subscription.pending_since <= Delivery.settled_at,
            )
            .limit(limit - len(found))
        )
        found += session.scalars(query)
    return found
