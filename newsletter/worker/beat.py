"""The sign of life: one row for each process that sends, renewed every few seconds.

`newsletter status` reads from it that nobody sends, and the rows of a killed worker are taken back
sooner than at the end of their lease. Safety never depends on it: whoever is taken for dead by
mistake finds its claims fenced off.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from newsletter.store import Worker

EVERY = timedelta(seconds=5)
# So many signs missed, and the process not to be found: it was killed.
_SILENT_FOR = 6 * EVERY
# A row that a killed worker left goes with the first begin after some days.
_KEPT_FOR = timedelta(days=7)


def begin(session: Session, name: str, now: datetime) -> None:
    """Say that the worker `name` (its public id) lives, and drop rows that are long dead."""
    session.execute(delete(Worker).where(Worker.seen_at < now - _KEPT_FOR))
    session.add(
        Worker(
            public_id=name,
            host=_host(),
            pid=os.getpid(),
            started_at=now,
            seen_at=now,
        )
    )


def renew(session: Session, name: str, now: datetime) -> None:
    """Say that it still lives."""
    session.execute(update(Worker).where(Worker.public_id == name).values(seen_at=now))


def gone(session: Session, now: datetime) -> list[str]:
    """The workers of this machine that were killed: silent, and their process is not there."""
    query = select(Worker.public_id, Worker.pid).where(
        Worker.host == _host(), Worker.seen_at < now - _SILENT_FOR
    )
    return [name for name, pid in session.execute(query) if not _runs(pid)]


def _host() -> str:
    return platform.node()[:255]


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
