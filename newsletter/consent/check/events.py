"""Each event against its commitment, and each column beside it against the event.

The clear columns decide whom a mail may go to, so they are held against the words that were
committed to: whom an event is about, which subscription, the address, and the state that follows.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session, aliased

from newsletter.consent import fold
from newsletter.consent.check import fault
from newsletter.consent.check.closures import Closures, still_there
from newsletter.consent.event import EventType, canonical, commitment
from newsletter.store import ConsentEvent, Publication, Subscriber, Subscription

_PIECE = 1000
_KEY_SIZE = 32  # standards: HMAC pads a shorter key with zeros, so that two keys could be one


def rows(session: Session, *, start: int, size: int) -> Iterator[Row[Any]]:
    """The events from `start` to `size` in order, with what their columns name.

    Raises ConsentLogError where one is missing.
    """
    query = _query()
    for low in range(start, size, _PIECE):
        high = min(low + _PIECE, size)
        expected = low
        piece = session.execute(query.where(ConsentEvent.position.between(low, high - 1))).all()
        for row in piece:
            if row.position != expected:
                raise fault.at(expected, "the event is missing")
            yield row
            expected += 1
        if expected != high:
            raise fault.at(expected, "the event is missing")


def check_end(session: Session, size: int) -> None:
    """No event stands outside of the log's positions."""
    event = ConsentEvent
    query = select(event.position).where((event.position < 0) | (event.position >= size))
    beyond = session.scalar(query.order_by(event.position).limit(1))
    if beyond is not None:
        raise fault.at(beyond, f"the log should have {size} events, and this one is beyond them")


def check(row: Row[Any], closures: Closures, log_key: bytes) -> None:
    """One row of `rows`. Raises ConsentLogError with what does not fit."""
    position = row.position
    if row.body is None:
        if any(each is not None for each in (row.subscriber_id, row.subscription_id, row.state)):
            raise fault.at(position, "the event's words are gone")
        if not closures.closes(position):
            raise fault.at(position, "the event's words are gone, and no erasure says so")
        return
    fields = _open(row, log_key)
    if closures.closes(position):
        raise still_there(position)
    _check_subject(row, fields)
    if fields["type"] == EventType.ERASED:
        closures.check_list(position)
    _check_state(row, fields)


@cache
def _query() -> Select[Any]:
    earlier = aliased(ConsentEvent)
    before = (
        select(earlier.state)
        .where(
            earlier.subscription_id == ConsentEvent.subscription_id,
            earlier.position < ConsentEvent.position,
            earlier.state.is_not(None),
        )
        .order_by(earlier.position.desc())
        .limit(1)
        .correlate(ConsentEvent)
        .scalar_subquery()
    )
    return (
        select(
            ConsentEvent.position,
            ConsentEvent.commitment,
            ConsentEvent.body,
            ConsentEvent.subscriber_id,
            ConsentEvent.subscription_id,
            ConsentEvent.state,
            before.label("before"),
            Subscriber.public_id.label("subscriber"),
            Subscriber.key,
            Subscriber.address,
            Subscriber.address_key,
            Subscription.public_id.label("subscription"),
            Subscription.subscriber_id.label("owner_id"),
            Publication.slug,
        )
        .select_from(ConsentEvent)
        .outerjoin(Subscriber, Subscriber.id == ConsentEvent.subscriber_id)
        .outerjoin(Subscription, Subscription.id == ConsentEvent.subscription_id)
        .outerjoin(Publication, Publication.id == Subscription.publication_id)
        .order_by(ConsentEvent.position)
    )


def _open(row: Row[Any], log_key: bytes) -> dict[str, Any]:
    """The fields of an event that its commitment vouches for."""
    position = row.position
    # SQLite stores text where we wrote bytes, if told to.
    if not isinstance(row.body, bytes):
        raise fault.at(position, "the event cannot be read")
    try:
        fields: dict[str, Any] = json.loads(row.body)
        is_same = canonical(fields) == row.body
        event_id, named, _kind = fields["event_id"], fields["position"], EventType(fields["type"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fault.at(position, "the event cannot be read") from error
    key = row.key if row.subscriber_id is not None else log_key
    if not isinstance(key, bytes) or len(key) != _KEY_SIZE:
        raise fault.at(position, "the key that opens the event is missing or damaged")
    expected = commitment(key, str(event_id), row.body)
    is_committed = isinstance(row.commitment, bytes) and hmac.compare_digest(
        expected, row.commitment
    )
    if not is_same or not is_committed:
        raise fault.at(position, "the event does not open its commitment")
    if named != position:
        raise fault.at(position, f"the event belongs at position {named}")
    return fields


def _check_subject(row: Row[Any], fields: dict[str, Any]) -> None:
    position = row.position
    subscriber, subscription = fields.get("subscriber"), fields.get("subscription")
    if subscriber != row.subscriber or (subscriber is None) != (row.subscriber_id is None):
        raise fault.at(position, "the event is about another subscriber than its row")
    if subscription != row.subscription or (subscription is None) != (row.subscription_id is None):
        raise fault.at(position, "the event is about another subscription than its row")
    if subscription is None:
        return
    if row.owner_id != row.subscriber_id:
        raise fault.at(position, "the event's subscription belongs to another subscriber")
    # Events of older versions do not have the normalised address.
    normalised = fields.get("address_normalised", row.address_key)
    if (fields.get("address"), normalised) != (row.address, row.address_key):
        raise fault.at(position, "the event's subscriber has another address in the table")
    if fields.get("publication") != row.slug:
        raise fault.at(position, "the event's subscription is to another publication in the table")


def _check_state(row: Row[Any], fields: dict[str, Any]) -> None:
    name = fields.get("subscription", "")
    states: dict[str, str] = {} if row.before is None else {name: row.before}
    if wrong := fold.apply(states, fields):
        raise fault.at(row.position, wrong)
    after = states.get(name)
    expected = None if after == row.before else after
    if row.state != expected:
        raise fault.at(
            row.position,
            f"the event leads to the state {expected or 'before it'}, "
            f"its column says {row.state or 'that it moves none'}",
        )
