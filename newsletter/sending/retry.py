"""An operator's word to try mails once more; the only way back for what may have arrived.

A row goes back to `queued` under the same public id, so that it becomes the same mail again: same
Message-ID, same date, same links, and for what may have arrived the same bytes, which is checked
before it leaves (newsletter.sending.write).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from newsletter.errors import WrongState
from newsletter.mail.pool import DOT_PATIENCE
from newsletter.sending.claim import PERSONAL
from newsletter.sending.queue import lock
from newsletter.store import Delivery, DeliveryState, Digest, DigestState
from newsletter.store.doubt import (
    RETRY_BY_ITSELF,
    RETRY_CHANGED,
    RETRY_UNCERTAIN,
    in_doubt,
)

# Longer than replies to the dot take (RFC 5321 §4.5.3.2.6 asks for ten minutes' patience): a worker
# that was stopped may still hold the connection on which the mail waits for its answer.
HOLD = timedelta(minutes=15)

_TRIED = (DigestState.SENDING, DigestState.PAUSED, DigestState.SENT)


@dataclass(frozen=True)
class Done:
    """again: mails that are queued once more. left: those left alone because their answer may
    still come.
    """

    again: int
    left: int = 0


def hold(smtp_timeout: float) -> timedelta:
    """How long an uncertain mail is left alone; longer where our own patience is (seconds)."""
    return max(HOLD, timedelta(seconds=DOT_PATIENCE * smtp_timeout))


def failed(session: Session, digest: Digest, now: datetime) -> Done:
    """failed -> queued: the relay refused these, so that nobody got them.

    A digest that was sent is being sent again. Raises WrongState for one that was never begun, or
    was cancelled.
    """
    _lock(session, digest)
    rows = _rows(digest, DeliveryState.FAILED)
    again = _queue(session, rows, now=now, reason=None)
    return _go_on(session, digest, Done(again))


def uncertain(
    session: Session,
    digest: Digest,
    now: datetime,
    *,
    older_than: timedelta = HOLD,
    even_changed: bool = False,
) -> Done:
    """uncertain -> queued, where a reader may get the mail twice: the operator accepts that.

    older_than: what became uncertain later than so long ago is left alone, by the wall clock: it
    alone goes on when a machine is started anew. Where it was set forward they look older than they
    are, and a yes that comes late finds its row queued. even_changed: also a mail that can no
    longer be made as it was; without it such a one becomes uncertain again, with the reason
    "changed", and is not sent.

    A digest that was sent is being sent again. Raises WrongState for one that was never begun, or
    was cancelled.
    """
    _lock(session, digest)
    rows = _rows(digest, DeliveryState.UNCERTAIN)
    is_old = Delivery.settled_at <= now - older_than
    reason = RETRY_CHANGED if even_changed else RETRY_UNCERTAIN
    again = _queue(session, and_(rows, is_old), now=now, reason=reason)
    left = session.scalar(select(func.count()).select_from(Delivery).where(rows)) or 0
    return _go_on(session, digest, Done(again, left))


def by_itself(session: Session, now: datetime, *, hold: timedelta, window: timedelta) -> int:
    """uncertain -> queued without an operator's word; how many mails there were.

    Only for a relay that knows a mail by its idempotency header for at least `window`, counted
    from when the mail was made: it was handed over later, so that the relay knows it still. hold:
    how long a late answer is waited for. What would not be the same mail, or is uncertain because
    of a restored backup, waits for the operator all the same, and so does a digest that is paused.

    Cheap when there is nothing to do: it may be called every second.
    """
    since = now - window
    doubtful = and_(
        Delivery.state == DeliveryState.UNCERTAIN,
        Delivery.address.is_not(None),
        Delivery.content_sha256.is_not(None),
        or_(Delivery.reason.is_(None), in_doubt()),
        Delivery.settled_at <= now - hold,
        Delivery.created_at > since,
    )
    letters = and_(PERSONAL, doubtful)
    again = 0
    if session.scalar(select(exists().where(letters))):
        again += _queue(session, letters, now=now, reason=RETRY_BY_ITSELF)
    digests = select(Digest).where(
        or_(
            Digest.state == DigestState.SENDING,
            and_(Digest.state == DigestState.SENT, Digest.sent_at > since),
        ),
        exists().where(Delivery.digest_id == Digest.id, doubtful),
    )
    for digest in session.scalars(digests.order_by(Digest.id)).all():
        lock(session, digest)
        if digest.state in (DigestState.SENDING, DigestState.SENT):
            rows = and_(Delivery.digest_id == digest.id, doubtful)
            done = Done(_queue(session, rows, now=now, reason=RETRY_BY_ITSELF))
            again += _go_on(session, digest, done).again
    return again


def _lock(session: Session, digest: Digest) -> None:
    lock(session, digest)
    if digest.state not in _TRIED:
        raise WrongState(
            f"Digest {digest.id} is {digest.state}; only mails of one that is being sent, was sent "
            "or is paused can be tried once more."
        )


def _rows(digest: Digest, state: DeliveryState) -> ColumnElement[bool]:
    """Those of a digest in one state; erased readers are left out for good."""
    return and_(
        Delivery.digest_id == digest.id, Delivery.state == state, Delivery.address.is_not(None)
    )


def _queue(
    session: Session, rows: ColumnElement[bool], *, now: datetime, reason: str | None
) -> int:
    """The reason stays with a row until it is settled: what may have arrived is not forgotten."""
    statement = (
        update(Delivery)
        .where(rows)
        .values(
            state=DeliveryState.QUEUED,
            reason=reason,
            due_at=now,
            retried_at=now,
            settled_at=None,
            owner=None,
        )
    )
    return session.connection().execute(statement).rowcount


def _go_on(session: Session, digest: Digest, done: Done) -> Done:
    """A digest that was sent has something to send again."""
    if done.again and digest.state == DigestState.SENT:
        digest.retry()
    session.flush()
    return done
