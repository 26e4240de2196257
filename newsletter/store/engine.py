"""The connection to the database, and the two ways to use it: to read, and to write.

SQLite runs with WAL, synchronous=FULL, foreign keys and secure_delete, in every process. Nothing
less is durable: with NORMAL a power cut takes back commits that we already acted upon.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from newsletter.errors import ConfigError

log = structlog.get_logger()

# How long a writer waits for another on SQLite.
BUSY_SECONDS = 30
_SYNCHRONOUS_FULL = 2  # of OFF, NORMAL, FULL and EXTRA


def connect(database_url: str) -> Engine:
    """An engine for `database_url` (as newsletter.config normalises it). Opens nothing yet."""
    if database_url.startswith("sqlite"):
        engine = create_engine(
            database_url,
            # We begin transactions ourselves: Python's own rules would begin them too late.
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
            hide_parameters=True,
        )
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # Parameters hold addresses; an error message with them would end up in a log.
    # Each request thread may hold one connection for a moment.
    engine = create_engine(
        database_url, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=150
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _make_private(
    _dialect: object, _record: object, arguments: list[Any], _options: object
) -> None:
    """A new SQLite file is for nobody else to read: it holds addresses.

    SQLite gives its write-ahead log the same mode.
    """
    if arguments and arguments[0] != ":memory:":
        # There already, or in a place that SQLite itself will complain about.
        with contextlib.suppress(OSError):
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    """A server, database or role may be set to less. A stricter setting stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
        )
    connection.commit()


def durable(engine: Engine) -> None:
    """Whether what is committed survives a power cut; asked before anything is sent.

    Raises ConfigError, with the cure, when a commit is acknowledged before it is on the disk.
    That nobody can send twice, and nobody is lost, rests on it.

    A PostgreSQL server with fsync=off is told in the log: only its operator can know what is
    under it.
    """
    with engine.connect().execution_options(newsletter_reading=True) as connection:
        is_postgresql = engine.dialect.name == "postgresql"
        fault = (_postgresql_fault if is_postgresql else _sqlite_fault)(connection)
    if fault is not None:
        raise ConfigError([fault])


def _postgresql_fault(connection: Connection) -> str | None:
    if connection.exec_driver_sql("SHOW fsync").scalar_one() == "off":
        log.warning("database_not_durable", setting="fsync", value="off")
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
        return (
            "PostgreSQL's synchronous_commit is off: a power cut would take back what was "
            "recorded, and mails would be sent again. Set it to on."
        )
    return None


def _sqlite_fault(connection: Connection) -> str | None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        return (
            f"SQLite cannot use a write-ahead log here (its journal_mode is {mode}). Put the "
            "database into a file on a local disk."
        )
    level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    if level < _SYNCHRONOUS_FULL:
        return (
            f"SQLite's synchronous is {level}, not FULL: a power cut would take back what was "
            "recorded, and mails would be sent again."
        )
    return None


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("newsletter_reading", False)
    if connection.info.get("query_only") is not reading:  # it stays as it is for the connection
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
        connection.info["query_only"] = reading
    # IMMEDIATE: writers queue at the start instead of failing in the middle.
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session to write with: committed at the end, rolled back by an exception.

    Keep it short and never use the network inside: on SQLite everybody else waits.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that can only read; the database itself refuses a write.

    This is what GET requests get, so that a mail scanner's visit cannot change anything.
    """
    options: dict[str, Any] = {"newsletter_reading": True}
    if engine.dialect.name == "postgresql":
        # One snapshot for all that is read, as on SQLite.
        options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    with (
        engine.connect().execution_options(**options) as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session
