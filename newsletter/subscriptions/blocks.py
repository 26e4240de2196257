"""Taking a block back: when the person asks us, or an operator knows better than a bounce."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from newsletter import consent
from newsletter.addresses import Address
from newsletter.store import LetterName, Subscription, SuppressionReason
from newsletter.store.find import lift as lift_suppressions
from newsletter.store.find import subscriber_by_key, suppressions
from newsletter.store.letters import answered

# An erasure is not among them: it ends when the person signs up and confirms anew, not before.
LIFTABLE = (
    SuppressionReason.BLOCKED,
    SuppressionReason.BOUNCED,
    SuppressionReason.COMPLAINED,
)


def lift(
    session: Session,
    address: Address,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> list[str]:
    """Let a mailbox sign up again; returns the reasons that were lifted, sorted.

    evidence: with a note that says who asked for it. It is recorded for each of the person's
        subscriptions; their states stay as they are.
    """
    mailbox = address.mailbox_hash(hash_key)
    subscriber = subscriber_by_key(session, address.key)
    # Three confirmation mails without an answer end the asking; the operator's word begins it anew.
    answered(session, mailbox, LetterName.CONFIRMATION)
    lifted = sorted(suppressions(session, [mailbox]).get(mailbox, set()) & set(LIFTABLE))
    if not lift_suppressions(session, mailbox, LIFTABLE):
        return []
    if subscriber is not None:
        mine = session.scalars(
            select(Subscription)
            .where(Subscription.subscriber_id == subscriber.id)
            .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
        ).all()
        for subscription in mine:
            consent.record(session, consent.EventType.UNBLOCKED, subscription, evidence, now=now)
    return lifted
