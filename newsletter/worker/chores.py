"""What is to be done beside handing mail over, in short transactions of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.errors import LogFault
from newsletter.sending import bounced as refused
from newsletter.sending import claim, queue, retry, status
from newsletter.worker import beat
from newsletter.worker.job import Job

log = structlog.get_logger()

# A row that is uncertain may still get its late answer; a relay needs no longer.
_HOLD = timedelta(minutes=1)

Write = Callable[[], AbstractContextManager[Session]]


def tidy(write: Write, now: datetime) -> None:
    """Take back what was lost, queue again what is due, and call finished digests sent."""
    with write() as session:
        reaped = claim.reap(session, now, gone=beat.gone(session))
        due = claim.due(session, now)
        claim.sweep(session, now)
        finished = []
        # Before a digest is called sent: who does not exist is no subscriber of it any more.
        is_open = bool(refused.waiting(session, limit=1))
        for number in [] if is_open else status.complete(session):
            digest = session.get_one(store.Digest, number)
            if status.finish(session, digest, now):
                finished.append(number)
    if reaped:
        log.warning("leases_over", rows=reaped)
    if due:
        log.info("due_again", rows=due)
    for number in finished:
        log.info("digest_sent", digest=number)


def begin_scheduled(write: Write, now: datetime, sign: Callable[[], None]) -> None:
    """Begin the digests whose time has come. sign: signs the consent log, before each digest."""
    with write() as session:
        if not queue.scheduled(session, now):
            return
    sign()
    with write() as session:
        begun = queue.scheduled(session, now)
        for digest in begun:
            queue.begin(session, digest, now=now)
    for digest in begun:
        log.info("digest_begun", digest=digest.id)


def queue_piece(write: Write, now: datetime, digest_id: int | None) -> bool:
    """Go on queueing a digest; False when there is none to queue.

    digest_id: only this one.
    """
    with write() as session:
        digest = queue.unfinished(session, digest_id)
        if digest is None:
            return False
        try:
            made = queue.piece(session, digest, now=now)
        except LogFault:  # halted since it was found; the watch tells
            return False
    log.debug("queued", digest=digest.id, readers=made)
    return True


def send_uncertain_again(job: Job) -> None:
    """Where the relay knows a mail that it took: uncertain ones go back into the queue."""
    with job.write() as session:
        again = retry.by_itself(
            session,
            job.clock(),
            hold=_HOLD,
            window=timedelta(hours=job.settings.idempotency_hours),
        )
    if again:
        log.info("uncertain_again", rows=again)
