"""Making the outbox rows of a digest: one for each confirmed reader, once.

Queueing goes in pieces, each a short transaction that also moves the digest's mark; a crash
between two of them goes on where it stopped. That a reader has one row for a digest is kept by
the database, whatever happens here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, String, and_, cast, exists, func, literal, select
from sqlalchemy.orm import Session

from newsletter.addresses import Address
from newsletter.errors import LogFault, WrongState
from newsletter.sending.gate import halted, recorded
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    DigestState,
    LetterName,
    Subscriber,
    Subscription,
    SubscriptionState,
    UTCDateTime,
    public_id,
)
from newsletter.store.base import RowId
from newsletter.store.find import inserter
from newsletter.store.letters import message_id

# A fifth of a second on SQLite, where everybody else who writes waits for it.
PIECE = 20_000

# 60 random bits in hex. PostgreSQL's are the end of a random UUID (RFC 9562 §5.4), the hyphen
# taken out.
_UUID = cast(func.gen_random_uuid(), String)
_RANDOM_ON_POSTGRESQL = func.replace(func.right(_UUID, 16), "-", "", type_=String)
_RANDOM_ON_SQLITE = func.substr(func.lower(func.hex(func.randomblob(8))), 2, type_=String)


# Whatever the wall clock says, or said when the rows were made: a fresh mail waits for no moment.
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)


def begin(session: Session, digest: Digest, *, now: datetime, at: datetime | None = None) -> None:
    """Send an approved digest now, or let a worker begin `at` a later time.

    A second time it changes nothing: a digest that is being sent, or was, stays as it is.

    Raises WrongState for a digest that is not approved yet, is paused or was cancelled.
    """
    lock(session, digest)
    if digest.state in (DigestState.SENDING, DigestState.SENT):
        return
    if at is not None and at > now and digest.state == DigestState.APPROVED:
        digest.send_at = at
        session.flush()
        return
    if digest.state == DigestState.PAUSED:
        raise WrongState(f"Digest {digest.id} is paused. Go on with: newsletter resume {digest.id}")
    digest.start()
    digest.queued_up_to = 0
    session.flush()


def scheduled(session: Session, now: datetime) -> list[Digest]:
    """The approved digests whose time has come, the earliest first; locked (PostgreSQL).

    None while sending is halted.
    """
    query = (
        select(Digest)
        .where(Digest.state == DigestState.APPROVED, Digest.send_at <= now, ~halted())
        .order_by(Digest.send_at, Digest.id)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def unfinished(session: Session, digest_id: int | None = None) -> Digest | None:
    """A digest that is being sent and has readers without a row yet; locked (PostgreSQL).

    One that another worker is queueing at this moment is left out; none while sending is halted.
    digest_id: only this one.
    """
    query = (
        select(Digest)
        .where(Digest.state == DigestState.SENDING, Digest.queued_at.is_(None), ~halted())
        .order_by(Digest.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if digest_id is not None:
        query = query.where(Digest.id == digest_id)
    return session.scalars(query).one_or_none()


def is_unfinished(session: Session, digest_ids: Collection[int]) -> bool:
    """Whether one of these digests has readers without a row yet, whoever is queueing it."""
    query = exists().where(Digest.id.in_(digest_ids), Digest.queued_at.is_(None))
    return bool(session.scalar(select(query)))


def piece(session: Session, digest: Digest, *, size: int = PIECE, now: datetime) -> int:
    """Make the rows of the next `size` confirmed readers; how many readers these were.

    Confirmed is who is so in the table and in the consent log; whom the log does not know as
    confirmed is passed over, and counted.

    0 means that everybody has a row, and the digest's `queued_at` says since when.

    Raises WrongState when the digest is not being sent, LogFault when sending is halted.
    """
    lock(session, digest)
    if digest.queued_at is not None:
        return 0
    if digest.state != DigestState.SENDING:
        raise WrongState(f"Digest {digest.id} is {digest.state}; it is not being sent.")
    if session.scalar(select(halted())):
        raise LogFault("Sending stands still. See what is wrong: newsletter consent verify --full")
    after = digest.queued_up_to or 0
    # From the index on publication and state alone.
    next_ones = (
        select(Subscription.id)
        .where(_readers(digest), Subscription.id > after)
        .order_by(Subscription.id)
        .limit(size)
        .subquery()
    )
    last, readers = session.execute(select(func.max(next_ones.c.id), func.count())).one()
    if not readers:
        digest.queued_at = now
        session.flush()
        return 0
    session.connection().execute(_insert(session, digest, after, last, now=now))
    digest.queued_up_to = last
    session.flush()
    return int(readers)


def _readers(digest: Digest) -> ColumnElement[bool]:
    return and_(
        Subscription.publication_id == digest.publication_id,
        Subscription.state == SubscriptionState.CONFIRMED,
    )


def _insert(session: Session, digest: Digest, after: int, last: int, *, now: datetime) -> Insert:
    """INSERT ... SELECT of the rows for the subscriptions after `after` up to `last`.

    The rows never leave the database, which makes a million of them in some seconds.

    Their names are like those of newsletter.store.public_id, but a piece shares the first digits:
    so they go into one part of the index, and a piece does not write all of the index anew.
    """
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    its_own = _RANDOM_ON_POSTGRESQL if is_postgresql else _RANDOM_ON_SQLITE
    # MATERIALIZED: a name is made once for each row, and stands in two of its columns.
    who = (
        select(
            Subscription.id.label("subscription_id"),
            Subscriber.id.label("subscriber_id"),
            Subscriber.address,
            (literal(public_id()[:5]) + its_own).label("name"),
        )
        .join(Subscriber, Subscriber.id == Subscription.subscriber_id)
        .where(
            _readers(digest),
            Subscription.id > after,
            Subscription.id <= last,
            recorded(Subscription.id, around=Subscription),
        )
        .order_by(Subscription.id)
        .cte("who")
        .prefix_with("MATERIALIZED")
    )
    before, _name, behind = message_id("NAME", digest.publication).partition("NAME")
    columns: dict[str, Any] = {
        "public_id": who.c.name,
        "letter": literal(LetterName.DIGEST.value),
        "publication_id": literal(digest.publication_id, RowId),
        "digest_id": literal(digest.id, RowId),
        "subscriber_id": who.c.subscriber_id,
        "subscription_id": who.c.subscription_id,
        "address": who.c.address,
        "message_id": literal(before) + who.c.name + literal(behind),
        "state": literal(DeliveryState.QUEUED.value),
        "epoch": literal(0),
        "attempts": literal(0),
        "due_at": literal(_AT_ONCE, UTCDateTime),
        "created_at": literal(now, UTCDateTime),
    }
    rows = select(*columns.values()).order_by(who.c.subscription_id)
    # A WHERE, or SQLite takes the ON of ON CONFLICT for that of a join.
    rows = rows.where(who.c.subscription_id.is_not(None))
    return (
        inserter(session)(Delivery)
        .from_select(list(columns), rows)
        .on_conflict_do_nothing(index_elements=[Delivery.digest_id, Delivery.subscriber_id])
    )


def test(
    session: Session,
    digest: Digest,
    address: Address,
    now: datetime,
    *,
    frozen: Mapping[str, Any] | None = None,
) -> Delivery:
    """Queue a test mail of a digest to `address`, subject marked; it counts for no digest.

    frozen: a draft's content, frozen for this mail alone; None takes the approved content.

    Raises WrongState when there is neither.
    """
    content = frozen if frozen is not None else digest.frozen
    if content is None:
        raise WrongState(f"Digest {digest.id} is {digest.state} and has no content to test yet.")
    name = public_id()
    delivery = Delivery(
        public_id=name,
        letter=LetterName.TEST,
        publication_id=digest.publication_id,
        address=address.spelling,
        message_id=message_id(name, digest.publication),
        frozen=dict(content),
        due_at=now,
        created_at=now,
    )
    session.add(delivery)
    session.flush()
    return delivery


def lock(session: Session, digest: Digest) -> None:
    """See the digest as it is now, and keep others from changing it until the commit."""
    session.flush()
    session.refresh(digest, with_for_update={"of": Digest})
