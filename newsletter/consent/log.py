"""Writing the consent log and reading it back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from newsletter.consent import fold, tree
from newsletter.consent.event import SCHEMA, EventType, Evidence, canonical, commitment, timestamp
from newsletter.errors import SchemaError
from newsletter.store import ConsentEvent, Installation, Publication, Subscriber, Subscription

_PIECE = 1000


@dataclass(frozen=True)
class Subject:
    """Whom an event is about: the row ids and public names that it holds, and the key over it."""

    subscriber_id: int
    subscriber: str
    key: bytes
    subscription_id: int
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
            subscription_id=subscription.id,
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
    taken = _take_positions(session, len(subjects))
    states = _states(session, {subject.subscription_id for subject, _ in subjects})
    rows = []
    for position, (subject, evidence) in enumerate(subjects, taken.first):
        fields = _common(kind, position, now) | evidence.fields()
        fields |= {
            "publication": subject.publication,
            "subscriber": subject.subscriber,
            "subscription": subject.subscription,
            "address": subject.address,
            "address_normalised": subject.address_key,
        }
        row = _row(position, fields, subject.key)
        state = fold.follows(kind, states.get(subject.subscription_id), evidence.status)
        if state is not None:
            states[subject.subscription_id] = state
        row |= {"subscriber_id": subject.subscriber_id, "state": state}
        rows.append(row | {"subscription_id": subject.subscription_id})
    _append(session, taken, rows)
    return taken.first


def record_erasure(
    session: Session,
    subscriber: Subscriber,
    evidence: Evidence,
    *,
    only: Subscription | None = None,
    now: datetime,
) -> int:
    """Destroy what opens a person's events, and append an event that lists the closed positions.

    The list is what tells an erasure from a deletion behind our back. The event is about nobody:
    its key is the installation's own.

    only: of the person's events those about this subscription. Their key stays with the others;
        an event's random id is gone with its bytes, and without it the key opens nothing.
    """
    # The position first: nobody appends between the events that are closed and the list of them.
    taken = _take_positions(session, 1)
    which = ConsentEvent.subscriber_id == subscriber.id
    if only is not None:
        which &= ConsentEvent.subscription_id == only.id
    closed = sorted(
        session.scalars(
            update(ConsentEvent)
            .where(which)
            .values(body=None, subscriber_id=None, subscription_id=None, state=None)
            .returning(ConsentEvent.position)
            .execution_options(synchronize_session=False)
        )
    )
    fields = _common(EventType.ERASED, taken.first, now)
    fields |= {"actor": evidence.actor, "channel": evidence.channel, "closed": closed}
    _append(session, taken, [_row(taken.first, fields, taken.key)])
    return taken.first


def record_recovery(
    session: Session, *, kept: str, found: str, after: int = 0, now: datetime
) -> int:
    """Begin the next log: its first leaf is an event that names what was signed and what is there.

    kept: the signed note that was kept outside of the database, "" when it is lost. found: the
    newest one in it, "" when there is none. after: the number of the log that `kept` is of: the
    database may be from before an earlier recovery, and no log is begun twice. The event says the
    number of the log that it begins.

    All events from before are leaves of the new tree too, in their order. The event is about
    nobody. Returns its position; ends a halt.
    """
    taken = _take_positions(session, 1)
    fields = _common(EventType.RECOVERED, taken.first, now)
    log = max(taken.log, after) + 1
    fields |= {"actor": "operator", "channel": "command", "kept": kept, "found": found, "log": log}
    row = _row(taken.first, fields, taken.key)
    session.execute(insert(ConsentEvent), [row])
    session.execute(
        update(Installation)
        .values(log_number=log, recovery_position=taken.first, log_fault=None, verified_size=0)
        .execution_options(synchronize_session=False)
    )
    tree.append(session, [row["commitment"]], log=log, size=0)
    for start in range(0, taken.first, _PIECE):
        piece = session.scalars(
            select(ConsentEvent.commitment)
            .where(ConsentEvent.position.between(start, min(start + _PIECE, taken.first) - 1))
            .order_by(ConsentEvent.position)
        )
        tree.append(session, piece, log=log, size=start + 1)
    session.expire_all()
    return taken.first


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


@dataclass(frozen=True)
class _Taken:
    """Positions for new events, from `first` on; the installation's key; the number of the log."""

    first: int
    key: bytes
    log: int


def _take_positions(session: Session, count: int) -> _Taken:
    """The next `count` positions.

    The UPDATE locks the row until the transaction ends: a rollback gives the positions back, and
    the next writer waits. So there is no gap and no fork.
    """
    session.flush()
    taken = session.execute(
        update(Installation)
        .values(log_size=Installation.log_size + count)
        .returning(Installation.log_size, Installation.log_key, Installation.log_number)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if taken is None:
        raise SchemaError("The database has no installation in it: newsletter migrate")
    return _Taken(taken.log_size - count, taken.log_key, taken.log_number)


def _append(session: Session, taken: _Taken, rows: list[dict[str, Any]]) -> None:
    """The events and their leaves."""
    session.execute(insert(ConsentEvent), rows)
    commitments = [row["commitment"] for row in rows]
    tree.append(session, commitments, log=taken.log, size=taken.first)


def _states(session: Session, subscription_ids: set[int]) -> dict[int, str]:
    """What the log says so far of the state of each of these subscriptions."""
    newest = (
        select(func.max(ConsentEvent.position))
        .where(ConsentEvent.subscription_id.in_(subscription_ids), ConsentEvent.state.is_not(None))
        .group_by(ConsentEvent.subscription_id)
    )
    found = session.execute(
        select(ConsentEvent.subscription_id, ConsentEvent.state).where(
            ConsentEvent.position.in_(newest)
        )
    )
    return {row.subscription_id: row.state for row in found}


def _common(kind: EventType, position: int, now: datetime) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "event_id": str(uuid.uuid4()),
        "position": position,
        "type": str(kind),
        "time": timestamp(now),
    }


def _row(position: int, fields: dict[str, Any], key: bytes) -> dict[str, Any]:
    """The columns of an event that is about nobody; those of a person's are added."""
    body = canonical(fields)
    return {
        "position": position,
        "commitment": commitment(key, fields["event_id"], body),
        "body": body,
        "subscriber_id": None,
        "subscription_id": None,
        "state": None,
    }
