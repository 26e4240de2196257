"""The sign of life: one row for each process that sends, renewed every few seconds.

`newsletter status` reads from it that nobody sends, and with it the process holds the lease of its
rows. Those of a process that was killed on this machine are taken back at once. Safety never
depends on it: whoever is taken for dead by mistake finds its claims fenced off.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from newsletter.sending import lease
from newsletter.store import Worker
from newsletter.store.clock import boot

# Seconds between two signs, or a third of a shorter lease.
_EVERY = 5.0
# A row that a killed worker left goes with the first begin after some days.
_KEPT_FOR = timedelta(days=7)


def every(lease_seconds: float) -> float:
    """Seconds between two signs of a worker with that lease."""
    return min(_EVERY, lease_seconds / 3)


def begin(session: Session, name: str, now: datetime, *, lease_seconds: float) -> None:
    """Say that the worker `name` (its public id) lives, and drop rows that are long dead."""
    # By the lease, too: a wall clock that jumps must not end a worker that lives.
    holds = lease.holders(session)
    session.execute(
        delete(Worker).where(Worker.seen_at < now - _KEPT_FOR, Worker.public_id.not_in(holds))
    )
    session.add(
        Worker(
            public_id=name,
            host=_host(),
            pid=os.getpid(),
            place=_place(),
            started_at=now,
            seen_at=now,
        )
    )
    session.flush()
    lease.renew(session, name, lease_seconds)


def renew(session: Session, name: str, now: datetime, *, lease_seconds: float) -> None:
    """Say that it still lives."""
    renewed = update(Worker).where(Worker.public_id == name).values(seen_at=now)
    if session.connection().execute(renewed).rowcount:
        lease.renew(session, name, lease_seconds)
    else:  # somebody took it for dead, and its row away
        begin(session, name, now, lease_seconds=lease_seconds)


def alive(session: Session) -> int:
    """How many workers hold a lease now."""
    return session.scalar(select(func.count()).select_from(lease.holders(session).subquery())) or 0


def gone(session: Session) -> list[str]:
    """The workers of this machine that were killed: their process is not there any more."""
    query = select(Worker.public_id, Worker.pid).where(
        Worker.place == _place(), Worker.ended_at.is_(None)
    )
    return [name for name, pid in session.execute(query) if not _runs(pid)]


def _host() -> str:
    return platform.node()[:255]


@cache
def _place() -> str:
    """Where a process number means the same process: a start of the machine, and a namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "pid"
    return f"{boot()} {namespace}"[:255]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there, and somebody else's
    return True


def end(session: Session, name: str, now: datetime) -> None:
    """Say that it ended. Its row tells when a worker was last seen; those of earlier ones go."""
    session.execute(delete(Worker).where(Worker.ended_at.is_not(None), Worker.public_id != name))
    session.execute(
        update(Worker).where(Worker.public_id == name).values(seen_at=now, ended_at=now)
    )
