"""Import and export: what comes in, what does not, and what a spreadsheet must not run."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import consent, store
from newsletter.errors import BadInput
from newsletter.subscriptions import exporting, importing

HASH_KEY = b"h" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(text: str):
    return list(importing.read(io.StringIO(text), now=NOW))


def take(visitor, text, **over):
    rows = [row for row in read(text) if isinstance(row, importing.Row)]
    values = {"status": "confirmed", "source": "moved from the old list", **over}
    with store.transaction(visitor.engine) as session:
        publication = session.query(store.Publication).one()
        return importing.take(
            session, publication, rows, hash_key=HASH_KEY, now=visitor.now, **values
        )


def test_good_and_bad_lines_are_told_apart_by_number():
    """A bad line is named with its number and reason; the others come in."""
    rows = read(
        "email,name,confirmed_at\na@example.net,Ada,2020-05-01T10:00:00+02:00\nnope,,\n\n"
        "b@example.net,,gestern\nc@example.net\n"
    )
    assert [row.number for row in rows] == [2, 3, 5, 6]
    assert [type(row).__name__ for row in rows] == ["Row", "BadRow", "BadRow", "Row"]
    assert rows[0].confirmed_at.isoformat() == "2020-05-01T08:00:00+00:00"
    assert "ISO 8601" in rows[2].reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_usual_delimiters_are_understood(delimiter):
    """Spreadsheets write semicolons in half of the world."""
    (row,) = read(f"Name{delimiter}Email\nAda{delimiter}a@example.net\n")
    assert (row.name, row.address.spelling) == ("Ada", "a@example.net")


@pytest.mark.parametrize("text", ["", "name\nAda\n", "a@example.net\nb@example.net\n"])
def test_a_file_without_an_email_column_is_refused(text):
    """The message says which columns there can be."""
    with pytest.raises(BadInput, match="email"):
        read(text)


def test_an_import_is_an_event_with_its_evidence(visitor):
    """Each person has an imported event with status, source and what the file said."""
    tally = take(
        visitor, "email,ip,source,confirmed_at\na@example.net,192.0.2.7,fair 2019,2019-06-01\n"
    )
    assert tally == importing.Tally(imported=1)
    (event,) = visitor.events()
    assert (event["type"], event["status"]) == ("imported", "confirmed")
    assert event["source"] == "moved from the old list; fair 2019"
    assert event["client_address"] == "192.0.2.0/24"
    assert "2019-06-01" in event["note"]
    assert visitor.verify().states == {"confirmed": 1}


def test_who_is_there_already_stays_as_they_are(visitor):
    """Left, pending or confirmed: an import changes none of them; twice in a file is once."""
    visitor.sign_up("left@example.net")
    visitor.confirm(visitor.letters()[-1])
    visitor.leave("left@example.net")
    visitor.sign_up("pending@example.net")
    tally = take(
        visitor, "email\nleft@example.net\npending@example.net\nnew@example.net\nNEW@example.net\n"
    )
    assert tally == importing.Tally(imported=1, already=3)
    assert visitor.state("left@example.net") == "unsubscribed"
    assert visitor.state("pending@example.net") == "pending"
    visitor.verify()


def test_pending_people_get_a_mail_only_when_asked_for(visitor):
    """--send-confirmation keeps to the mailbox's quota."""
    take(visitor, "email\na@example.net\n", status="pending")
    assert visitor.letters() == []
    take(
        visitor, "email\nb@example.net\nb+x@example.net\n", status="pending", send_confirmation=True
    )
    assert [mail.address for mail in visitor.letters()] == ["b@example.net"]
    visitor.confirm(visitor.letters()[0])
    assert visitor.state("b@example.net") == "confirmed"
    visitor.verify()


def test_what_goes_out_comes_in_again(visitor):
    """An export names each subscription with its state and times."""
    take(visitor, "email,name\na@example.net,Ada\n")
    with store.reading(visitor.engine) as session:
        (row,) = exporting.rows(session)
    assert tuple(row) == exporting.COLUMNS
    assert (row["email"], row["name"], row["state"]) == ("a@example.net", "Ada", "confirmed")


@given(st.text())
def test_no_cell_is_a_formula(text):
    """Whatever a cell holds, a spreadsheet does not run it, and nothing is lost."""
    cell = exporting.cell(text)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or not cell
    assert cell.removeprefix("'") == text or cell == text


def test_events_of_a_piece_are_in_order(visitor):
    """A piece of many rows takes a run of positions without gaps."""
    text = "email\n" + "".join(f"r{n}@example.net\n" for n in range(300))
    take(visitor, text)
    assert [event["position"] for event in visitor.events()] == list(range(300))
    assert isinstance(visitor.verify(), consent.Report)


def test_evidence_that_cannot_be_is_a_bad_line():
    """An ip that is none, and a confirmation in the future, are named with their line."""
    rows = read("email,ip,confirmed_at\na@example.net,nowhere,\nb@example.net,,2999-01-01\n")
    assert [type(row).__name__ for row in rows] == ["BadRow", "BadRow"]
    assert "network address" in rows[0].reason
    assert "future" in rows[1].reason


@pytest.mark.parametrize(("keep", "kept"), [("full", "192.0.2.7"), ("none", None)])
def test_an_import_keeps_of_an_address_what_the_settings_say(visitor, keep, kept):
    """client_address holds for imports too."""
    take(visitor, "email,ip\na@example.net,192.0.2.7\n", keep=keep)
    assert visitor.events()[0].get("client_address") == kept
