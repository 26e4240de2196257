"""The two ways to use the database: reading refuses to write, writing is durable and whole."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, exc, select, text

from newsletter import store
from newsletter.errors import ConfigError
from newsletter.store import Publication
from newsletter.store.engine import durable

sqlite_only = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=False)
postgresql_only = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=False)
MakePublication = Callable[..., Publication]


def fold_in_the_wal(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def slugs(engine: Engine) -> list[str]:
    with store.reading(engine) as session:
        return list(session.scalars(select(Publication.slug).order_by(Publication.slug)))


def test_transaction_commits(engine: Engine, make_publication: MakePublication) -> None:
    """What was written is there for everybody afterwards."""
    with store.transaction(engine) as session:
        make_publication(session, slug="a")
    assert slugs(engine) == ["a"]


def test_transaction_rolls_back(engine: Engine, make_publication: MakePublication) -> None:
    """An exception takes everything back, also what was sent to the database already."""
    with (
        pytest.raises(RuntimeError, match="halfway"),
        store.transaction(engine) as session,
    ):
        make_publication(session, slug="a")
        raise RuntimeError("halfway")
    assert slugs(engine) == []


def test_rows_stay_usable_afterwards(engine: Engine, make_publication: MakePublication) -> None:
    """A page can be rendered from rows whose session has ended."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
    assert publication.title == "Field Notes"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO worker (public_id, host, pid, started_at, seen_at) "
        "VALUES ('a', 'b', 1, '2026-01-01', '2026-01-01')",
        "UPDATE publication SET title = 'x'",
        "DELETE FROM publication",
        "CREATE TABLE more (id INTEGER)",
        "DROP TABLE worker",
    ],
)
def test_reading_refuses_writes(
    engine: Engine, make_publication: MakePublication, statement: str
) -> None:
    """The database itself refuses a write in what a GET request gets, and nothing is changed."""
    with store.transaction(engine) as session:
        make_publication(session, slug="a", title="before")
    with (
        pytest.raises(exc.DBAPIError, match=r"readonly|read-only|read only"),
        store.reading(engine) as session,
    ):
        session.execute(text(statement))
    with store.reading(engine) as session:
        assert session.scalars(select(Publication.title)).all() == ["before"]


def test_reading_refuses_flushes(engine: Engine, make_publication: MakePublication) -> None:
    """A changed object in a reading session is refused when it is flushed."""
    with (
        pytest.raises(exc.DBAPIError, match=r"readonly|read-only"),
        store.reading(engine) as session,
    ):
        make_publication(session)
        session.commit()
    assert slugs(engine) == []


def test_connection_of_a_reader_can_write_again(
    engine: Engine, make_publication: MakePublication
) -> None:
    """The same connection out of the pool reads, writes and reads."""
    for slug in ("a", "b", "c"):
        with store.reading(engine) as session:
            session.execute(text("SELECT 1"))
        with store.transaction(engine) as session:
            make_publication(session, slug=slug)
        with (
            pytest.raises(exc.DBAPIError, match=r"readonly|read-only"),
            store.reading(engine) as session,
        ):
            session.execute(text("DELETE FROM publication"))
    assert slugs(engine) == ["a", "b", "c"]
    assert engine.pool.status()


def test_error_text_holds_no_parameters(engine: Engine, make_publication: MakePublication) -> None:
    """A database error ends in a log; the values of the statement do not."""
    with (
        pytest.raises(exc.IntegrityError) as caught,
        store.transaction(engine) as session,
    ):
        make_publication(session, slug="a", from_address="ada@example.org")
        make_publication(session, slug="a", from_address="ada@example.org")
    assert "ada@example.org" not in str(caught.value)


def test_foreign_keys_are_kept(engine: Engine, now: datetime) -> None:
    """A row that names no row is refused, on SQLite too."""
    with (
        pytest.raises(exc.IntegrityError, match=r"(?i)foreign key"),
        store.transaction(engine) as session,
    ):
        session.add(store.Digest(publication_id=77, subject="x", created_at=now))


def test_readers_do_not_wait_for_a_writer(
    engine: Engine, make_publication: MakePublication
) -> None:
    """Pages are served while an import writes."""
    with store.transaction(engine) as session:
        make_publication(session)
        assert slugs(engine) == []


def test_writers_queue_up(engine: Engine, make_publication: MakePublication) -> None:
    """Many threads that read, then write, all succeed and none overwrites another."""
    with store.transaction(engine) as session:
        make_publication(session, title="0")
    faults: list[BaseException] = []

    def count_one_up() -> None:
        try:
            for _ in range(5):
                with store.transaction(engine) as session:
                    publication = session.scalars(select(Publication).with_for_update()).one()
                    publication.title = str(int(publication.title) + 1)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=count_one_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with store.reading(engine) as session:
        assert session.scalars(select(Publication.title)).one() == "40"


@sqlite_only
@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)],
)
def test_sqlite_is_durable_and_forgets(engine: Engine, pragma: str, value: object) -> None:
    """WAL, FULL, foreign keys and secure_delete on every connection, for reading and writing."""
    for mode in (store.reading, store.transaction):
        with mode(engine) as session, mode(engine) if mode is store.reading else session as other:
            for each in {session, other}:
                assert each.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


@sqlite_only
def test_sqlite_takes_the_write_lock_at_the_start(engine: Engine) -> None:
    """A writer waits at its beginning; it never fails in the middle, after it has read."""
    impatient = store.connect(str(engine.url))
    with store.transaction(engine) as session:
        session.execute(text("SELECT 1"))
        with (
            pytest.raises(exc.OperationalError, match="locked"),
            impatient.connect() as connection,
        ):
            # Nothing of it has run: the pragma is on the connection, not in the transaction.
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA busy_timeout=0")
            connection.execute(text("SELECT 1"))
    impatient.dispose()


@sqlite_only
def test_sqlite_deleted_rows_are_gone(engine: Engine, make_publication: MakePublication) -> None:
    """What was deleted is overwritten in the file, once the WAL is folded in."""
    secret = "Q9-not-to-be-found"
    with store.transaction(engine) as session:
        publication = make_publication(session, postal_address=secret)
    file = Path(str(engine.url.database))
    fold_in_the_wal(file)
    assert secret.encode() in file.read_bytes()
    with store.transaction(engine) as session:
        session.delete(session.merge(publication))
    fold_in_the_wal(file)
    assert secret.encode() not in file.read_bytes()


@sqlite_only
def test_a_new_file_is_for_nobody_else_to_read(empty_database_url: str) -> None:
    """The database and its write-ahead log hold addresses: mode 600, whatever the umask is."""
    engine = store.connect(empty_database_url)
    old = os.umask(0)
    try:
        store.create(engine, b"h" * 32, datetime(2026, 3, 1, tzinfo=UTC))
        folder = Path(engine.url.database or "").parent
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.db*")}
    finally:
        os.umask(old)
        engine.dispose()
    assert set(modes.values()) == {0o600}, modes


def test_what_is_durable_may_send(engine: Engine) -> None:
    """As every engine of ours is, on both databases."""
    durable(engine)


@sqlite_only
def test_asking_does_not_wait_for_a_writer(engine: Engine) -> None:
    """A sender starts while an import is writing."""
    with store.transaction(engine):
        durable(engine)


@sqlite_only
@pytest.mark.parametrize(
    ("pragma", "cure"), [("synchronous=NORMAL", "FULL"), ("journal_mode=DELETE", "write-ahead log")]
)
def test_less_than_durable_is_refused(engine: Engine, pragma: str, cure: str) -> None:
    """Whoever takes the promise away from SQLite is told what it would cost."""

    @event.listens_for(engine, "connect")
    def weaken(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    with pytest.raises(ConfigError, match=cure):
        durable(engine)


@postgresql_only
def test_a_server_that_is_set_to_less_is_overruled(engine: Engine) -> None:
    """Our connections wait for the disk, whatever the server, the database or the role says."""
    with engine.connect() as connection:
        name = engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
        connection.commit()
    engine.dispose()
    for mode in (store.reading, store.transaction):
        with mode(engine) as session:
            assert session.scalar(text("SHOW synchronous_commit")) == "on"
    durable(engine)


@postgresql_only
def test_a_stricter_server_stays_strict(engine: Engine) -> None:
    """remote_apply is more than on."""
    with engine.connect() as connection:
        name = engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = remote_apply'))
        connection.commit()
    engine.dispose()
    with store.reading(engine) as session:
        assert session.scalar(text("SHOW synchronous_commit")) == "remote_apply"


@postgresql_only
def test_commits_that_do_not_wait_are_refused(engine: Engine) -> None:
    """A pool between us and the server can undo what we set."""

    @event.listens_for(engine, "connect")
    def weaken(connection: Any, _record: object) -> None:
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    with pytest.raises(ConfigError, match="synchronous_commit is off"):
        durable(engine)
