"""Named queries about people, their subscriptions and their suppressions.

Whoever changes something locks in this order, so that two changes of one person wait for each other
and never for ever: the subscriber's row, the mailbox's quota, the installation's row (the log).
On SQLite a writing transaction has the whole database, and locking is nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload

from newsletter.addresses import Address
from newsletter.store.base import public_id
from newsletter.store.outbox import Delivery, LetterName
from newsletter.store.people import (
    Publication,
    Subscriber,
    Subscription,
    Suppression,
    SuppressionReason,
)


def inserter(session: Session) -> type[postgresql.Insert] | type[sqlite.Insert]:
    """INSERT with ON CONFLICT, in the words of the session's database."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.Insert
    return sqlite.Insert


def subscriber_by_key(session: Session, address_key: str) -> Subscriber | None:
    """The subscriber with this normalised address, locked for writing."""
    _lock(session, Subscriber.address_key == address_key)
    return session.scalars(
        select(Subscriber).where(Subscriber.address_key == address_key)
    ).one_or_none()


def subscriber_by_public_id(session: Session, name: str) -> Subscriber | None:
    """The subscriber that a link names, locked for writing; None when erased meanwhile."""
    _lock(session, Subscriber.public_id == name)
    return session.scalars(select(Subscriber).where(Subscriber.public_id == name)).one_or_none()


def subscription_by_public_id(session: Session, name: str) -> Subscription | None:
    """The subscription that a link names, its subscriber locked for writing."""
    named = select(Subscription.subscriber_id).where(Subscription.public_id == name)
    _lock(session, Subscriber.id == named.scalar_subquery())
    query = (
        select(Subscription)
        .where(Subscription.public_id == name)
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    )
    return session.scalars(query).one_or_none()


def confirmation(session: Session, name: str) -> tuple[Delivery, Subscription] | None:
    """The confirmation mail that a link names, with its subscription; the subscriber is locked."""
    named = select(Delivery.subscriber_id).where(Delivery.public_id == name)
    _lock(session, Subscriber.id == named.scalar_subquery())
    query = (
        select(Delivery, Subscription)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(Delivery.public_id == name, Delivery.letter == LetterName.CONFIRMATION)
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    )
    found = session.execute(query).one_or_none()
    return (found[0], found[1]) if found else None


def _lock(session: Session, which: ColumnElement[bool]) -> None:
    """Wait until nobody else changes this person; a session that only reads does not wait."""
    if not session.connection().get_execution_options().get("newsletter_reading", False):
        session.execute(select(Subscriber.id).where(which).with_for_update())


def ensure_subscriber(
    session: Session, address: Address, *, name: str | None, language: str, now: datetime
) -> tuple[Subscriber, bool]:
    """The subscriber of this address, made if need be; and whether it was made just now.

    The unique constraint settles a race: of two sign-ups at the same moment, one makes the row.
    """
    made = session.execute(
        inserter(session)(Subscriber)
        .values(
            public_id=public_id(),
            address=address.spelling,
            address_key=address.key,
            name=name,
            language=language,
            key=secrets.token_bytes(32),
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[Subscriber.address_key])
        .returning(Subscriber.id)
    ).first()
    subscriber = subscriber_by_key(session, address.key)
    assert subscriber is not None  # noqa: S101 - just made, or the conflicting one
    return subscriber, made is not None


def ensure_subscription(
    session: Session, publication: Publication, subscriber: Subscriber, *, now: datetime
) -> tuple[Subscription, bool]:
    """The subscription, pending when it was made just now; and whether it was."""
    made = session.execute(
        inserter(session)(Subscription)
        .values(
            public_id=public_id(),
            publication_id=publication.id,
            subscriber_id=subscriber.id,
            pending_since=now,
            created_at=now,
        )
        .on_conflict_do_nothing(
            index_elements=[Subscription.publication_id, Subscription.subscriber_id]
        )
        .returning(Subscription.id)
    ).first()
    subscription = session.scalars(
        select(Subscription)
        .where(
            Subscription.publication_id == publication.id,
            Subscription.subscriber_id == subscriber.id,
        )
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    ).one()
    return subscription, made is not None


def suppressions(session: Session, hashes: Iterable[bytes]) -> dict[bytes, set[str]]:
    """Which of these mailboxes must not be mailed, and why."""
    found: dict[bytes, set[str]] = {}
    for row in session.scalars(
        select(Suppression).where(Suppression.mailbox_hash.in_(list(hashes)))
    ):
        found.setdefault(row.mailbox_hash, set()).add(row.reason)
    return found


def suppress(
    session: Session, mailbox_hash: bytes, reason: SuppressionReason, *, now: datetime
) -> None:
    """This mailbox must not be mailed any more; a second time changes nothing."""
    session.execute(
        inserter(session)(Suppression)
        .values(mailbox_hash=mailbox_hash, reason=reason, created_at=now)
        .on_conflict_do_nothing(index_elements=[Suppression.mailbox_hash, Suppression.reason])
    )


def lift(session: Session, mailbox_hash: bytes, reasons: Sequence[SuppressionReason]) -> int:
    """Take suppressions for these reasons back; how many there were."""
    removed = session.execute(
        delete(Suppression)
        .where(Suppression.mailbox_hash == mailbox_hash, Suppression.reason.in_(reasons))
        .returning(Suppression.id)
    )
    return len(removed.all())
