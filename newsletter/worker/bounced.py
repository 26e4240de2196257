"""An address that the relay says does not exist ends its subscription, with the consent event.

Sending knows that a mail was refused, and subscriptions know how one ends; this is where the two
meet. It is found from the rows, so that a process that dies in between is made up for by the next.
"""

from __future__ import annotations

import time

import structlog
from sqlalchemy.orm import Session

from newsletter.consent import Evidence
from newsletter.sending import bounced as refused
from newsletter.store import Delivery, Subscription, find
from newsletter.subscriptions import leave
from newsletter.worker.job import Job

log = structlog.get_logger()

_AT_ONCE = 50


def end_some(job: Job, seconds: float) -> bool:
    """End the subscriptions of some addresses that do not exist; True when there may be more.

    seconds: after so long no further one is begun.
    """
    until = time.monotonic() + seconds
    while not job.ended():
        with job.read() as session:
            found = refused.waiting(session, limit=_AT_ONCE)
        for number in found:
            with job.write() as session:
                _end(session, number, job)
            if time.monotonic() > until:
                return True
        if len(found) < _AT_ONCE:
            break
    return False


def _end(session: Session, delivery_id: int, job: Job) -> None:
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.subscription_id is None:
        return
    # Found by its name, because that also locks the person first, as everybody does.
    named = session.get(Subscription, delivery.subscription_id)
    subscription = find.subscription_by_public_id(session, named.public_id) if named else None
    if subscription is None:
        return
    evidence = Evidence(
        actor="relay",
        channel="bounce",
        message_id=delivery.message_id,
        note=f"{delivery.reply_code} {delivery.reply_text}",
    )
    leave.by_bounce(
        session, subscription, evidence, hash_key=job.settings.hash_key_bytes, now=job.clock()
    )
    log.info("bounced", delivery=delivery_id)
