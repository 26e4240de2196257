"""Whatever is changed in the log behind our back, a check from the first event finds it.

Each column of each row of the log's tables is changed, and rows are deleted, inserted, swapped and
cut off, one at a time, in a log of 64 events with something of everything in it. What the database
itself refuses counts as found; the constraints that it checks are switched off as far as it lets
whoever has its file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from logbook import Logbook, write_64_events
from sqlalchemy import Engine, Table, event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.errors import ConsentLogError

# Of each table that makes up the log, or that the log speaks about: the columns that it proves.
# The rest is no part of the record: what a subscriber is called, when a row was written. The time
# of a checkpoint is one of these, since a checkpoint proves an order and no time.
PROVEN = {
    "consent_event": [
        *("position", "commitment", "body", "subscriber_id", "subscription_id", "state")
    ],
    "consent_tile": ["log", "level", "number", "hashes"],
    "consent_checkpoint": ["id", "log", "size", "note"],
    "installation": ["log_size", "log_key", "log_number", "recovery_position", "verified_size"],
    "subscription": ["id", "public_id", "publication_id", "subscriber_id", "state"],
    "subscriber": ["id", "public_id", "address", "address_key", "key"],
}
ROW_TABLES = ["consent_event", "consent_tile", "consent_checkpoint"]

Change = Callable[[Session], Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Any) -> Iterator[Any]:
    """A log of 64 events in a file of its own; where it lies."""
    folder = tmp_path_factory.mktemp("written")
    shutil.copy(_sqlite_template, folder / "newsletter.db")
    engine = store.connect(f"sqlite:///{folder / 'newsletter.db'}")
    write_64_events(Logbook.begin(engine, folder / "consent", datetime(2026, 3, 1, 12, tzinfo=UTC)))
    engine.dispose()
    yield folder


@pytest.fixture
def book(written: Any, now: Any) -> Iterator[Logbook]:
    """The same, opened by somebody for whom the database checks as little as it can."""
    engine = store.connect(f"sqlite:///{written / 'newsletter.db'}")
    event.listen(engine, "connect", _look_away)
    yield Logbook(engine, consent.Keyring(written / "consent"), now)
    engine.dispose()


def _look_away(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA ignore_check_constraints=ON")


def fault_after(book: Logbook, change: Change) -> ConsentLogError | None:
    """What a full check says after the change, which is taken back. Refused: IntegrityError."""
    with Session(book.engine) as session:
        try:
            change(session)
            consent.verify(session, book.keyring, full=True)
        except ConsentLogError as error:
            return error
        finally:
            session.rollback()
    return None


def unfound(book: Logbook, changes: Iterator[tuple[str, Change]]) -> list[str]:
    """The names of the changes that a full check does not find."""
    names, tried = [], 0
    for name, change in changes:
        tried += 1
        try:
            if fault_after(book, change) is None:
                names.append(name)
        except IntegrityError:
            continue
    assert tried
    return names


def test_the_log_is_whole_before_it_is_tampered_with(book: Logbook) -> None:
    """64 events, some of them erased, four checkpoints; clean."""
    report = book.verify()
    assert (report.events, report.checkpoints, report.signed) == (64, 4, 64)
    assert report.erased > 3
    assert set(report.states) == {"bounced", "confirmed", "pending", "unsubscribed"}
    assert report.full


@pytest.mark.parametrize("name", [name for name in PROVEN if name != "consent_event"])
def test_each_column_of_each_row(book: Logbook, name: str) -> None:
    """Nothing that is changed stays unfound."""
    changes = ((change.name, change) for change in column_changes(book, name))
    assert unfound(book, changes) == []


def test_each_column_of_each_event(book: Logbook) -> None:
    """Nothing that is changed stays unfound, and the event that was changed is the one named."""
    _table, _keys, rows = _rows(book.engine, "consent_event")
    about_nobody = {row["position"] for row in rows if row["body"] and row["subscriber_id"] is None}
    for change in column_changes(book, "consent_event"):
        position = change.key["position"]
        with suppress(IntegrityError):
            found = fault_after(book, change)
            assert found is not None, change.name
            assert f"position {found.position}: " in str(found)
            # Without its erasure, the first event that it closed is the first fault.
            is_earlier = position in about_nobody and found.position < position
            assert found.position == position or is_earlier, change.name


@pytest.mark.parametrize("name", ROW_TABLES)
def test_each_deleted_row(book: Logbook, name: str) -> None:
    """A row that is missing is found."""
    table, keys, rows = _rows(book.engine, name)

    def changes() -> Iterator[tuple[str, Change]]:
        for row in rows:
            where = _where(table, keys, row)
            yield (
                f"delete {_key(keys, row)}",
                lambda session, w=where: session.execute(table.delete().where(w)),
            )

    assert unfound(book, changes()) == []


@pytest.mark.parametrize("name", ROW_TABLES)
def test_each_truncation(book: Logbook, name: str) -> None:
    """The last row, the last two, and so on to all of them; also when the size is set back."""
    table, keys, rows = _rows(book.engine, name)

    def cut(session: Session, start: int, resize: bool) -> None:
        for row in rows[start:]:
            session.execute(table.delete().where(_where(table, keys, row)))
        if resize:
            session.execute(text(f"UPDATE installation SET log_size = {start}, verified_size = 0"))

    def changes() -> Iterator[tuple[str, Change]]:
        for start in range(len(rows)):
            yield f"cut from {start}", lambda session, s=start: cut(session, s, False)
            if name == "consent_event":
                yield f"cut and resize {start}", lambda session, s=start: cut(session, s, True)

    assert unfound(book, changes()) == []


@pytest.mark.parametrize("name", ROW_TABLES)
def test_each_swap_of_neighbours(book: Logbook, name: str) -> None:
    """Two rows that change places are found, whole or in one column."""
    table, keys, rows = _rows(book.engine, name)
    columns = [column for column in PROVEN[name] if column not in keys]

    def swap(session: Session, one: Any, other: Any) -> None:
        for here, there in ((one, other), (other, one)):
            values = {column: there[column] for column in columns}
            session.execute(table.update().where(_where(table, keys, here)).values(values))

    def changes() -> Iterator[tuple[str, Change]]:
        for one, other in zip(rows, [*rows[1:], rows[0]], strict=True):
            if one is not other:
                label = f"{_key(keys, one)} <-> {_key(keys, other)}"
                yield label, lambda session, a=one, b=other: swap(session, a, b)

    if len(rows) > 1:
        assert unfound(book, changes()) == []


def test_each_insertion(book: Logbook) -> None:
    """Rows that were added at the end, before the beginning, or in other logs are found."""

    def changes() -> Iterator[tuple[str, Change]]:
        for name, over in (
            ("consent_event", {"position": 64}),
            ("consent_event", {"position": -1}),
            ("consent_event", {"position": 1000}),
            ("consent_tile", {"number": 1}),
            ("consent_tile", {"number": -1}),
            ("consent_tile", {"level": 1}),
            ("consent_tile", {"level": -1}),
            ("consent_tile", {"log": 2}),
            ("consent_tile", {"log": 0}),
            ("consent_tile", {"level": 1, "hashes": b""}),
            ("consent_checkpoint", {"id": 5, "size": 63}),
            ("consent_checkpoint", {"id": 0, "size": 1}),
            ("consent_checkpoint", {"id": 5, "size": 65}),
            ("consent_checkpoint", {"id": 5, "log": 2}),
            ("consent_checkpoint", {"id": 5, "log": 0}),
        ):
            table, _keys, rows = _rows(book.engine, name)
            values = dict(rows[-1]) | over
            yield (
                f"{name} {over}",
                lambda session, t=table, v=values: session.execute(t.insert().values(v)),
            )
            if "position" in over:

                def with_size(session: Session, t: Table = table, v: Any = values) -> None:
                    session.execute(t.insert().values(v))
                    session.execute(text("UPDATE installation SET log_size = log_size + 1"))

                yield f"{name} {over} and the size", with_size

    assert unfound(book, changes()) == []


def test_an_event_that_is_put_in_between(book: Logbook) -> None:
    """All later events move up by one, the size with them: found where the new one stands."""

    def insert(session: Session, at: int) -> None:
        # Twice, since each position is taken until the next has moved.
        session.execute(
            text("UPDATE consent_event SET position = -position - 2 WHERE position >= :at"),
            {"at": at},
        )
        session.execute(
            text("UPDATE consent_event SET position = -position - 1 WHERE position < 0")
        )
        session.execute(
            text(
                "INSERT INTO consent_event SELECT :at, commitment, body, subscriber_id, "
                "subscription_id, state FROM consent_event WHERE position = :from"
            ).bindparams(at=at, **{"from": at - 1})
        )
        session.execute(text("UPDATE installation SET log_size = log_size + 1"))

    for at in range(8, 65, 8):
        found = fault_after(book, lambda session, a=at: insert(session, a))
        assert found is not None
        assert found.position == at


def test_a_deletion_that_poses_as_an_erasure(book: Logbook) -> None:
    """An event without its words is explained by an erasure that lists it, and by nothing else."""
    _table, _keys, rows = _rows(book.engine, "consent_event")
    emptied = "body = NULL, subscriber_id = NULL, subscription_id = NULL, state = NULL"
    for row in rows:
        if row["body"] is None:
            continue
        statement = f"UPDATE consent_event SET {emptied} WHERE position = {row['position']}"
        found = fault_after(book, lambda session, s=statement: session.execute(text(s)))
        assert found is not None
        # Of an erasure's own event, the first that it closed has no explanation any more.
        assert found.position is not None
        assert found.position <= row["position"]


def test_an_older_copy_of_the_log(book: Logbook, written: Any, tmp_path: Any) -> None:
    """A log that is whole, but older than the checkpoint beside the key, is found."""

    def older(session: Session) -> None:
        # As if the last ten events had never been: the tree fits, the last checkpoint is gone.
        session.execute(text("DELETE FROM consent_checkpoint WHERE size > 54"))
        session.execute(text("DELETE FROM consent_event WHERE position >= 54"))
        session.execute(text("UPDATE installation SET log_size = 54"))
        hashes = session.scalar(text("SELECT hashes FROM consent_tile"))
        session.execute(text("UPDATE consent_tile SET hashes = :h"), {"h": hashes[: 54 * 32]})
        ended = "SELECT subscription_id FROM consent_event WHERE subscription_id IS NOT NULL"
        session.execute(text(f"DELETE FROM subscription WHERE id NOT IN ({ended})"))

    found = fault_after(book, older)
    assert found is not None
    assert "older than the last checkpoint" in str(found)
    assert found.position == 54


def test_another_key_is_not_ours(book: Logbook, tmp_path: Any) -> None:
    """Checkpoints that somebody else signed are found, whatever they sign."""
    stranger = consent.Keyring(tmp_path / "stranger")
    stranger.create("news.example.org/consent-log")

    def signed_anew(session: Session) -> None:
        for row in session.scalars(select(store.ConsentCheckpoint)):
            text_of_it = row.note.rpartition("\n\n")[0] + "\n"
            row.note = stranger.signer.sign(text_of_it)
        session.flush()

    found = fault_after(book, signed_anew)
    assert found is not None
    assert "is not ours" in str(found)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_sample_on_postgresql(engine: Engine, tmp_path: Any, now: Any) -> None:
    """The same on PostgreSQL, where its superuser has switched the foreign keys off."""
    book = Logbook.begin(engine, tmp_path / "consent", now)
    write_64_events(book)
    assert book.verify().events == 64

    def blind(change: Change) -> Change:
        def both(session: Session) -> None:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            change(session)

        return both

    every = [change for name in PROVEN for change in column_changes(book, name)]
    sample = [(change.name, blind(change)) for change in every[::11]]
    assert unfound(book, iter(sample)) == []


class ColumnChange:
    """One value of one row is set to another."""

    def __init__(self, table: Table, key: dict[str, Any], column: str, value: Any) -> None:
        self.table, self.key, self.column, self.value = table, key, column, value
        self.name = f"{table.name} {key}: {column} = {value!r:.40}"

    def __call__(self, session: Session) -> None:
        where = [self.table.c[name] == value for name, value in self.key.items()]
        session.execute(self.table.update().where(*where).values({self.column: self.value}))


def column_changes(book: Logbook, name: str) -> Iterator[ColumnChange]:
    """Each proven column of each row: altered a little, and emptied."""
    table, keys, rows = _rows(book.engine, name)
    for number, row in enumerate(rows):
        key = {column: row[column] for column in keys}
        for column in PROVEN[name]:
            for value in _others(column, row[column], rows[number - 1][column], table):
                if value != row[column]:
                    yield ColumnChange(table, key, column, value)


def _others(column: str, value: Any, neighbour: Any, table: Table) -> list[Any]:
    """Other values for one that stands in a column."""
    if column == "state":
        return ["pending" if value != "pending" else "confirmed", None]
    if isinstance(value, bytes):
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        return [flipped, value[:-1], None]
    if isinstance(value, str):
        return [value[:-2] + ("x" if value[-2:-1] != "x" else "y") + value[-1:], None]
    if isinstance(value, int):
        return [value + 1, None]
    # None, of an event that was erased or is about nobody: as if it were about somebody.
    return [neighbour if neighbour is not None else _plausible(table, column)]


def _plausible(table: Table, column: str) -> Any:
    kind = table.c[column].type.python_type
    return {int: 1, bytes: b"{}", str: "confirmed"}[kind]


def _rows(engine: Engine, name: str) -> tuple[Table, list[str], list[Any]]:
    table = store.Base.metadata.tables[name]
    keys = [column.name for column in table.primary_key]
    columns = [table.c[column] for column in dict.fromkeys([*keys, *table.c.keys()])]
    with store.reading(engine) as session:
        rows = session.execute(select(*columns).order_by(*table.primary_key)).mappings().all()
    return table, keys, list(rows)


def _where(table: Table, keys: list[str], row: Any) -> Any:
    condition = table.c[keys[0]] == row[keys[0]]
    for key in keys[1:]:
        condition &= table.c[key] == row[key]
    return condition


def _key(keys: list[str], row: Any) -> Any:
    return tuple(row[key] for key in keys)
