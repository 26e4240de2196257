"""The journal of claims: what was taken to be sent, and the database that has not heard of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mailing import approved_digest, many_readers, queue_all
from sqlalchemy import Engine

from newsletter import store
from newsletter.errors import LogFault
from newsletter.sending import claim
from newsletter.sending.claim import Claim
from newsletter.sending.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "consent")


def claimed(engine: Engine, make_publication: Any, now: Any) -> list[Claim]:
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 5, now)
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        return claim.digest(session, digest.id, "me", limit=5, now=now)


def test_todays_database(engine: Engine, journal: Journal, make_publication: Any, now: Any) -> None:
    """A database that knows its claims is fine, also after the rows were taken back and again."""
    journal.check(engine)
    held = claimed(engine, make_publication, now)
    journal.note(held, log=1)
    journal.check(engine)
    with store.transaction(engine) as session:
        claim.give_back(session, held)
    journal.check(engine)


def test_an_older_one(engine: Engine, journal: Journal, make_publication: Any, now: Any) -> None:
    """A row with a lower epoch, a missing row, or a log that is not there yet gives it away."""
    held = claimed(engine, make_publication, now)
    last = max(each.id for each in held)
    for wrong, log in ((Claim(last, 2), 1), (Claim(last + 1, 1), 1), (held[0], 2)):
        journal.file.unlink(missing_ok=True)
        journal.note([wrong], log=log)
        journal.note(held, log=1)
        with pytest.raises(LogFault, match="newsletter recover"):
            journal.check(engine)


def test_what_a_recovery_gave_up(
    engine: Engine, journal: Journal, make_publication: Any, now: Any
) -> None:
    """Claims of an earlier log are no matter any more."""
    journal.note([Claim(10**9, 1)], log=1)
    with store.transaction(engine) as session:
        session.get_one(store.Installation, 1).log_number = 2
    journal.check(engine)


def test_it_stays_short(engine: Engine, journal: Journal) -> None:
    """Of a long file the newest lines are kept; a torn last line is no claim."""
    for number in range(1, 40):
        journal.file.parent.mkdir(exist_ok=True)
        with journal.file.open("a") as opened:
            opened.write("".join(f"1 {number} {each}\n" for each in range(300)))
        journal.note([Claim(number, 10**6 + number)], log=1)
    assert journal.file.stat().st_size < 70_000
    lines = journal.file.read_text().splitlines()
    assert lines[-1] == "1 39 1000039"
    with journal.file.open("a") as opened:
        opened.write("7 7")
    with pytest.raises(LogFault):
        journal.check(engine)
