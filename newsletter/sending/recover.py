"""After an older database was put back: nothing goes out that may have gone out already.

What the backup calls unfinished was perhaps sent since. Nobody can know, so each such mail is
`uncertain`, and each digest waits for an operator's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from newsletter.store import Delivery, DeliveryState, Digest, DigestState

# Why these deliveries are uncertain; one word, for counting.
RECOVERED = "recovered"

_UNFINISHED = (
    DeliveryState.QUEUED,
    DeliveryState.CLAIMED,
    DeliveryState.ARMED,
    DeliveryState.DEFERRED,
)
_OPEN = (DigestState.APPROVED, DigestState.SENDING, DigestState.PAUSED)


@dataclass(frozen=True)
class Held:
    """How many mails became uncertain, and the digests that wait for a word, the oldest first."""

    uncertain: int
    digests: list[Digest]


def hold(session: Session, *, now: datetime) -> Held:
    """Make unfinished deliveries uncertain; pause digests that are being sent; unschedule others.

    A digest that is approved stays so, and loses the time at which a worker would have begun it.
    """
    changed = session.connection().execute(
        update(Delivery)
        .where(Delivery.state.in_(_UNFINISHED))
        .values(
            state=DeliveryState.UNCERTAIN,
            reason=RECOVERED,
            settled_at=now,
            owner=None,
            # A worker that has not noticed yet changes nothing any more.
            epoch=Delivery.epoch + 1,
        )
    )
    query = select(Digest).where(Digest.state.in_(_OPEN)).order_by(Digest.id)
    digests = list(session.scalars(query.with_for_update()))
    for digest in digests:
        digest.send_at = None
        if digest.state == DigestState.SENDING:
            digest.pause()
    session.flush()
    return Held(changed.rowcount, digests)
