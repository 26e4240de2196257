"""Checking the log: every position, every commitment, every erasure, and the states that follow.

What this proves: the clear events are the ones that were committed to, none is missing, and the
state tables say what the log says.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.consent import fold
from newsletter.consent.event import EventType, canonical, commitment
from newsletter.errors import ConsentLogError
from newsletter.store import ConsentEvent, Installation, Subscriber, Subscription

_PIECE = 1000

Progress = Callable[[int, int], None]


@dataclass
class Report:
    """What was checked: events in all, those erased, and the state of each subscription."""

    events: int = 0
    erased: int = 0
    states: dict[str, str] = field(default_factory=dict)


def verify(session: Session, progress: Progress | None = None) -> Report:
    """Check the whole log against itself and against the state tables.

    progress: called with (events checked, events in all) now and then.

    Raises ConsentLogError with the first fault and its position.
    """
    installation = session.scalars(select(Installation)).one_or_none()
    if installation is None:
        raise ConsentLogError("The database has no installation in it.")
    report = Report()
    open_positions: set[int] = set()  # without a body, and not yet explained by an erasure
    for row, public_id, key in _rows(session):
        if row.position != report.events:
            raise ConsentLogError(f"position {report.events}: the event is missing")
        if row.body is None:
            if row.subscriber_id is not None:
                raise ConsentLogError(f"position {row.position}: the event's words are gone")
            open_positions.add(row.position)
            report.erased += 1
        else:
            fields = _open(row, public_id, key or installation.log_key)
            if fields["type"] == EventType.ERASED:
                _close(row.position, fields, open_positions)
            elif fault := fold.apply(report.states, fields):
                raise ConsentLogError(f"position {row.position}: {fault}")
        report.events += 1
        if progress and report.events % _PIECE == 0:
            progress(report.events, installation.log_size)
    if report.events != installation.log_size:
        raise ConsentLogError(
            f"position {report.events}: the log should have {installation.log_size} events, "
            f"it has {report.events}"
        )
    if open_positions:
        raise ConsentLogError(
            f"position {min(open_positions)}: the event's words are gone, and no erasure says so"
        )
    _compare(session, report.states)
    if progress:
        progress(report.events, installation.log_size)
    return report


def _rows(session: Session) -> Iterator[tuple[ConsentEvent, str | None, bytes | None]]:
    """All events with their subscriber's public id and key, a piece at a time."""
    after = -1
    while True:
        piece = session.execute(
            select(ConsentEvent, Subscriber.public_id, Subscriber.key)
            .outerjoin(Subscriber, Subscriber.id == ConsentEvent.subscriber_id)
            .where(ConsentEvent.position > after)
            .order_by(ConsentEvent.position)
            .limit(_PIECE)
        ).all()
        if not piece:
            return
        yield from ((row, public_id, key) for row, public_id, key in piece)
        after = piece[-1][0].position
        session.expunge_all()


def _open(row: ConsentEvent, public_id: str | None, key: bytes) -> dict[str, Any]:
    where = f"position {row.position}"
    if not isinstance(row.body, bytes):  # SQLite stores text where we wrote bytes, if told to
        raise ConsentLogError(f"{where}: the event cannot be read")
    try:
        fields: dict[str, Any] = json.loads(row.body)
        is_same = canonical(fields) == row.body
        event_id, named = fields["event_id"], fields.get("subscriber")
        position, _kind = fields["position"], EventType(fields["type"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConsentLogError(f"{where}: the event cannot be read") from error
    expected = commitment(key, str(event_id), row.body)
    if not is_same or not hmac.compare_digest(expected, row.commitment):
        raise ConsentLogError(f"{where}: the event does not open its commitment")
    if position != row.position:
        raise ConsentLogError(f"{where}: the event belongs at position {position}")
    if named != public_id:
        raise ConsentLogError(f"{where}: the event is about another subscriber than its row")
    return fields


def _close(position: int, fields: dict[str, Any], open_positions: set[int]) -> None:
    for closed in fields["closed"]:
        if closed not in open_positions:
            raise ConsentLogError(
                f"position {closed}: an erasure (position {position}) names it, "
                "but the event is still there"
            )
        open_positions.remove(closed)


def _compare(session: Session, states: dict[str, str]) -> None:
    """The state table says what the log says, no more and no less."""
    rows = select(Subscription.public_id, Subscription.state).execution_options(yield_per=_PIECE)
    with session.execute(rows) as found:
        for name, state in found:
            said = states.get(name)
            if said != state:
                raise ConsentLogError(
                    f"subscription {name}: the table says {state}, the log says {said or 'nothing'}"
                )
    count = session.scalar(select(func.count()).select_from(Subscription))
    if count != len(states):
        raise ConsentLogError(
            f"the log knows {len(states)} subscriptions, the table has {count} of them"
        )
