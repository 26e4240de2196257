"""Being forgotten: all that tells who somebody was is destroyed, and the log still verifies.

What stays: the commitments in the log, without their keys; deliveries as bare counts; and the
mailbox under a keyed hash, so that no import mails it again.
"""

from __future__ import annotations

from datetime import datetime
from sqlite3 import OperationalError

from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from newsletter import addresses, consent
from newsletter.store import (
    Delivery,
    DeliveryState,
    LetterName,
    Subscriber,
    Subscription,
    SuppressionReason,
    public_id,
)
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

    The suppression blocks imports only; the person's own new sign-up ends it.
    """
    if subscriber_by_public_id(session, subscriber.public_id) is None:  # locks the person
        return
    mailbox = addresses.parse(subscriber.address).mailbox_hash(hash_key)
    suppress(session, mailbox, SuppressionReason.ERASED, now=now)
    consent.record_erasure(session, subscriber, evidence, now=now)
    _strip_deliveries(session, subscriber, now)
    session.execute(delete(Subscription).where(Subscription.subscriber_id == subscriber.id))
    session.execute(delete(Subscriber).where(Subscriber.id == subscriber.id))
    session.expire_all()


def clean(engine: Engine) -> bool:
    """Overwrite what SQLite still holds in its free pages and its write-ahead log.

    Call it after the commit. secure_delete alone leaves traces; VACUUM and an emptied WAL leave
    none. Returns False when somebody else was in the way: the next call does it. The erasure
    itself is committed by then, so this raises nothing about a busy database.
    """
    if engine.dialect.name != "sqlite":
        return True
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA query_only=OFF")
        cursor.execute("VACUUM")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.close()
        return not busy
    except OperationalError:
        return False
    finally:
        connection.close()


def _strip_deliveries(session: Session, subscriber: Subscriber, now: datetime) -> None:
    """Leave of each delivery its digest and its state, so that totals still add up."""
    tests = [
        row.id
        for row in session.execute(
            select(Delivery.id, Delivery.address).where(
                Delivery.letter == LetterName.TEST, Delivery.address.is_not(None)
            )
        )
        if addresses.parse(row.address).key == subscriber.address_key
    ]
    of_person = or_(Delivery.subscriber_id == subscriber.id, Delivery.id.in_(tests))
    session.execute(
        update(Delivery)
        .where(of_person, Delivery.state.in_(_NOT_YET_SENT))
        .values(state=DeliveryState.SKIPPED, reason="erased", settled_at=now)
    )
    for row_id in session.scalars(select(Delivery.id).where(of_person)).all():
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
                reply_text=None,
            )
        )
