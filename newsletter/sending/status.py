"""Where the mail stands, counted from the rows themselves: no counter can be wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from newsletter.errors import NotFound
from newsletter.sending.claim import PERSONAL
from newsletter.sending.queue import lock
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    DigestState,
    Installation,
    Publication,
    Worker,
)

# A digest is sent when none of its mails is in one of these.
_NOT_SETTLED = (
    DeliveryState.QUEUED,
    DeliveryState.CLAIMED,
    DeliveryState.ARMED,
    DeliveryState.DEFERRED,
)
_OVER = (DigestState.SENT, DigestState.CANCELLED)
_SHOWN_WHEN_OVER = 10
# A person's letter that waits longer than this waits for a worker or a relay.
_STUCK_AFTER = timedelta(minutes=10)
# A worker says that it lives every few seconds (newsletter.worker.beat).
ALIVE_FOR = timedelta(seconds=60)


def of_digest(session: Session, digest_id: int) -> dict[str, Any]:
    """{"digest": id, "state": ..., "total": N, "counts": {each of the eight states: n}}.

    Raises NotFound when there is no such digest.
    """
    state = session.scalar(select(Digest.state).where(Digest.id == digest_id))
    if state is None:
        raise NotFound(f"There is no digest {digest_id}. See: newsletter digest list")
    counts = _counts(session, Delivery.digest_id == digest_id)
    return {"digest": digest_id, "state": state, "total": sum(counts.values()), "counts": counts}


def overview(session: Session, now: datetime) -> dict[str, Any]:
    """All that an operator asks first; every value goes into JSON.

    "digests": of_digest of each that is approved, sending or paused, and of the last ten that are
        over, the newest first, with "subject", "publication" (its slug) and "send_at".
    "letters": counts by state of the letters of a person's own, and test mails.
    "stuck": letters waiting for more than ten minutes ("waiting"), mails held by a worker whose
        lease is over ("expired"), and mails that nobody knows about ("uncertain").
    "workers": host, pid, started_at and seen_at of each that lives; "worker_seen_at": when any
        was seen last, None for never.
    "log_fault": why sign-up and sending stand still; None: they do not.
    """
    over = (
        select(Digest.id)
        .where(Digest.state.in_(_OVER))
        .order_by(Digest.id.desc())
        .limit(_SHOWN_WHEN_OVER)
    )
    query = (
        select(Digest.id, Digest.subject, Digest.send_at, Publication.slug)
        .join(Publication, Publication.id == Digest.publication_id)
        .where(
            Digest.state != DigestState.DRAFT,
            or_(Digest.state.not_in(_OVER), Digest.id.in_(over)),
        )
        .order_by(Digest.id.desc())
    )
    digests = [
        of_digest(session, row.id)
        | {"subject": row.subject, "publication": row.slug, "send_at": _iso(row.send_at)}
        for row in session.execute(query)
    ]
    alive = session.scalars(
        select(Worker)
        .where(Worker.seen_at > now - ALIVE_FOR, Worker.ended_at.is_(None))
        .order_by(Worker.started_at)
    )
    return {
        "digests": digests,
        "letters": _counts(session, PERSONAL),
        "stuck": _stuck(session, now),
        "workers": [
            {
                "host": worker.host,
                "pid": worker.pid,
                "started_at": _iso(worker.started_at),
                "seen_at": _iso(worker.seen_at),
            }
            for worker in alive
        ],
        "worker_seen_at": _iso(session.scalar(select(func.max(Worker.seen_at)))),
        "log_fault": session.scalar(select(Installation.log_fault)),
    }


def complete(session: Session) -> list[int]:
    """The digests that are being sent and have nothing left to send."""
    open_rows = exists().where(Delivery.digest_id == Digest.id, Delivery.state.in_(_NOT_SETTLED))
    query = select(Digest.id).where(
        Digest.state == DigestState.SENDING, Digest.queued_at.is_not(None), ~open_rows
    )
    return list(session.scalars(query))


def finish(session: Session, digest: Digest, now: datetime) -> bool:
    """sending -> sent, when everybody has a row and every row is settled; whether it was so."""
    lock(session, digest)
    if digest.id not in complete(session):
        return False
    digest.finish(now)
    session.flush()
    return True


def _counts(session: Session, where: Any) -> dict[str, int]:
    query = select(Delivery.state, func.count()).where(where).group_by(Delivery.state)
    found = {row[0]: row[1] for row in session.execute(query)}
    return {state.value: found.get(state, 0) for state in DeliveryState}


def _stuck(session: Session, now: datetime) -> dict[str, int]:
    waiting = or_(Delivery.state == DeliveryState.QUEUED, Delivery.state == DeliveryState.DEFERRED)
    held = Delivery.state.in_((DeliveryState.CLAIMED, DeliveryState.ARMED))
    conditions = {
        "waiting": and_(PERSONAL, waiting, Delivery.created_at < now - _STUCK_AFTER),
        "expired": and_(held, Delivery.lease_until < now),
        "uncertain": Delivery.state == DeliveryState.UNCERTAIN,
    }
    return {
        name: session.scalar(select(func.count()).select_from(Delivery).where(where)) or 0
        for name, where in conditions.items()
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
