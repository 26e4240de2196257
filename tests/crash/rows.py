"""The database's half of the evidence, read with plain SQL: sqlite3 or psycopg, nothing of ours.

`watch` puts a trigger on the outbox, so that each change of a state or an epoch is written down by
the database itself, in the transaction that makes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from crash.checker import Change, History, Left, Queued, Row
from crash.ledger import Ledger

_TABLE = "CREATE TABLE witness (n {key}, delivery BIGINT, before TEXT, after TEXT, b INT, a INT)"
_SQLITE = (
    _TABLE.format(key="INTEGER PRIMARY KEY"),
    "CREATE TRIGGER witness AFTER UPDATE OF state, epoch ON delivery "
    "WHEN OLD.state <> NEW.state OR OLD.epoch <> NEW.epoch BEGIN "
    "INSERT INTO witness(delivery, before, after, b, a) "
    "VALUES (NEW.id, OLD.state, NEW.state, OLD.epoch, NEW.epoch); END",
)
_POSTGRESQL = (
    _TABLE.format(key="BIGSERIAL PRIMARY KEY"),
    "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO witness(delivery, before, after, b, a) "
    "VALUES (NEW.id, OLD.state, NEW.state, OLD.epoch, NEW.epoch); RETURN NULL; END $$",
    "CREATE TRIGGER witness AFTER UPDATE OF state, epoch ON delivery FOR EACH ROW "
    "WHEN (OLD.state <> NEW.state OR OLD.epoch <> NEW.epoch) EXECUTE FUNCTION witness()",
)


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """A connection that commits each statement. url: as newsletter.config normalises it."""
    if url.startswith("sqlite:///"):
        with closing(
            sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
        ) as connection:
            yield connection
        return
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def watch(url: str) -> None:
    """Have the database write down each change of a delivery from now on."""
    with opened(url) as connection:
        for statement in _SQLITE if url.startswith("sqlite") else _POSTGRESQL:
            connection.execute(statement)


def queued(url: str) -> list[Queued]:
    """The outbox before anything is sent."""
    query = "SELECT id, digest_id, address, message_id FROM delivery WHERE digest_id IS NOT NULL"
    with opened(url) as connection:
        return [Queued(*found) for found in connection.execute(query)]


def counts(url: str) -> dict[str, int]:
    """How many deliveries of digests there are in each state."""
    query = "SELECT state, count(*) FROM delivery WHERE digest_id IS NOT NULL GROUP BY state"
    with opened(url) as connection:
        return dict(connection.execute(query).fetchall())


@dataclass(frozen=True)
class States:
    """all: {Message-ID: state}. held: {recipient: state} of what a process held when it died."""

    all: dict[str, str]
    held: dict[str, str]


def states(url: str) -> States:
    """The states of all deliveries now."""
    found = States({}, {})
    with opened(url) as connection:
        for message_id, address, state in connection.execute(
            "SELECT message_id, address, state FROM delivery WHERE address IS NOT NULL"
        ):
            found.all[message_id] = state
            if state in ("claimed", "armed"):
                found.held[address] = state
    return found


def history(
    url: str, before: list[Queued], ledger: Ledger, left: list[Left], **known: Any
) -> History:
    """All the evidence there is; known: what the database cannot say (see History)."""
    with opened(url) as connection:
        rows = [
            Row(*found, bytes(sha256).hex() if sha256 is not None else None)
            for *found, sha256 in connection.execute(
                "SELECT id, digest_id, state, epoch, message_id, content_sha256 FROM delivery "
                "WHERE digest_id IS NOT NULL"
            )
        ]
        changes = [
            Change(*found)
            for found in connection.execute(
                "SELECT delivery, before, after, b, a FROM witness ORDER BY n"
            )
        ]
        digests = dict(connection.execute("SELECT id, state FROM digest").fetchall())
    return History(before, rows, ledger, digests, changes, left=left, **known)
