"""The ledger: on the disk before the answer, whole after a crash, and newer than any backup."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from newsletter import store
from newsletter.consent import ledger
from newsletter.consent.ledger import Entry, Ledger
from newsletter.errors import LogFault
from newsletter.store import LedgerKind


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "consent")


def note(engine: Engine, now: Any, *slugs: str | None) -> None:
    with store.transaction(engine) as session:
        for slug in slugs:
            kind = LedgerKind.WITHDRAWN if slug else LedgerKind.ERASED
            ledger.note(session, kind, bytes(range(32)), publication=slug, now=now)


def numbers(book: Ledger) -> list[int]:
    return [each.id for each in book.entries()]


def test_an_entry_is_one_line_and_back(now: Any) -> None:
    """What was written is what is read."""
    for slug in (None, "field-notes"):
        entry = Entry(7, LedgerKind.BLOCKED, b"\0" * 32, slug, now)
        assert Entry.parse(entry.line[:-1]) == entry
        assert entry.line.count("\n") == 1


def test_it_goes_on_from_its_last_line(engine: Engine, book: Ledger, now: Any) -> None:
    """Each entry is written once, in order; numbers rise also within one moment."""
    assert book.catch_up(engine) == 0
    assert not book.file.exists()
    note(engine, now, "a", None)
    assert book.catch_up(engine) == 2
    assert book.catch_up(engine) == 0
    note(engine, now, "b")
    note(engine, now - timedelta(days=1), "c")
    assert book.catch_up(engine) == 2
    assert [each.publication for each in book.entries()] == ["a", None, "b", "c"]
    assert numbers(book) == sorted(set(numbers(book)))
    assert book.file.stat().st_mode & 0o777 == 0o600
    assert book.file.parent.stat().st_mode & 0o777 == 0o700
    book.check(engine)


def test_a_torn_line_is_written_anew(engine: Engine, book: Ledger, now: Any) -> None:
    """Wherever a crash cuts the file, catching up makes it whole."""
    note(engine, now, "a", "b")
    book.catch_up(engine)
    whole = book.file.read_bytes()
    for length in range(len(whole) + 1):
        book.file.write_bytes(whole[:length])
        book.check(engine)
        book.catch_up(engine)
        assert book.file.read_bytes() == whole


def test_a_lost_file_is_written_anew(engine: Engine, book: Ledger, now: Any) -> None:
    """The database has it all."""
    note(engine, now, *"abc")
    book.catch_up(engine)
    book.file.unlink()
    assert book.catch_up(engine) == 3


def test_many_at_once(engine: Engine, book: Ledger, now: Any) -> None:
    """Processes that leave at the same moment write each line once."""

    def leave(slug: str) -> None:
        note(engine, now, slug)
        book.catch_up(engine)

    threads = [threading.Thread(target=leave, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.publication or "" for each in book.entries()) == [f"p{n}" for n in range(8)]


def test_an_older_database_is_named(engine: Engine, book: Ledger, now: Any) -> None:
    """A line that the database does not know says when the cure is a recovery."""
    note(engine, now, "a")
    book.catch_up(engine)
    lost = Entry(9, LedgerKind.ERASED, b"\1" * 32, None, now)
    with book.file.open("a") as opened:
        opened.write(lost.line)
    with pytest.raises(LogFault, match="newsletter recover"):
        book.check(engine)
    with store.reading(engine) as session:
        assert list(book.missing(session)) == [lost]
    with store.transaction(engine) as session:
        ledger.keep(session, [lost])
    book.check(engine)


def test_a_line_that_cannot_be_read(engine: Engine, book: Ledger, now: Any) -> None:
    """It is named with its number, not passed over."""
    note(engine, now, "a")
    book.catch_up(engine)
    book.file.write_text(f"nonsense\n{book.file.read_text()}")
    with pytest.raises(LogFault, match="line 1"):
        book.check(engine)
