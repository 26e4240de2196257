"""Putting a person's letter into the outbox, and how many of them one mailbox may get."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, update
from sqlalchemy.orm import Session

from newsletter.addresses import parse as parse_address
from newsletter.store.base import public_id
from newsletter.store.find import inserter
from newsletter.store.outbox import Delivery, LetterName
from newsletter.store.people import LetterQuota, Publication, Subscriber, Subscription

# By letter: the shortest time between two of them to one mailbox, and how many there may be until
# one is answered (None: no end). The confirmation's are what M3AAWG asks for against list bombing.
QUOTAS: dict[LetterName, tuple[timedelta, int | None]] = {
    LetterName.CONFIRMATION: (timedelta(hours=24), 3),
    LetterName.ALREADY_CONFIRMED: (timedelta(hours=24), None),
    LetterName.ACCESS: (timedelta(hours=1), None),
}


def message_id(name: str, publication: Publication) -> str:
    """The Message-ID of the delivery called `name` (its public id); RFC 5322 §3.6.4."""
    domain = publication.from_address.rpartition("@")[2]
    if not domain.isascii():
        domain = parse_address(publication.from_address).domain
    return f"<{name}@{domain}>"


def new_letter(
    session: Session,
    letter: LetterName,
    publication: Publication,
    subscriber: Subscriber,
    subscription: Subscription | None,
    *,
    now: datetime,
) -> Delivery:
    """Queue `letter` for one person; it leaves with the transaction's commit, or not at all."""
    name = public_id()
    delivery = Delivery(
        public_id=name,
        letter=letter,
        publication_id=publication.id,
        subscriber_id=subscriber.id,
        subscription_id=subscription.id if subscription else None,
        address=subscriber.address,
        message_id=message_id(name, publication),
        due_at=now,
        created_at=now,
    )
    session.add(delivery)
    session.flush()
    return delivery


def take_quota(session: Session, mailbox_hash: bytes, letter: LetterName, *, now: datetime) -> bool:
    """Count one more `letter` to a mailbox; False when its quota is used up, and nothing changes.

    One statement, so that a thousand sign-ups at the same moment still get one mail.
    """
    interval, most = QUOTAS[letter]
    fits = LetterQuota.last_at <= now - interval
    if most is not None:
        fits = and_(fits, LetterQuota.sent < most)
    statement = (
        inserter(session)(LetterQuota)
        .values(mailbox_hash=mailbox_hash, letter=letter, sent=1, last_at=now)
        .on_conflict_do_update(
            index_elements=[LetterQuota.mailbox_hash, LetterQuota.letter],
            set_={"sent": LetterQuota.sent + 1, "last_at": now},
            where=fits,
        )
        .returning(LetterQuota.sent)
    )
    return session.execute(statement).first() is not None


def answered(session: Session, mailbox_hash: bytes, letter: LetterName) -> None:
    """The person answered a `letter`: the count begins anew, the time of the last one stays."""
    session.execute(
        update(LetterQuota)
        .where(LetterQuota.mailbox_hash == mailbox_hash, LetterQuota.letter == letter)
        .values(sent=0)
    )
