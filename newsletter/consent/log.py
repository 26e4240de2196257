"""Writing the consent log and reading it back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from newsletter.consent.event import SCHEMA, EventType, Evidence, canonical, commitment, timestamp
from newsletter.errors import SchemaError
from newsletter.store import ConsentEvent, Installation, Publication, Subscriber, Subscription


@dataclass(frozen=True)
class Subject:
    """Whom an event is about: the row ids and public names that it holds, and the key over it."""

    subscriber_id: int
    subscriber: str
    key: bytes
    subscription: str
    address: str
    address_key: str
    publication: str

    @classmethod
    def of(cls, subscription: Subscription) -> Subject:
        """The subject of an event about `subscription`."""
        return cls.made_of(subscription.publication, subscription.subscriber, subscription)

    @classmethod
    def made_of(
        cls, publication: Publication, subscriber: Subscriber, subscription: Subscription
    ) -> Subject:
        """The same, from rows that are not tied together yet."""
        return cls(
            subscriber_id=subscriber.id,
            subscriber=subscriber.public_id,
            key=subscriber.key,
            subscription=subscription.public_id,
            address=subscriber.address,
            address_key=subscriber.address_key,
            publication=publication.slug,
        )


@dataclass(frozen=True)
class Entry:
    """One event as read back. `fields` is empty once erased."""

    position: int
    commitment: bytes
    fields: dict[str, Any]

    @property
    def erased(self) -> bool:
        """Whether the clear text of the event was destroyed."""
        return not self.fields


def record(
    session: Session,
    kind: EventType,
    subscription: Subscription,
    evidence: Evidence,
    *,
    now: datetime,
) -> int:
    """Append one event, in the transaction of the change that it explains; returns its position."""
    return record_many(session, kind, [(Subject.of(subscription), evidence)], now=now)


def record_many(
    session: Session,
    kind: EventType,
    subjects: Sequence[tuple[Subject, Evidence]],
    *,
    now: datetime,
) -> int:
    """Append one event for each subject, in order; returns the first one's position."""
    first, _key = _take_positions(session, len(subjects))
    rows = []
    for position, (subject, evidence) in enumerate(subjects, first):
        fields = _common(kind, position, now) | evidence.fields()
        fields |= {
            "publication": subject.publication,
            "subscriber": subject.subscriber,
            "subscription": subject.subscription,
            "address": subject.address,
            "address_normalised": subject.address_key,
        }
        rows.append(_row(position, fields, subject.key, subject.subscriber_id))
    session.execute(insert(ConsentEvent), rows)
    return first


def record_erasure(
    session: Session, subscriber: Subscriber, evidence: Evidence, *, now: datetime
) -> int:
    """Destroy what opens a person's events, and append an event that lists the closed positions.

    The list is what tells an erasure from a deletion behind our back. The event is about nobody:
    its key is the installation's own.
    """
    # The position first: nobody appends between the events that are closed and the list of them.
    position, key = _take_positions(session, 1)
    closed = sorted(
        session.scalars(
            update(ConsentEvent)
            .where(ConsentEvent.subscriber_id == subscriber.id)
            .values(body=None, subscriber_id=None)
            .returning(ConsentEvent.position)
            .execution_options(synchronize_session=False)
        )
    )
    fields = _common(EventType.ERASED, position, now)
    fields |= {"actor": evidence.actor, "channel": evidence.channel, "closed": closed}
    session.execute(insert(ConsentEvent), [_row(position, fields, key, None)])
    return position


def entries(
    session: Session, subscriber_id: int | None = None, *, start: int = 0
) -> Iterator[Entry]:
    """The events in order, from position `start`: all of them, or one subscriber's."""
    query = select(ConsentEvent).where(ConsentEvent.position >= start)
    if subscriber_id is not None:
        query = query.where(ConsentEvent.subscriber_id == subscriber_id)
    query = query.order_by(ConsentEvent.position).execution_options(yield_per=1000)
    with session.scalars(query) as rows:
        for row in rows:
            yield Entry(row.position, row.commitment, json.loads(row.body) if row.body else {})


# What a confirmation takes over from the request that it confirms.
_DECLARED = ("box_ticked", "wording", "wording_version", "privacy_url", "privacy_version")


def declaration(session: Session, subscription: Subscription) -> dict[str, Any]:
    """What the person agreed to when they last asked for this subscription, as event fields.

    With `declared_at`, the position of the event that holds it; empty when no event does (an
    import, say).
    """
    found: dict[str, Any] = {}
    for entry in entries(session, subscription.subscriber_id):
        fields = entry.fields
        if fields["subscription"] == subscription.public_id and "wording" in fields:
            found = {name: fields[name] for name in _DECLARED if name in fields}
            found["declared_at"] = fields.get("declared_at", entry.position)
    return found


def _take_positions(session: Session, count: int) -> tuple[int, bytes]:
    """The first of `count` positions, and the installation's key.

    The UPDATE locks the row until the transaction ends: a rollback gives the positions back, and
    the next writer waits. So there is no gap and no fork.
    """
    session.flush()
    taken = session.execute(
        update(Installation)
        .values(log_size=Installation.log_size + count)
        .returning(Installation.log_size, Installation.log_key)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if taken is None:
        raise SchemaError("The database has no installation in it: newsletter migrate")
    return taken.log_size - count, taken.log_key


def _common(kind: EventType, position: int, now: datetime) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "event_id": str(uuid.uuid4()),
        "position": position,
        "type": str(kind),
        "time": timestamp(now),
    }


def _row(
    position: int, fields: dict[str, Any], key: bytes, subscriber_id: int | None
) -> dict[str, Any]:
    body = canonical(fields)
    return {
        "position": position,
        "commitment": commitment(key, fields["event_id"], body),
        "body": body,
        "subscriber_id": subscriber_id,
    }
