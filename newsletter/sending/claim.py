"""Taking rows for one worker, and giving them back.

A claim is one statement that raises the row's epoch. Whatever a worker does later names the epoch
that it was given, so a worker that slept through its lease changes nothing when it wakes up: its
epoch is old. The clock decides only how soon a dead worker's rows are taken over, never whether a
mail is sent twice.

The lease is the worker's, not the row's (newsletter.sending.lease): a row whose owner has none any
more is taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from newsletter.sending import lease
from newsletter.sending.gate import CANCELLED, halted
from newsletter.store import Delivery, DeliveryState, Digest, DigestState, LetterName
from newsletter.store.doubt import doubt_alone, or_uncertain
from newsletter.store.prepared import Prepared

# Word for word the condition of the index ix_delivery_personal: with a parameter in its place,
# SQLite would not use the index and read a million digest rows instead.
PERSONAL = text("delivery.letter <> 'digest'")

# What stands still while sending is halted would be claimed and given back without end.
_GOES = or_(Delivery.letter != LetterName.WELCOME, ~halted())

_OPEN = (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.ARMED)
_AT_ONCE = 1000  # rows changed in one statement by the chores: short transactions


class Claim(NamedTuple):
    """One row that a worker holds: its id, and the epoch that fences it."""

    id: int
    epoch: int


def personal(session: Session, owner: str, *, limit: int) -> list[Claim]:
    """Take up to `limit` letters of a person's own (all but digests), the oldest first."""
    rows = (
        select(Delivery.id)
        .where(PERSONAL, Delivery.state == DeliveryState.QUEUED, _GOES)
        .order_by(Delivery.due_at, Delivery.id)
    )
    return _take(session, rows.limit(limit), owner)


def digest(
    session: Session, digest_id: int, owner: str, *, limit: int, now: datetime
) -> list[Claim]:
    """Take up to `limit` mails of a digest whose time has come; none unless it is being sent."""
    is_sending = exists().where(
        Digest.id == digest_id, Digest.state == DigestState.SENDING, ~halted()
    )
    rows = (
        select(Delivery.id)
        .where(_queued(digest_id, now), is_sending)
        .order_by(Delivery.due_at, Delivery.id)
    )
    return _take(session, rows.limit(limit), owner)


def _queued(digest_id: int, now: datetime) -> ColumnElement[bool]:
    return and_(
        Delivery.digest_id == digest_id,
        Delivery.state == DeliveryState.QUEUED,
        Delivery.due_at <= now,
    )


def sending(session: Session) -> list[int]:
    """The digests that are being sent, the oldest first; none while sending is halted."""
    query = (
        select(Digest.id).where(Digest.state == DigestState.SENDING, ~halted()).order_by(Digest.id)
    )
    return list(session.scalars(query))


def waiting(session: Session, digest_ids: Iterable[int], now: datetime) -> bool:
    """Whether there is something to claim: a letter of a person's own, or of these digests."""
    return letters_waiting(session) or any(
        session.scalar(select(exists().where(_queued(number, now)))) for number in digest_ids
    )


def letters_waiting(session: Session) -> bool:
    """Whether a letter of a person's own is to be claimed."""
    is_waiting = exists().where(PERSONAL, Delivery.state == DeliveryState.QUEUED, _GOES)
    return bool(session.scalar(select(is_waiting)))


def busy(session: Session, digest_ids: Iterable[int]) -> bool:
    """Whether something is queued or on its way: a person's own letter, or of these digests."""
    is_open = Delivery.state.in_(_OPEN)
    conditions = [and_(PERSONAL, is_open, _GOES)]
    conditions += [and_(Delivery.digest_id == number, is_open) for number in digest_ids]
    return any(session.scalar(select(exists().where(where))) for where in conditions)


def left(session: Session, digest_id: int, *, put_off: bool) -> bool:
    """Whether mails of a digest are queued or on their way; put_off: or put off by the relay."""
    states = (*_OPEN, DeliveryState.DEFERRED) if put_off else _OPEN
    is_left = exists().where(Delivery.digest_id == digest_id, Delivery.state.in_(states))
    return bool(session.scalar(select(is_left)))


_held = and_(Delivery.id == bindparam("row"), Delivery.epoch == bindparam("row_epoch"))
_GIVE_BACK = Prepared(
    update(Delivery)
    .where(_held, Delivery.state == DeliveryState.CLAIMED)
    .values(state=DeliveryState.QUEUED, owner=None),
    "row",
    "row_epoch",
)
_DISARM = Prepared(
    update(Delivery)
    .where(
        _held,
        or_(Delivery.state == DeliveryState.CLAIMED, Delivery.state == DeliveryState.ARMED),
    )
    .values(state=DeliveryState.QUEUED, owner=None),
    "row",
    "row_epoch",
)
_PUT_BACK = Prepared(
    update(Delivery)
    .where(_held, Delivery.state == DeliveryState.CLAIMED)
    .values(state=DeliveryState.QUEUED, owner=None, due_at=bindparam("due")),
    "row",
    "row_epoch",
    "due",
)


def give_back(session: Session, claims: Iterable[Claim]) -> int:
    """claimed -> queued, for rows that were not handed over; how many there were."""
    return _GIVE_BACK.many(session, [(claim.id, claim.epoch) for claim in claims])


def give_back_unheld(session: Session, owner: str, held: Collection[Claim]) -> int:
    """claimed -> queued, for an owner's rows of which it knows nothing; how many there were."""
    query = select(Delivery.id, Delivery.epoch).where(
        Delivery.owner == owner, Delivery.state == DeliveryState.CLAIMED
    )
    found = {Claim(row.id, row.epoch) for row in session.connection().execute(query)}
    return give_back(session, found - set(held))


def put_back(session: Session, claims: Sequence[tuple[Claim, datetime]]) -> int:
    """claimed -> queued, each not to be claimed before its moment; how many there were."""
    return _PUT_BACK.many(session, [(claim.id, claim.epoch, due) for claim, due in claims])


def disarm(session: Session, claims: Iterable[Claim]) -> int:
    """claimed or armed -> queued, for rows of which no dot was written; how many there were.

    Only whoever held the row in the same life may say so: of another's armed row nobody knows.
    """
    return _DISARM.many(session, [(claim.id, claim.epoch) for claim in claims])


def due(session: Session, now: datetime) -> int:
    """deferred -> queued, for the rows whose time has come; how many there were."""
    is_due = and_(Delivery.state == DeliveryState.DEFERRED, Delivery.due_at <= now)
    changed = 0
    for rows in (and_(PERSONAL), Delivery.digest_id.in_(_digests(DigestState.SENDING))):
        changed += _change_some(session, and_(rows, is_due), state=DeliveryState.QUEUED)
    return changed


def reap(session: Session, now: datetime, *, gone: Collection[str] = ()) -> int:
    """Take back what silent workers held; how many rows there were.

    gone: owners that were killed, whose leases need not be waited for.
    claimed -> queued: the dot was not written. armed -> uncertain: it may have been, and nobody
    can know; such a row is never sent again without an operator's word.
    """
    over = or_(Delivery.owner.is_(None), Delivery.owner.not_in(lease.holders(session, but=gone)))
    # A cancelled digest's armed rows were on their way when it was cancelled.
    digests = _digests(DigestState.SENDING, DigestState.PAUSED, DigestState.CANCELLED)
    changed = 0
    for rows in (and_(PERSONAL), Delivery.digest_id.in_(digests)):
        changed += _change_some(
            session,
            and_(rows, Delivery.state == DeliveryState.CLAIMED, over),
            state=DeliveryState.QUEUED,
            owner=None,
        )
        changed += _change_some(
            session,
            and_(rows, Delivery.state == DeliveryState.ARMED, over),
            state=DeliveryState.UNCERTAIN,
            reason=doubt_alone(),
            attempts=Delivery.attempts + 1,
            settled_at=now,
            owner=None,
        )
    return changed


def sweep(session: Session, now: datetime) -> int:
    """Skip what came back after its digest was cancelled: put off by the relay, or reaped."""
    cancelled = Delivery.digest_id.in_(_digests(DigestState.CANCELLED))
    back = or_(Delivery.state == DeliveryState.QUEUED, Delivery.state == DeliveryState.DEFERRED)
    return _change_some(
        session,
        and_(cancelled, back),
        state=or_uncertain(DeliveryState.SKIPPED),
        reason=CANCELLED,
        settled_at=now,
    )


def _digests(*states: DigestState) -> Select[int]:
    return select(Digest.id).where(Digest.state.in_(states))


def _take(session: Session, rows: Select[int], owner: str) -> list[Claim]:
    # Picked in a CTE: as a plain subquery, PostgreSQL may run it again for each row and take more
    # than `limit`. The rows are locked when they are picked, and still queued then; were the state
    # asked for once more here, PostgreSQL could begin with all that are queued, if it believes
    # that there are few (its statistics are of a time when the last digest was through).
    picked = rows.with_for_update(skip_locked=True).cte("picked")
    statement = (
        update(Delivery)
        .where(Delivery.id.in_(select(picked.c.id)))
        .values(state=DeliveryState.CLAIMED, epoch=Delivery.epoch + 1, owner=owner)
        .returning(Delivery.id, Delivery.epoch)
    )
    taken = session.connection().execute(statement)
    return sorted((Claim(row.id, row.epoch) for row in taken), key=lambda claim: claim.id)


def _change_some(session: Session, where: ColumnElement[bool], **values: Any) -> int:
    """Change some of the rows, those that another worker is changing left out."""
    picked = (
        select(Delivery.id).where(where).limit(_AT_ONCE).with_for_update(skip_locked=True)
    ).cte("picked")
    statement = (
        update(Delivery)
        .where(Delivery.id.in_(select(picked.c.id)))
        .values(**values)
        .returning(Delivery.id)  # for counting: sqlite3 counts no rows of a statement with a CTE
    )
    return len(session.connection().execute(statement).all())
