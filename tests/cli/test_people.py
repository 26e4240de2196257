"""publication and subscriber: what operators do for the people who read."""

from __future__ import annotations

import csv
import io
import json
import stat
from datetime import UTC, datetime

import pytest
from commandline import Home
from sqlalchemy import select

from newsletter import config, consent, store
from newsletter.addresses import parse
from newsletter.subscriptions import confirm, signup

IMPORT = ("--publication", "field-notes", "--evidence", "the fair of 2025")


def state_of(home: Home, address: str) -> list[str]:
    return [row["state"] for row in home.json("subscriber", "list") if row["email"] == address]


def events(home: Home, *words: str) -> list[dict[str, object]]:
    return [row["event"] for row in home.json("consent", "log", *words)]


def test_create_prints_the_slug_last(home: Home) -> None:
    """A script takes the last word."""
    result = home.run(
        *("publication", "create", "letters", "--title", "Letters", "--no-welcome"),
        *("--from", "Letters <letters@example.org>", "--accent-color", "#aa0000"),
        *("--privacy-url", "https://example.org/p", "--postal-address", "1 Lane"),
    )
    assert result.stdout.split()[-1] == "letters"
    found = home.json("publication", "show", "letters")
    assert found["from_name"] == "Letters"
    assert found["from_address"] == "letters@example.org"
    assert found["accent_color"] == "#aa0000"
    assert found["sends_welcome"] is False
    assert found["sends_goodbye"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("confirm",), "address of the service"),
        (("Field Notes",), "slug"),
        (("other", "--from", "nobody"), "Name <address"),
        (("other", "--accent-color", "red"), "#1f5f4a"),
        (("other", "--title", "a\nBcc: x@example.org"), "one line"),
        (("other", "--consent-wording", "no brackets"), "square brackets"),
    ],
)
def test_create_refuses(home: Home, words: tuple[str, ...], said: str) -> None:
    """A wrong value is one message that says which and why."""
    slug, *more = words
    result = home.run(
        *("publication", "create", slug, "--title", "T", "--from", "T <t@example.org>"),
        *("--privacy-url", "https://example.org/p", "--postal-address", "1 Lane", *more),
        code=1,
    )
    assert said in result.stderr
    assert home.json("publication", "list") == []


def test_edit_changes_what_is_named(home: Home) -> None:
    """The rest stays, and an empty text takes an optional value away."""
    home.publish()
    before = home.json("publication", "show", "field-notes")
    home.run(*["publication", "edit", "field-notes", "--reply-to", "a@example.org", "--goodbye"])
    after = home.json("publication", "show", "field-notes")
    assert after == {**before, "reply_to": "a@example.org", "sends_goodbye": True}
    home.run("publication", "edit", "field-notes", "--reply-to", "", "--no-goodbye")
    assert home.json("publication", "show", "field-notes") == before
    home.run("publication", "edit", "field-notes", code=2)
    assert "field-notes" in home.run("publication", "edit", "x", "--title", "y", code=1).stderr


def test_list_counts_people(home: Home) -> None:
    """A publication is listed with its subscriptions by state, every state named."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    home.bring_in("eve@example.net", status="pending")
    (row,) = home.json("publication", "list")
    assert row["subscriptions"] == {
        "pending": 1,
        "confirmed": 2,
        "unsubscribed": 0,
        "bounced": 0,
        "complained": 0,
    }
    plain = home.run("publication", "list").stdout
    assert "\t" not in plain
    assert plain.splitlines()[0].split() == [
        *("SLUG", "TITLE", "FROM", "ADDRESS", "LANGUAGE", "CONFIRMED", "PENDING")
    ]


def test_import_takes_the_good_lines(home: Home) -> None:
    """Bad lines are named with number and reason on standard error; the others come in."""
    home.publish()
    path = home.write(
        "people.csv",
        "\ufeffEmail;Name;language;confirmed_at;ip;source;shoe size\n"
        "ada@example.net;Ada;en;2025-05-01T10:00:00Z;192.0.2.7;stand 3;38\n"
        "nobody;;;;;;\n"
        "Ada@Example.net;Ada again;;;;;\n"
        "bob@example.net;\x1b[2JBob;;yesterday;;;\n"
        "eve@example.net;Eve;;;;;\n",
    )
    words = ("subscriber", "import", path, *IMPORT, "--status", "confirmed")
    result = home.run(*words, "--json")
    assert json.loads(result.stdout) == {
        "imported": 2,
        "already": 1,
        "suppressed": 0,
        "invalid": 2,
    }
    assert "line 3: " in result.stderr
    assert "line 5: confirmed_at" in result.stderr
    assert "\x1b" not in result.output
    (event,) = events(home, "ada@example.net")
    assert event["type"] == "imported"
    assert event["status"] == "confirmed"
    assert event["source"] == "the fair of 2025; stand 3"
    assert event["client_address"] == "192.0.2.0/24"
    assert home.json(*words) == {"imported": 0, "already": 3, "suppressed": 0, "invalid": 2}


def test_import_in_pieces(home: Home) -> None:
    """More lines than one transaction holds, a duplicate in another piece, and it all adds up."""
    home.publish()
    lines = [f"reader{number}@example.net" for number in range(2500)]
    path = home.write("people.csv", "\n".join(["email", *lines, lines[0]]))
    found = home.json("subscriber", "import", path, *IMPORT, "--status", "pending")
    assert found == {"imported": 2500, "already": 1, "suppressed": 0, "invalid": 0}
    assert home.json("consent", "verify")["states"] == {"pending": 2500}


def test_pending_imports_get_no_mail_unasked(home: Home) -> None:
    """Only --send-confirmation queues mails, and only for pending people."""
    home.publish()
    home.bring_in("ada@example.net", status="pending")
    assert home.json("status")["letters"]["queued"] == 0
    path = home.write("more.csv", "email\nbob@example.net\n")
    words = ("subscriber", "import", path, *IMPORT)
    home.run(*words, "--status", "confirmed", "--send-confirmation", code=2)
    home.run(*words, "--status", "pending", "--send-confirmation")
    assert home.json("status")["letters"]["queued"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"email;n\xe4me\nada@example.net;Ada\n", "not UTF-8"),
        ("email\nada@example.net\n".encode("utf-16"), "not UTF-8"),
        (b"name\nAda\n", "email"),
        (b"", "email"),
    ],
)
def test_import_of_something_else(home: Home, content: bytes, said: str) -> None:
    """A file that is no such table is refused as a whole, before anything came in."""
    home.publish()
    path = home.folder / "people.csv"
    path.write_bytes(content)
    result = home.run("subscriber", "import", path, *IMPORT, "--status", "pending", code=1)
    assert said in result.stderr
    assert home.json("subscriber", "list") == []


def test_import_of_a_line_that_is_not_utf8(home: Home) -> None:
    """One wrong byte is one bad line with its number; the others come in."""
    home.publish()
    path = home.folder / "people.csv"
    path.write_bytes(
        "email,name,note\nada@example.net,Zo\u00eb,\n".encode()
        + b"bob@example.net,Zo\xeb,\n\xe9va@example.net,Eva,\neve@example.net,Eve,caf\xe9\n"
    )
    result = home.run(
        *("subscriber", "import", path, *IMPORT, "--status", "pending", "--json"),
    )
    assert "line 3: not UTF-8" in result.stderr
    assert "line 4: not UTF-8" in result.stderr
    assert json.loads(result.stdout)["invalid"] == 2
    # What stands in a column of no meaning does not matter.
    names = {row["name"] for row in home.json("subscriber", "list")}
    assert names == {"Zo\u00eb", "Eve"}


def test_import_into_an_unknown_publication(home: Home) -> None:
    """That is told before all bad lines, of which there may be thousands."""
    path = home.write("people.csv", "email\nno address\n")
    words = ("subscriber", "import", path, *IMPORT, "--status", "pending")
    result = home.run(*words, code=1)
    assert "line 2" not in result.stderr
    assert "field-notes" in result.stderr


@pytest.mark.parametrize("missing", ["--publication", "--status", "--evidence"])
def test_import_needs_to_know(home: Home, missing: str) -> None:
    """Without publication, status or evidence nothing is imported: a usage error."""
    home.publish()
    path = home.write("people.csv", "email\nada@example.net\n")
    words = [*IMPORT, "--status", "pending"]
    at = words.index(missing)
    result = home.run("subscriber", "import", path, *words[:at], *words[at + 2 :], code=2)
    assert missing in result.stderr


def test_import_into_nothing(home: Home) -> None:
    """An unknown publication, a missing file: one message each."""
    path = home.write("people.csv", "email\nada@example.net\n")
    words = ("--evidence", "x", "--status", "pending", "--publication", "none")
    assert "none" in home.run("subscriber", "import", path, *words, code=1).stderr
    home.run("subscriber", "import", home.folder / "gone.csv", *words, code=2)


def test_export_gives_back_what_came_in(home: Home) -> None:
    """CSV and JSON lines hold every subscription; formulas are disarmed in the CSV only."""
    home.publish()
    path = home.write(
        "p.csv", 'email,name\n=cmd@example.net,"=HYPERLINK(""x"")"\na@example.net,A\n'
    )
    home.run("subscriber", "import", path, *IMPORT, "--status", "confirmed")
    rows = list(csv.DictReader(io.StringIO(home.run("subscriber", "export").stdout)))
    assert [(row["email"], row["name"]) for row in rows] == [
        ("'=cmd@example.net", '\'=HYPERLINK("x")'),
        ("a@example.net", "A"),
    ]
    lines = home.run("subscriber", "export", "--json").stdout.splitlines()
    assert [json.loads(line)["email"] for line in lines] == ["=cmd@example.net", "a@example.net"]
    out = home.folder / "out.csv"
    home.run("subscriber", "export", "--publication", "field-notes", "--out", out)
    assert list(csv.DictReader(io.StringIO(out.read_text()))) == rows
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_unsubscribe(home: Home) -> None:
    """Asks when it can, refuses when nobody can answer, and says how many it ended."""
    home.publish()
    home.bring_in("ada@example.net")
    home.run("subscriber", "unsubscribe", "ada@example.net", code=2)
    assert state_of(home, "ada@example.net") == ["confirmed"]
    words = ("subscriber", "unsubscribe", "ADA@example.net", "--yes")
    home.run(*words, "--publication", "other", code=1)
    assert home.json(*words, "--publication", "field-notes") == {"unsubscribed": 1}
    assert state_of(home, "ada@example.net") == ["unsubscribed"]
    assert home.json(*words) == {"unsubscribed": 0}
    assert events(home)[-1]["actor"] == "operator"
    assert "No subscriber" in home.run(*words[:2], "x@example.net", "--yes", code=1).stderr


def test_erase(home: Home) -> None:
    """Nothing that tells who it was is left in the files, and the log still verifies."""
    home.publish()
    home.bring_in("ada.to.forget@example.net", "bob@example.net")
    assert b"ada.to.forget" in home.database.read_bytes()
    home.run("subscriber", "erase", "ada.to.forget@example.net", code=2)
    home.run("subscriber", "erase", "ada.to.forget@example.net", "--yes")
    for path in home.folder.glob("newsletter.db*"):
        assert b"ada.to.forget" not in path.read_bytes()
    assert home.json("consent", "verify")["erased"] == 1
    shown = home.json("subscriber", "show", "ada.to.forget@example.net")
    assert shown["subscriber"] is None
    assert shown["suppressed"] == ["erased"]
    home.run("subscriber", "erase", "ada.to.forget@example.net", "--yes", code=1)
    path = home.folder / "people.csv"
    found = home.json("subscriber", "import", path, *IMPORT, "--status", "confirmed")
    assert found == {"imported": 0, "already": 1, "suppressed": 1, "invalid": 0}


def test_show(home: Home) -> None:
    """All that is kept of one person."""
    home.publish()
    home.bring_in("ada@example.net")
    found = home.json("subscriber", "show", "ada@example.net")
    assert found["subscriber"]["address"] == "ada@example.net"
    assert [each["state"] for each in found["subscriptions"]] == ["confirmed"]
    assert len(found["consent_events"]) == 1
    assert found["suppressed"] == []
    assert "Field Notes" in home.run("subscriber", "show", "ada@example.net").stdout
    home.run("subscriber", "show", "bob@example.net", code=1)
    assert "@-sign" in home.run("subscriber", "show", "bob@", code=1).stderr


def test_unblock(home: Home) -> None:
    """A person who said "this was not me" can be let in again at their word; it is recorded."""
    home.publish()
    engine = store.connect(f"sqlite:///{home.database}")
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    key = _hash_key(home)
    with store.transaction(engine) as session:
        publication = session.scalars(select(store.Publication)).one()
        evidence = consent.Evidence(actor="subscriber", channel="form")
        form = signup.Signup(parse("ada@example.net"), None, "en")
        signup.request(session, publication, form, evidence, hash_key=key, now=at)
        session.flush()
        mail = session.scalars(select(store.Delivery)).one()
        denial = consent.Evidence(actor="subscriber", channel="link")
        confirm.deny(session, mail.public_id, denial, hash_key=key, now=at)
    engine.dispose()
    assert home.json("subscriber", "show", "ada@example.net")["suppressed"] == ["blocked"]
    words = ("subscriber", "unblock", "ada@example.net", "--note", "she wrote to us")
    assert home.json(*words) == {"unblocked": ["blocked"]}
    assert events(home)[-1]["note"] == "she wrote to us"
    assert home.json("subscriber", "show", "ada@example.net")["suppressed"] == []
    home.run(*words, code=1)
    home.json("consent", "verify")


def _hash_key(home: Home) -> bytes:
    return config.load(home.file, {}).settings.hash_key_bytes
