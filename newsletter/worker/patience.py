"""Which failures of the database, and of the files beside it, pass by themselves.

A lock that somebody holds, a full disk, a server that is started anew: sending waits and goes on.
A disk that cannot be read or written, a broken file: waiting makes it worse, and the worker ends.
"""

from __future__ import annotations

import errno

from sqlalchemy.exc import DBAPIError

# The first words of SQLite's own messages (sqlite3ErrStr in its source).
_SQLITE = ("database is locked", "database table is locked", "database or disk is full")
# SQLSTATE classes: connection, transaction rollback (serialization, deadlock), resources,
# operator intervention (shutdown), and read_only_sql_transaction after a failover.
_POSTGRES = ("08", "40", "53", "57", "25006", "55P03")
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Seconds between the tries; the last one again and again.
PAUSES = (0.05, 0.2, 1.0, 2.0)


def passes(error: BaseException) -> bool:
    """Whether the same thing may work a moment later. Nothing of it was committed then, or all."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    said = str(error.orig)
    if said.startswith(_SQLITE):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # psycopg gives none where the server could not be asked: it is not there.
        return type(error.orig).__module__.startswith("psycopg") and type(error.orig).__name__ in (
            "OperationalError",
            "ConnectionTimeout",
        )
    return str(state).startswith(_POSTGRES)
