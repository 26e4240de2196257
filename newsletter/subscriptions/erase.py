"""Being forgotten: all that tells who somebody was is destroyed, and the log still verifies.

What stays: the commitments in the log, without their keys; deliveries as bare counts; and the
mailbox under a keyed hash, so that no import mails it again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Engine, delete, func, select, text, update
from sqlalchemy.orm import Session

from newsletter import addresses, consent
from newsletter.consent import ledger
from newsletter.store import (
    Delivery,
    DeliveryState,
    LedgerKind,
    LetterName,
    Subscriber,
    Subscription,
    SuppressionReason,
    public_id,
    traces,
)
from newsletter.store.doubt import or_uncertain
from newsletter.store.find import subscriber_by_public_id, suppress

_NOT_YET_SENT = (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED)


def forget(
    session: Session,
    subscriber: Subscriber,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> None:
    """Destroy what is kept of a person (GDPR Art. 17), in one transaction.

    The suppression blocks imports only; the person's own new sign-up ends it. The edge has the
    ledger written after the commit, and the file cleaned.
    """
    if subscriber_by_public_id(session, subscriber.public_id) is None:  # locks the person
        return
    mailbox = addresses.parse(subscriber.address).mailbox_hash(hash_key)
    destroy(session, subscriber, evidence, now=now)
    suppress(session, mailbox, SuppressionReason.ERASED, now=now)
    ledger.note(session, LedgerKind.ERASED, mailbox, now=now)


def destroy(
    session: Session, subscriber: Subscriber, evidence: consent.Evidence, *, now: datetime
) -> None:
    """The same without suppression and ledger: for what nobody asked for, and for a recovery."""
    consent.record_erasure(session, subscriber, evidence, now=now)
    _strip_deliveries(session, Delivery.subscriber_id == subscriber.id, now)
    _strip_deliveries(session, _test_mails_to(session, subscriber), now)
    session.execute(delete(Subscription).where(Subscription.subscriber_id == subscriber.id))
    session.execute(delete(Subscriber).where(Subscriber.id == subscriber.id))
    traces.left(session, now)
    session.expire_all()


def end_evidence(
    session: Session, subscription: Subscription, evidence: consent.Evidence, *, now: datetime
) -> None:
    """Destroy what is kept of one subscription; of its reader too, when it was their only one."""
    subscriber = subscription.subscriber
    others = select(func.count()).where(
        Subscription.subscriber_id == subscriber.id, Subscription.id != subscription.id
    )
    if not session.scalar(others):
        destroy(session, subscriber, evidence, now=now)
        return
    consent.record_erasure(session, subscriber, evidence, only=subscription, now=now)
    _strip_deliveries(session, Delivery.subscription_id == subscription.id, now)
    session.execute(delete(Subscription).where(Subscription.id == subscription.id))
    traces.left(session, now)
    session.expire_all()


def clean(engine: Engine, *, patience: float = 5, at_most: int | None = None) -> bool:
    """Overwrite what SQLite still holds of the erased: see newsletter.store.traces.

    Call it after the commit. False: others were in the way, and it is pending.
    """
    return traces.clean(engine, patience=patience, at_most=at_most)


def _test_mails_to(session: Session, subscriber: Subscriber) -> ColumnElement[bool]:
    """Test mails that an operator sent to the person's mailbox; they name no subscriber."""
    mailbox = addresses.parse(subscriber.address).mailbox
    # The first two words are those of the index ix_delivery_personal.
    query = select(Delivery.id, Delivery.address).where(
        text("delivery.letter <> 'digest'"),
        Delivery.state.in_(list(DeliveryState)),
        Delivery.letter == LetterName.TEST,
        Delivery.address.is_not(None),
    )
    # Compared here: SQLite folds the case of ASCII letters only.
    found = [
        row.id for row in session.execute(query) if addresses.parse(row.address).mailbox == mailbox
    ]
    return Delivery.id.in_(found)


def _strip_deliveries(session: Session, which: ColumnElement[bool], now: datetime) -> None:
    """Leave of each delivery its digest and its state, so that totals still add up.

    What was to be sent once more, and may have arrived the first time, is uncertain as it was.
    """
    session.execute(
        update(Delivery)
        .where(which, Delivery.state.in_(_NOT_YET_SENT))
        .values(state=or_uncertain(DeliveryState.SKIPPED), reason="erased", settled_at=now)
    )
    for row_id in session.scalars(select(Delivery.id).where(which)).all():
        session.execute(
            update(Delivery)
            .where(Delivery.id == row_id)
            .values(
                # The Message-ID in the person's mailbox is made of it.
                public_id=public_id(),
                subscriber_id=None,
                subscription_id=None,
                address=None,
                message_id=None,
                content_sha256=None,
                frozen=None,
                reply_code=None,
                reply_text=None,
            )
        )
