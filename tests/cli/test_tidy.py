"""tidy and erase by commands: what is due, what is pending, and what the logs do not tell."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing

import pytest
from commandline import Home

from newsletter import config, logs, store
from newsletter.mail.sink import Sink
from newsletter.web import create_app
from newsletter.worker import Sender, smtp_pool

NOTHING = {
    "pending_erased": 0,
    "lapsed": 0,
    "evidence_erased": 0,
    "reminded": 0,
    "unreachable": 0,
}


def make_older(home: Home, days: int) -> None:
    """All subscriptions have been pending for so long."""
    with closing(sqlite3.connect(home.database)) as database:
        database.execute(
            "UPDATE subscription SET pending_since = datetime(pending_since, ?)", (f"-{days} days",)
        )
        database.commit()


def test_tidy(home: Home) -> None:
    """A dry run says what would be done and does nothing; then it is done, once."""
    home.publish()
    home.bring_in("ada@example.net", "eve@example.net", status="pending")
    home.bring_in("bob@example.net")
    assert home.json("tidy") == {**NOTHING, "pending": False, "dry_run": False}
    make_older(home, 31)
    said = home.json("tidy", "--dry-run")
    assert said == {**NOTHING, "pending_erased": 2, "pending": False, "dry_run": True}
    assert len(home.json("subscriber", "list")) == 3
    assert home.run("tidy").stdout.startswith("2 sign-ups that nobody confirmed")
    assert [row["email"] for row in home.json("subscriber", "list")] == ["bob@example.net"]
    assert home.run("tidy").stdout == "Nothing was old enough.\n"
    home.run("consent", "verify", "--full")


def test_the_settings_say_how_old(home: Home) -> None:
    """pending_days is what counts."""
    home.set(pending_days=60)
    home.publish()
    home.bring_in("ada@example.net", status="pending")
    make_older(home, 59)
    assert home.json("tidy", "--dry-run")["pending_erased"] == 0
    make_older(home, 2)
    assert home.json("tidy")["pending_erased"] == 1


def test_the_worker_does_it(home: Home, sink: Sink) -> None:
    """Nobody has to think of it: old sign-ups go, the ledger is written, the file is cleaned."""
    home.set(smtp_url=sink.url)
    home.publish()
    home.bring_in("ada@example.net", status="pending")
    home.bring_in("bob@example.net")
    make_older(home, 31)
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    stop = threading.Event()
    timer = threading.Timer(2, stop.set)
    timer.start()
    Sender(engine, settings, smtp_pool(settings)).run(stop)
    timer.join()
    assert store.traces.pending(engine) is None
    engine.dispose()
    assert [row["email"] for row in home.json("subscriber", "list")] == ["bob@example.net"]


def test_not_on_a_log_with_a_fault(home: Home) -> None:
    """Nobody is erased for age when it may be the ages that are wrong."""
    home.publish()
    home.bring_in("ada@example.net", status="pending")
    make_older(home, 31)
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("UPDATE installation SET log_fault = 'a test'")
        database.commit()
    home.run("tidy", code=4)
    assert len(home.json("subscriber", "list")) == 1


def test_erase_says_what_is_pending(home: Home) -> None:
    """Somebody reads the old pages: the erasure is done, and its cleaning is said to be pending."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    with closing(sqlite3.connect(home.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subscriber").fetchone()
        result = home.run("subscriber", "erase", "ada@example.net", "--yes")
        assert "Pending" in result.stderr
    done = home.json("subscriber", "erase", "bob@example.net", "--yes")
    assert done == {"erased": True, "pending": False}
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("UPDATE installation SET uncleaned_since = '2026-01-01 00:00:00.000000'")
        database.commit()
    assert home.json("tidy", "--dry-run")["pending"] is True
    assert home.json("tidy")["pending"] is False
    assert (home.folder / "consent" / "ledger").read_text().count(" erased ") == 2


def test_a_ledger_that_cannot_be_written(home: Home) -> None:
    """Leaving works all the same, it is said, and the next command writes what is missing."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    ledger = home.folder / "consent" / "ledger"
    ledger.mkdir()
    result = home.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    assert "a restored backup would undo this" in result.stderr
    ledger.rmdir()
    home.run("subscriber", "unsubscribe", "bob@example.net", "--yes")
    assert len(ledger.read_text().splitlines()) == 2


def test_the_logs_tell_nobody(home: Home, sink: Sink, capfd: pytest.CaptureFixture[str]) -> None:
    """Of sign-up, sending and erasure the service's own log has no word that names the person."""
    home.set(smtp_url=sink.url, log_level="debug", trusted_proxies=["127.0.0.1/32"])
    home.publish()
    settings = config.load(home.file).settings
    logs.configure("debug")
    engine = store.connect(settings.database_url)
    client = create_app(settings, engine).test_client()
    version = client.get("/field-notes/").text.partition('name="wording" value="')[2]
    values = {
        "email": "ada.lovelace@traces.example",
        "name": "Ada Lovelace",
        "consent": "yes",
        "wording": version.partition('"')[0],
    }
    headers = {"X-Forwarded-For": "203.0.113.77"}
    answer = client.post("/field-notes/subscribe", data=values, headers=headers)
    assert answer.status_code == 200
    Sender(engine, settings, smtp_pool(settings)).run(threading.Event(), until_idle=True)
    engine.dispose()
    assert len(sink.received) == 1
    home.run("subscriber", "erase", "ada.lovelace@traces.example", "--yes")
    said = capfd.readouterr().err
    assert "worker_started" in said
    address = b"ada.lovelace@traces.example"
    hashes = [hashlib.new(name, address).hexdigest() for name in ("sha1", "sha256", "md5")]
    for mark in ("lovelace", "Lovelace", "203.0.113.77", "traces.example", *hashes):
        assert mark not in said
