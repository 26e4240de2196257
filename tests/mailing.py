"""What the tests of sending and of the worker share: an approved digest, readers, quick rows."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.links import Links
from newsletter.sending import claim, lease, queue
from newsletter.sending.write import Mail, Origin, mails

HASH_KEY = b"h" * 32
ORIGIN = Origin(Links("https://news.example.org", ("s" * 40,)), HASH_KEY)

FROZEN: dict[str, Any] = {
    "version": 1,
    "content": {"language": "en"},
    "subject": "The meadow in March",
    "text": "@greeting@\n\nThe meadow is green.\n\nLeave: @unsubscribe@\nYours: @preferences@\n",
    "html": "<p>@greeting@</p><p>The meadow is green.</p>"
    '<a href="@unsubscribe@">Leave</a> <a href="@preferences@">Yours</a>',
    "slots": {
        "greeting": "@greeting@",
        "unsubscribe_url": "@unsubscribe@",
        "preferences_url": "@preferences@",
    },
}


_WAY = {
    "pending": ("requested",),
    "confirmed": ("requested", "confirmed"),
    "unsubscribed": ("requested", "confirmed", "withdrawn"),
    "bounced": ("requested", "confirmed", "bounced"),
    "complained": ("requested", "confirmed", "complained"),
}


def tell_log(session: Session, subscription: store.Subscription, now: datetime) -> None:
    """The events that led to the subscription's state: the gate asks the log, not the table."""
    by = consent.Evidence(actor="subscriber", channel="form")
    for kind in _WAY[subscription.state]:
        consent.record(session, consent.EventType(kind), subscription, by, now=now)


def approved_digest(session: Session, publication: store.Publication, now: datetime, **over: Any):
    """A digest that may be sent."""
    digest = store.Digest(
        publication=publication, subject="The meadow in March", created_at=now, **over
    )
    session.add(digest)
    session.flush()
    digest.approve(FROZEN, now)
    session.flush()
    return digest


def queue_all(session: Session, digest: store.Digest, now: datetime) -> None:
    """Begin sending, with a row for every confirmed reader."""
    queue.begin(session, digest, now=now)
    while queue.piece(session, digest, now=now):
        pass


def worker(session: Session, now: datetime, name: str = "me", seconds: float = 900) -> None:
    """A worker that holds a lease for so long; one that is over for a negative number."""
    session.merge(store.Worker(public_id=name, host="h", pid=1, started_at=now, seen_at=now))
    session.flush()
    lease.renew(session, name, seconds)


def claimed_mail(session: Session, digest: store.Digest, now: datetime) -> Mail:
    """The digest's next mail, claimed and written."""
    held = claim.digest(session, digest.id, "me", limit=1, now=now)
    written, unwritable = mails(session, held, ORIGIN)
    assert not unwritable
    return written[0]


def many_readers(
    session: Session,
    publication: store.Publication,
    n: int,
    now: datetime,
    domain: str = "example.net",
) -> None:
    """Confirmed readers reader-0@example.net, reader-1@..., made quickly.

    domain: "{}" in it is the reader's number.
    """
    addresses = [f"reader-{number}@{domain.format(number)}" for number in range(n)]
    session.execute(
        insert(store.Subscriber),
        [{"address": text, "address_key": text, "created_at": now} for text in addresses],
    )
    made = select(store.Subscriber.id).where(store.Subscriber.address.like("reader-%@%"))
    session.execute(
        insert(store.Subscription),
        [
            {
                "publication_id": publication.id,
                "subscriber_id": number,
                "state": "confirmed",
                "pending_since": now,
                "confirmed_at": now,
                "created_at": now,
            }
            for number in session.scalars(made.order_by(store.Subscriber.id))
        ],
    )
    by = consent.Evidence(actor="operator", channel="import", status="confirmed")
    rows = session.scalars(select(store.Subscription).where(store.Subscription.confirmed_at == now))
    known = set(session.scalars(select(store.ConsentEvent.subscription_id)))
    subjects = [(consent.Subject.of(row), by) for row in rows if row.id not in known]
    consent.record_many(session, consent.EventType.IMPORTED, subjects, now=now)


def states(engine: Engine) -> dict[str, int]:
    """How many deliveries are in each state."""
    with store.reading(engine) as session:
        return dict(Counter(session.scalars(select(store.Delivery.state))))


def leave(engine: Engine, address: str, now: datetime) -> None:
    """The reader of this address unsubscribes from everything."""
    with store.transaction(engine) as session:
        for subscription in session.scalars(
            select(store.Subscription)
            .join(store.Subscriber)
            .where(store.Subscriber.address == address)
        ):
            subscription.end(store.SubscriptionState.UNSUBSCRIBED, now)
            by = consent.Evidence(actor="subscriber", channel="link")
            consent.record(session, consent.EventType.WITHDRAWN, subscription, by, now=now)
