"""Where the mail stands, counted from the rows themselves: no counter can be wrong."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from newsletter.errors import NotFound
from newsletter.sending import lease
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
# Addresses of each state that are looked at for the worst domain: a handful tells it, and a relay
# that puts off half a million mails must not make every look slow.
_SAMPLE = 2500
_TROUBLED = (DeliveryState.DEFERRED, DeliveryState.FAILED)


def of_digest(session: Session, digest_id: int) -> dict[str, Any]:
    """How far one digest is, counted now. Whoever asks again and again has Tally.

    {"digest": id, "state": ..., "total": N, "counts": {each of the eight states: n},
    "pause_reason": why it was paused, None for an operator's word; "worst_domain": {"domain": the
    one that most mails were put off by or failed at, "mails": how many, of some thousand that were
    looked at}, None when there are no such mails}. The reason and the domain are hostile text.

    Raises NotFound when there is no such digest.
    """
    return Tally(digest_id).of(session)


class Tally:
    """One digest, looked at again and again: what `of_digest` says, at a part of its cost.

    Once everybody has a row, there are as many rows as there ever will be. The state that most of
    them are in need not be counted then: it has the rest.
    """

    def __init__(self, digest_id: int) -> None:
        self._digest_id = digest_id
        self._total: int | None = None
        self._counts: dict[str, int] = {}

    def of(self, session: Session) -> dict[str, Any]:
        """As `of_digest`; `session` may be another one each time."""
        digest = session.execute(
            select(Digest.state, Digest.pause_reason, Digest.queued_at).where(
                Digest.id == self._digest_id
            )
        ).one_or_none()
        if digest is None:
            raise NotFound(f"There is no digest {self._digest_id}. See: newsletter digest list")
        self._count(session)
        total = sum(self._counts.values())
        if digest.queued_at is not None:
            self._total = total
        is_paused = digest.state == DigestState.PAUSED
        return {
            "digest": self._digest_id,
            "state": digest.state,
            "total": total,
            "counts": self._counts.copy(),
            "pause_reason": digest.pause_reason if is_paused else None,
            "worst_domain": self._worst_domain(session),
        }

    def _count(self, session: Session) -> None:
        of_it = Delivery.digest_id == self._digest_id
        if self._total is None:
            self._counts = _counts(session, of_it)
            return
        most = max(self._counts, key=self._counts.__getitem__)
        others = [state for state in DeliveryState if state != most]
        self._counts = _counts(session, and_(of_it, Delivery.state.in_(others)))
        self._counts[most] = self._total - sum(self._counts.values())

    def _worst_domain(self, session: Session) -> dict[str, Any] | None:
        domains: Counter[str] = Counter()
        for state in _TROUBLED:
            if self._counts[state]:
                query = select(Delivery.address).where(
                    Delivery.digest_id == self._digest_id, Delivery.state == state
                )
                found = session.scalars(query.limit(_SAMPLE))
                domains.update(address.rpartition("@")[2] for address in found if address)
        if not domains:
            return None
        domain, mails = min(domains.items(), key=lambda item: (-item[1], item[0]))
        return {"domain": domain, "mails": mails}


def overview(session: Session, now: datetime) -> dict[str, Any]:
    """All that an operator asks first; every value goes into JSON.

    "digests": of_digest of each that is approved, sending or paused, and of the last ten that are
        over, the newest first, with "subject", "publication" (its slug) and "send_at".
    "letters": counts by state of the letters of a person's own, and test mails.
    "stuck": letters waiting for more than ten minutes ("waiting"), mails held by a worker that has
        no lease any more ("expired"), and mails that nobody knows about ("uncertain").
    "workers": host, pid, started_at and seen_at of each that has a lease; "worker_seen_at": when
        any was seen last, None for never.
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
        .where(Worker.public_id.in_(lease.holders(session)))
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
    held = or_(Delivery.state == DeliveryState.CLAIMED, Delivery.state == DeliveryState.ARMED)
    lost = or_(Delivery.owner.is_(None), Delivery.owner.not_in(lease.holders(session)))
    uncertain = Delivery.state == DeliveryState.UNCERTAIN
    # Asked of each digest, because the index begins with it: nothing reads all the rows.
    of_digests = Delivery.digest_id.in_(select(Digest.id))

    def number(*where: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(Delivery).where(*where)
        return session.scalar(query) or 0

    letters = and_(PERSONAL)
    return {
        "waiting": number(letters, waiting, Delivery.created_at < now - _STUCK_AFTER),
        "expired": sum(number(rows, held, lost) for rows in (letters, of_digests)),
        "uncertain": sum(number(rows, uncertain) for rows in (letters, of_digests)),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
