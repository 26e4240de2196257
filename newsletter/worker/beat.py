"""The sign of life: one row for each process that sends, renewed every few seconds.

`newsletter status` reads from it that nobody sends. Nothing else depends on it: rows are taken
back when their lease is over, not when a worker looks dead.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from newsletter.store import Worker

EVERY = timedelta(seconds=5)
# A row that a killed worker left tells for some days when mail was last sent, and then goes.
_KEPT_FOR = timedelta(days=7)


def begin(session: Session, name: str, now: datetime) -> None:
    """Say that the worker `name` (its public id) lives, and drop rows that are long dead."""
    session.execute(delete(Worker).where(Worker.seen_at < now - _KEPT_FOR))
    session.add(
        Worker(
            public_id=name,
            host=platform.node()[:255],
            pid=os.getpid(),
            started_at=now,
            seen_at=now,
        )
    )


def renew(session: Session, name: str, now: datetime) -> None:
    """Say that it still lives."""
    session.execute(update(Worker).where(Worker.public_id == name).values(seen_at=now))


def end(session: Session, name: str) -> None:
    """Say that it ended as it should."""
    session.execute(delete(Worker).where(Worker.public_id == name))
