"""Each mail of a digest and what became of it, however many they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.store import Delivery, DeliveryState, Digest

_PIECE = 1000

# What is told of a mail; a key of each row that `deliveries` yields.
_COLUMNS = (
    Delivery.address,
    Delivery.state,
    Delivery.reason,
    Delivery.attempts,
    Delivery.reply_code,
    Delivery.reply_text,
    Delivery.due_at,
    Delivery.settled_at,
    Delivery.retried_at,
    Delivery.message_id,
)
_NAMES = tuple(column.key for column in _COLUMNS)


def deliveries(
    session: Session, digest: Digest, now: datetime, state: DeliveryState | None = None
) -> Iterator[dict[str, Any]]:
    """The mails of `digest`, or those in one state, as they are read: a thousand at a time.

    Each: address (None once erased), state, reason (why it was skipped or failed), attempts,
    reply_code and reply_text (the relay's last words: hostile), due_at (when a mail that was put
    off is tried next; None for all others), settled_at, retried_at (when it was let go once more),
    message_id.

    State by state, and within each those that are due first come first. The session should see
    all as of one moment, as newsletter.store.reading does: a mail that changes its state between
    two thousands would be left out, or come twice.
    """
    for each in [state] if state is not None else DeliveryState:
        yield from _in_state(session, digest.id, now, each)


def _in_state(
    session: Session, digest_id: int, now: datetime, state: DeliveryState
) -> Iterator[dict[str, Any]]:
    # The order of the index on digest, state, due_at and id: each page is found at once.
    page = (
        select(*_COLUMNS, Delivery.id)
        .where(Delivery.digest_id == digest_id, Delivery.state == state)
        .order_by(Delivery.due_at, Delivery.id)
        .limit(_PIECE)
    )
    rows = session.execute(page).all()
    while rows:
        for row in rows:
            told = dict(zip(_NAMES, row, strict=False))
            yield told if _is_put_off(told, now) else told | {"due_at": None}
        due_at, number = rows[-1].due_at, rows[-1].id
        # In two steps: SQLite would go through all that are due at the same moment to compare both.
        same = page.where(Delivery.due_at == due_at, Delivery.id > number)
        rows = session.execute(same).all()
        if not rows:
            rows = session.execute(page.where(Delivery.due_at > due_at)).all()


def _is_put_off(row: dict[str, Any], now: datetime) -> bool:
    """Whether its moment says something: a row keeps the one that it was claimed at, or made with.

    A mail waits because the relay put it off, or in the queue for its domain's turn.
    """
    is_queued: bool = row["state"] == DeliveryState.QUEUED
    return row["state"] == DeliveryState.DEFERRED or (is_queued and row["due_at"] > now)
