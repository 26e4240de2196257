"""Who may hold rows: workers whose lease is not over, by a clock that nobody sets.

A worker renews its lease while it works. One that is silent for longer has lost its rows, whether
it was killed, stopped, or cut off; it finds that out when it arms (newsletter.sending.settle). The
lease decides how soon others go on, never whether a mail goes out twice.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from newsletter.store import Worker
from newsletter.store.clock import tick


def renew(session: Session, worker: str, seconds: float) -> None:
    """Let `worker` (its public id) hold rows for as many seconds from now."""
    now = tick(session)
    session.execute(
        update(Worker)
        .where(Worker.public_id == worker)
        .values(lease_clock=now.clock, lease_until=now.seconds + seconds)
    )


def holders(session: Session, *, but: Collection[str] = ()) -> Select[str]:
    """The public ids of the workers that may hold rows now; but: those known to be dead."""
    now = tick(session)
    return select(Worker.public_id).where(
        Worker.ended_at.is_(None),
        Worker.lease_clock == now.clock,
        Worker.lease_until >= now.seconds,
        Worker.public_id.not_in(list(but)),
    )
