"""Long logs, what was added since the last check, and the logs that recoveries ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logbook import Logbook
from sqlalchemy import Engine, text

from newsletter import consent, store
from newsletter.consent import check, checkpoint
from newsletter.errors import ConsentLogError


@pytest.fixture
def book(engine: Engine, tmp_path: Path, now: Any) -> Iterator[Logbook]:
    """An empty log with its key."""
    return Logbook.begin(engine, tmp_path / "consent", now)


def remember(book: Logbook, report: consent.Report) -> None:
    with store.transaction(book.engine) as session:
        check.remember(session, report)


def change(book: Logbook, statement: str, **values: Any) -> None:
    """Something is done behind our back."""
    with store.transaction(book.engine) as session:
        session.execute(text(statement), values)


def fault(book: Logbook, **how: Any) -> ConsentLogError:
    with pytest.raises(ConsentLogError) as caught:
        book.verify(**how)
    return caught.value


def grow(book: Logbook, size: int, name: str = "paper") -> None:
    """Bring the log to `size` events by imports."""
    at = book.size
    for start in range(at, size, 1000):
        book.take_in(*(f"{name}-{number}" for number in range(start, min(start + 1000, size))))
    assert book.size == size


def tile(book: Logbook, level: int, number: int, log: int = 1) -> bytes:
    query = "SELECT hashes FROM consent_tile WHERE log = :log AND level = :level AND number = :n"
    with store.reading(book.engine) as session:
        found: bytes = session.scalar(text(query), {"log": log, "level": level, "n": number})
        return found


def put(book: Logbook, hashes: bytes, level: int, number: int, log: int = 1) -> None:
    change(
        book,
        "UPDATE consent_tile SET hashes = :h WHERE log = :log AND level = :level AND number = :n",
        h=hashes,
        log=log,
        level=level,
        n=number,
    )


def test_every_hash_of_a_tree_of_several_tiles(book: Logbook) -> None:
    """A changed, missing or added hash is found, among the leaves and above them."""
    grow(book, 600)
    book.sign()
    assert book.verify().signed == 600
    for level, number, first in ((0, 0, 0), (0, 1, 256), (0, 2, 512), (1, 0, 255)):
        good = tile(book, level, number)
        for index in {0, 1, len(good) // 64, len(good) // 32 - 1}:
            bad = bytearray(good)
            bad[index * 32 + 7] ^= 1
            put(book, bytes(bad), level, number)
            found = fault(book)
            assert found.position == first + index * (1 if level == 0 else 256)
        for bad in (good[:-32], good[:-1], good + good[:32], b""):
            put(book, bytes(bad), level, number)
            assert fault(book).position is not None
        put(book, good, level, number)
    assert book.verify().events == 600


def test_a_check_begins_where_the_last_one_ended(book: Logbook) -> None:
    """Behind the newest checkpoint that was found good, whatever tile that lies in."""
    expected = 0
    for size in (3, 255, 256, 257, 511, 513):
        grow(book, size)
        report = book.verify(full=False, whole_up_to=0)
        assert (report.start, report.events, report.full) == (expected, size, expected == 0)
        assert report.signed == expected
        book.sign()
        report = book.verify(full=False, whole_up_to=0)
        assert report.signed == size
        assert report.states == {"confirmed": size}
        remember(book, report)
        expected = size
    report = book.verify(full=False, whole_up_to=0)
    assert (report.start, report.checkpoints) == (513, 0)


def test_a_short_log_is_checked_as_a_whole(book: Logbook) -> None:
    """Where that takes a second, nothing is left to the next full check."""
    grow(book, 10)
    book.sign()
    remember(book, book.verify())
    assert book.verify(full=False).full
    assert not book.verify(full=False, whole_up_to=9).full


def test_what_is_new_is_checked_by_default(book: Logbook) -> None:
    """Words, leaves, checkpoints and states since then; what is older only by a full check."""
    grow(book, 300)
    book.sign()
    remember(book, book.verify())
    book.take_in("ada")
    book.erase("paper-3")
    book.sign()
    assert book.verify(full=False, whole_up_to=0).start == 300
    since = {"full": False, "whole_up_to": 0}
    with store.reading(book.engine) as session:
        rows = session.execute(text("SELECT position, body, state FROM consent_event")).all()
    words = {position: (body, state) for position, body, state in rows}

    def set_body(position: int, body: Any) -> None:
        change(book, "UPDATE consent_event SET body = :b WHERE position = :p", b=body, p=position)

    def set_state(position: int, state: Any) -> None:
        change(book, "UPDATE consent_event SET state = :s WHERE position = :p", s=state, p=position)

    set_body(300, words[300][0] + b" ")
    assert fault(book, **since).position == 300
    set_body(300, words[300][0])
    set_body(3, words[4][0])
    assert fault(book, **since).position == 3  # the new erasure lists it
    set_body(3, None)
    set_state(7, "pending")
    assert "the table says confirmed" in str(fault(book, **since))
    set_state(7, words[7][1])
    set_body(7, words[8][0])
    assert book.verify(**since).start == 300
    assert fault(book).position == 7
    set_body(7, words[7][0])
    assert book.verify().full


def test_a_false_beginning_is_refused(book: Logbook) -> None:
    """Nobody can have the check begin later than a signed checkpoint."""
    grow(book, 20)
    book.sign()
    grow(book, 30)
    for size in (19, 25, 30, 31, -1):
        change(book, "UPDATE installation SET verified_size = :s", s=size)
        assert "never verified" in str(fault(book, full=False, whole_up_to=0))
    put(book, tile(book, 0, 0)[:640][::-1] + tile(book, 0, 0)[640:], 0, 0)
    change(book, "UPDATE installation SET verified_size = 20")
    assert fault(book, full=False, whole_up_to=0).position == 19


def test_a_halt_ends_with_a_check_from_the_first_event(book: Logbook) -> None:
    """And only for what was known when that check began."""
    grow(book, 5)
    book.sign()
    remember(book, book.verify())
    with store.transaction(book.engine) as session:
        checkpoint.halt(session, "position 3: something")
    report = book.verify(full=False, whole_up_to=0)
    assert report.halted == "position 3: something"
    remember(book, report)
    assert halted(book) == "position 3: something"
    report = book.verify()
    change(book, "UPDATE installation SET log_fault = 'position 4: something newer'")
    remember(book, report)
    assert halted(book) == "position 4: something newer"
    remember(book, book.verify())
    assert halted(book) is None


def halted(book: Logbook) -> str | None:
    with store.reading(book.engine) as session:
        return session.get_one(store.Installation, 1).log_fault


def test_without_keys_everything_but_the_signatures_is_checked(book: Logbook) -> None:
    """Somebody who has the database and nothing else can tell whether it fits itself."""
    grow(book, 10)
    book.sign()
    remember(book, book.verify())
    with store.reading(book.engine) as session:
        report = consent.verify(session)
    assert (report.checkpoints, report.signed, report.full) == (1, 0, True)
    change(book, "UPDATE consent_checkpoint SET size = 9")
    with store.reading(book.engine) as session, pytest.raises(ConsentLogError, match="signed for"):
        consent.verify(session)


def test_progress_is_told(book: Logbook) -> None:
    """How many events of how many."""
    grow(book, 2500)
    told: list[tuple[int, int]] = []
    book.verify(progress=lambda done, total: told.append((done, total)))
    assert told == [(1000, 2500), (2000, 2500), (2500, 2500)]


def recovered(book: Logbook, found: str) -> None:
    """As newsletter recover does it, after an older database was put back."""
    kept = book.keyring.last_checkpoint()
    assert kept is not None
    with store.transaction(book.engine) as session:
        consent.record_recovery(session, kept=kept, found=found, now=book.now)
    book.sign()


def test_a_recovered_log(book: Logbook) -> None:
    """The new log holds all surviving events; the one that ended is checked beside it."""
    grow(book, 270)
    found = book.sign()
    assert found is not None
    # What was signed after the backup was made is not in it.
    ahead = book.keyring.signer.sign(f"{book.keyring.origin(1)}\n300\n{'A' * 43}=\n")
    book.keyring.keep_checkpoint(ahead)
    assert "older than the last checkpoint" in str(fault(book))
    recovered(book, found)
    report = book.verify()
    assert (report.events, report.checkpoints, report.signed) == (271, 2, 271)
    remember(book, report)
    grow(book, 290, "later")
    book.erase("paper-5")
    book.sign()
    assert book.verify(full=False, whole_up_to=0).start == 271
    assert book.verify().checkpoints == 3
    for log in (1, 2):
        for level in (0, 1):
            good = tile(book, level, 0, log)
            put(book, bytes([good[0] ^ 1]) + good[1:], level, 0, log)
            assert fault(book).position is not None
            put(book, good, level, 0, log)
    for statement in (
        "DELETE FROM consent_checkpoint WHERE log = 1",
        "UPDATE consent_checkpoint SET log = 1 WHERE size = 271",
        "DELETE FROM consent_tile WHERE log = 1 AND level = 1",
        "UPDATE installation SET recovery_position = 269",
        "UPDATE installation SET recovery_position = NULL",
        "UPDATE installation SET log_number = 3",
        "UPDATE installation SET log_number = 1, recovery_position = NULL",
    ):
        with store.transaction(book.engine) as session:
            session.execute(text(statement))
            with pytest.raises(ConsentLogError):
                consent.verify(session, book.keyring, full=True)
            session.rollback()
    assert book.verify().events == 291


def test_a_recovery_from_a_damaged_log(book: Logbook) -> None:
    """A log that did not fit any more when it was ended proves nothing, and halts nothing."""
    grow(book, 20)
    found = book.sign()
    assert found is not None
    change(
        book,
        "UPDATE consent_event SET commitment = (SELECT commitment FROM consent_event WHERE "
        "position = 5) WHERE position = 4",
    )
    # The event does not open its commitment: its words are given up with it.
    assert fault(book).position == 4
    book.erase("paper-4")
    recovered(book, found)
    assert book.verify().checkpoints == 1
