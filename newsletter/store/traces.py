"""What a database file still holds of deleted rows, and how it is taken away.

SQLite's secure_delete overwrites deleted rows, but not the copies that were left when pages were
split or moved, nor what stands in the write-ahead log. VACUUM writes the file anew from the rows
that live, and a truncated log holds nothing; together they leave no trace.

On PostgreSQL there is nothing to do from here: its autovacuum and the recycling of its write-ahead
log do it in their time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from newsletter.store.engine import BUSY_SECONDS, reading, transaction
from newsletter.store.record import Installation

log = structlog.get_logger()

# Cleaned while a request waits: about half a second's work.
SMALL = 64 * 1024 * 1024
_AGAIN = 0.05  # seconds between two tries


def left(session: Session, now: datetime) -> None:
    """Note, in the transaction that deletes a person, that the file is to be cleaned."""
    if session.get_bind().dialect.name != "sqlite":
        return
    session.execute(
        update(Installation)
        .values(uncleaned_since=now)
        .execution_options(synchronize_session=False)
    )


def pending(engine: Engine) -> datetime | None:
    """When somebody was deleted last, of whom the file may still hold traces; None: it does not."""
    with reading(engine) as session:
        found = session.get(Installation, 1)
        return found.uncleaned_since if found else None


def clean(engine: Engine, *, patience: float = 5, at_most: int | None = None) -> bool:
    """Take away what is left of deleted rows; call it after the commit. True when nothing is left.

    patience: seconds for trying again while others write, or read what was before. at_most: bytes
        of a file that is cleaned now; a larger one is left to whoever has more time.

    False: it is pending, and the next call does it. What was deleted is committed by then, so a
    busy database or a full disk raises nothing here.
    """
    seen = pending(engine)
    if seen is None:
        return True
    file = Path(engine.url.database or "")
    if at_most is not None and file.exists() and file.stat().st_size > at_most:
        return False
    try:
        if not _rewritten(engine, time.monotonic() + patience):
            return False
        with transaction(engine) as session:
            # Unless somebody was deleted meanwhile.
            session.execute(
                update(Installation)
                .where(Installation.uncleaned_since == seen)
                .values(uncleaned_since=None)
                .execution_options(synchronize_session=False)
            )
    except (sqlite3.OperationalError, OperationalError) as error:
        cause = getattr(error, "orig", error)
        log.warning("not_cleaned", error=getattr(cause, "sqlite_errorname", ""))
        return False
    return pending(engine) is None


def _rewritten(engine: Engine, deadline: float) -> bool:
    """Write the file anew and empty the WAL; False when others were in the way until `deadline`."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA query_only=OFF")
        # Tried again here: SQLite's own waiting would hold a request for half a minute.
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            return _until(deadline, partial(_vacuum, cursor)) and _until(
                deadline, partial(_truncate, cursor)
            )
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
            cursor.close()
    finally:
        connection.close()


def _until(deadline: float, step: Callable[[], bool]) -> bool:
    """Try a step again and again; False when it does not work out until `deadline`."""
    while not _worked(step):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_AGAIN)
    return True


def _worked(step: Callable[[], bool]) -> bool:
    try:
        return step()
    except sqlite3.OperationalError as error:
        # The primary result code; the extended ones stand above it.
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return False
        raise


def _vacuum(cursor: Any) -> bool:
    cursor.execute("VACUUM")
    return True


def _truncate(cursor: Any) -> bool:
    """Copy the WAL into the file and cut it to nothing; whoever reads older pages is in the way."""
    busy, _pages, _copied = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
