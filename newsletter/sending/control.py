"""An operator's word on a digest that is being sent: wait, go on, end.

Each takes hold at the next dot: the last look at a mail (newsletter.sending.gate) reads the
digest's state in the statement that arms it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from newsletter.sending.gate import CANCELLED
from newsletter.sending.queue import lock
from newsletter.store import Delivery, DeliveryState, Digest
from newsletter.store.doubt import or_uncertain


def pause(session: Session, digest: Digest, reason: str | None = None) -> None:
    """sending -> paused. Raises WrongState in any other state.

    reason: why, in words for an operator; None when it was an operator's own word. Parts of it
    can be what the relay said: hostile text, without NUL, to be escaped wherever it is shown.
    """
    lock(session, digest)
    digest.pause(reason)
    session.flush()


def resume(session: Session, digest: Digest) -> None:
    """paused -> sending. Raises WrongState in any other state."""
    lock(session, digest)
    digest.resume()
    session.flush()


def cancel(session: Session, digest: Digest, now: datetime) -> int:
    """End a digest for good; how many of its mails were skipped for it.

    What was handed over stays handed over. Raises WrongState for one that was sent already.
    """
    lock(session, digest)
    digest.cancel()
    session.flush()
    not_handed_over = (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED)
    statement = (
        update(Delivery)
        .where(Delivery.digest_id == digest.id, Delivery.state.in_(not_handed_over))
        .values(
            state=or_uncertain(DeliveryState.SKIPPED),
            reason=CANCELLED,
            settled_at=now,
            owner=None,
        )
    )
    return session.connection().execute(statement).rowcount
