"""article, digest, send, status: from a file to a mail at the relay, by commands alone."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from commandline import Home

from newsletter.mail.sink import Sink

STATES = {"queued", "claimed", "armed", "accepted", "deferred", "failed", "skipped", "uncertain"}
HARVEST = """---
title: Harvest
url: https://example.org/harvest
author: Ada
summary: What grew this year.
tags: [garden, autumn]
---
The *whole* story.
"""


@pytest.fixture
def ready(home: Home, sink: Sink) -> Home:
    """A publication with three readers, one approved digest (1), and a relay."""
    home.set(smtp_url=sink.url, retry_delay=3600, smtp_connections=2)
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net", "eve@example.net")
    home.run("article", "add", home.write("harvest.md", HARVEST))
    compose(home)
    home.run("digest", "approve", 1)
    return home


def compose(home: Home, *more: str) -> int:
    words = ("--publication", "field-notes", "--subject", "Harvest time", *more)
    return int(home.run("digest", "new", *words, 1).stdout.split()[-1])


@pytest.fixture
def refusing() -> Iterator[Callable[[dict[str, str]], Sink]]:
    """A relay that answers to some recipients as told: {"ada@example.net": "550 5.1.1 no"}."""
    running: list[Sink] = []

    def start(replies: dict[str, str]) -> Sink:
        def reply(stage: str, argument: str) -> str | None:
            if stage != "rcpt":
                return None
            return next((said for who, said in replies.items() if who in argument), None)

        sink = Sink(None, reply)
        sink.start()
        running.append(sink)
        return sink

    yield start
    for sink in running:
        sink.stop()


def recipients(sink: Sink) -> Counter[str]:
    return Counter(address for mail in sink.received for address in mail.recipients)


def test_article_ids_are_the_last_words(home: Home) -> None:
    """A script takes the ids from the ends of the lines; the same url updates."""
    first = home.write("a.md", HARVEST)
    second = home.write("b.md", "# No front matter\n\nText.\n")
    lines = home.run("article", "add", first, second).stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["1", "2"]
    home.write("a.md", HARVEST.replace("whole", "full"))
    (found,) = home.json("article", "add", first)
    assert found == {"id": 1, "result": "updated", "title": "Harvest"}
    shown = home.json("article", "show", 1)
    assert shown["tags"] == ["garden", "autumn"]
    assert "*full*" in shown["body"]
    assert [row["id"] for row in home.json("article", "list")] == [2, 1]
    home.run("article", "remove", 2)
    home.run("article", "show", 2, code=1)


def test_articles_come_in_together_or_not_at_all(home: Home) -> None:
    """A fault in one file leaves the others out too, and names the file and the field."""
    good = home.write("good.md", HARVEST)
    bad = home.write("bad.md", "---\ntitle: X\nsumary: y\n---\nText\n")
    result = home.run("article", "add", good, bad, code=1)
    assert "bad.md" in result.stderr
    assert "sumary" in result.stderr
    assert home.json("article", "list") == []
    assert "gone.md" in home.run("article", "add", home.folder / "gone.md", code=1).stderr
    latin = home.folder / "latin.md"
    latin.write_bytes(b"caf\xe9")
    assert "UTF-8" in home.run("article", "add", latin, code=1).stderr


def test_articles_from_inside_the_network(home: Home) -> None:
    """An address that leads into one's own network is not fetched."""
    result = home.run("article", "add", "http://127.0.0.1:9/x.md", code=1)
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output


def test_composing(home: Home) -> None:
    """A draft is listed, shown, previewed; its id is the last word."""
    home.publish()
    home.run("article", "add", home.write("harvest.md", HARVEST))
    assert compose(home, "--intro", "Dear *all*") == 1
    (row,) = home.json("digest", "list", "--publication", "field-notes")
    assert row["state"] == "draft"
    shown = home.json("digest", "show", 1)
    (article,) = shown["articles"]
    assert (article["title"], article["url"]) == ("Harvest", "https://example.org/harvest")
    assert shown["archive_url"] is None
    home.run("digest", "show", 9, code=1)
    home.run("digest", "new", "--publication", "field-notes", "--subject", "x", 9, code=1)
    text = home.run("digest", "preview", 1).stdout
    assert text.startswith("Subject: Harvest time\n")
    assert "Harvest" in text


def test_sending(ready: Home, sink: Sink) -> None:
    """Everybody gets it once, a second send adds none, and the counts add up."""
    assert ready.json("send", 1, "--dry-run") == {"digest": 1, "receivers": 3, "excluded": {}}
    assert sink.received == []
    result = ready.run("send", 1)
    assert "accepted=3" in result.stdout
    assert "sending: 3 of 3" in result.stderr
    everybody = {"ada@example.net": 1, "bob@example.net": 1, "eve@example.net": 1}
    assert recipients(sink) == everybody
    found = ready.json("send", 1)
    assert recipients(sink) == everybody
    assert found == ready.json("status", 1)
    ready.bring_in("late@example.net")
    assert "sending: 3 of 3" in ready.run("send", 1).stderr
    assert ready.json("send", 1, "--dry-run") == {
        "digest": 1,
        "receivers": 0,
        "excluded": {"already sent": 3, "not queued": 1},
    }
    assert found == {
        "digest": 1,
        "state": "sent",
        "total": 3,
        "counts": {**dict.fromkeys(STATES, 0), "accepted": 3},
        "pause_reason": None,
        "worst_domain": None,
    }
    assert ready.json("digest", "show", 1)["archive_url"].startswith("http://127.0.0.1:8000/")
    (row,) = ready.json("status")["digests"]
    assert row["total"] == 3
    assert "Harvest time" in ready.run("status").stdout


def test_who_gets_it_not(ready: Home) -> None:
    """--dry-run counts those who would not get it, by reason."""
    ready.bring_in("pending@example.net", status="pending")
    ready.run("subscriber", "unsubscribe", "bob@example.net", "--yes")
    found = ready.json("send", 1, "--dry-run")
    assert found["receivers"] == 2
    assert found["excluded"] == {"pending": 1, "unsubscribed": 1}


def test_a_draft_is_not_sent(ready: Home, sink: Sink) -> None:
    """Only what was approved goes out."""
    draft = compose(ready)
    assert "approved" in ready.run("send", draft, code=1).stderr
    ready.run("digest", "cancel", draft)
    ready.run("send", draft, code=1)
    ready.run("digest", "approve", draft, code=1)
    assert sink.received == []


def test_some_mail_is_not_out(ready: Home, refusing: Callable[[dict[str, str]], Sink]) -> None:
    """Exit code 3 when some failed or were put off; the others are not held up."""
    sink = refusing(
        {
            "ada@example.net": "550 5.1.1 \x1b[31mno such user",
            "bob@example.net": "451 4.7.1 come again",
        }
    )
    ready.set(envelope_sender="bounces@example.org")
    text = ready.file.read_text()
    ready.file.write_text(re.sub(r'smtp_url = "smtp://127.*"', f'smtp_url = "{sink.url}"', text))
    found = ready.json("send", 1, code=3)
    assert found["state"] == "sending"
    assert {state: n for state, n in found["counts"].items() if n} == {
        "accepted": 1,
        "deferred": 1,
        "failed": 1,
    }
    shown = ready.run("status", 1).stdout
    assert "no such user" in shown
    assert "\x1b" not in shown


def test_without_a_relay(home: Home) -> None:
    """What sends needs smtp_url and says how to set it; all else works without."""
    home.publish()
    home.bring_in("ada@example.net")
    home.run("article", "add", home.write("harvest.md", HARVEST))
    compose(home)
    home.run("digest", "approve", 1)
    home.run("send", 1, "--dry-run")
    for words in (("send", 1), ("digest", "test", 1, "--to", "me@example.org"), ("worker",)):
        assert "NEWSLETTER_SMTP_URL" in home.run(*words, code=5).stderr
    assert home.json("digest", "show", 1)["state"] == "approved"


def test_a_relay_that_is_gone(ready: Home, sink: Sink) -> None:
    """Nobody is marked failed for a relay out of reach; it is said, and the exit code is 3."""
    sink.stop()
    result = ready.run("send", 1, "--json", code=3)
    assert f"127.0.0.1, port {sink.port}: connection refused" in result.stderr
    assert ready.json("status", 1)["counts"]["queued"] == 3


def test_leaving_it_to_a_worker(ready: Home, sink: Sink) -> None:
    """--queue sends nothing itself, and says when no worker is there to do it."""
    result = ready.run("send", 1, "--queue")
    assert "no worker runs" in result.stderr
    assert ready.json("status", 1)["state"] == "sending"
    assert "no worker seen" in ready.run("status").stdout
    assert sink.received == []
    assert "no worker seen, ever" in ready.run("status").stdout
    ready.run("send", 1)
    assert len(sink.received) == 3
    assert "no worker seen since 20" in ready.run("status").stdout


def test_at_a_time(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """--at takes a time in this machine's zone and shows it back in UTC."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        later = (datetime.now(UTC) + timedelta(days=400)).year
        result = ready.run("send", 1, "--at", f"{later}-03-01 05:30")
        assert f"{later}-03-01 00:00 UTC" in result.stdout
        found = ready.json("send", 1, "--at", f"{later}-03-01T08:00:00+02:00")
        assert found["send_at"] == f"{later}-03-01T06:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert ready.json("digest", "show", 1)["state"] == "approved"


@pytest.mark.parametrize("when", ["soon", "2040-01-01", "2020-01-01 08:00", "25:00", ""])
def test_at_no_time(ready: Home, when: str) -> None:
    """What is no time, or has passed, is a usage error."""
    ready.run("send", 1, "--at", when, code=2)
    ready.run("send", 1, "--wait", "--queue", code=2)


def test_pause_and_resume(ready: Home, sink: Sink) -> None:
    """A paused digest is not sent, not by send either, until it is resumed."""
    ready.run("send", 1, "--queue")
    ready.run("pause", 1)
    assert "newsletter resume 1" in ready.run("send", 1, code=1).stderr
    assert sink.received == []
    ready.run("pause", 1, code=1)
    ready.run("resume", 1)
    ready.run("send", 1)
    assert len(sink.received) == 3
    ready.run("pause", 9, code=1)


def test_cancel_what_is_being_sent(ready: Home, sink: Sink) -> None:
    """What was not handed over is skipped; the exit code says that nothing is amiss."""
    ready.run("send", 1, "--queue")
    ready.run("digest", "cancel", 1)
    assert ready.json("status", 1)["state"] == "cancelled"
    assert sink.received == []


def test_test_mail(ready: Home, sink: Sink) -> None:
    """A test mail goes to one address with a marked subject and counts for nothing."""
    draft = compose(ready)
    for number in (1, draft):
        found = ready.json("digest", "test", number, "--to", "me@example.org")
        assert found["state"] == "accepted"
    assert recipients(sink) == {"me@example.org": 2}
    mail = message_from_bytes(sink.received[0].raw, policy=policy.default)
    assert mail["Subject"] == "[Test] Harvest time"
    assert ready.json("status", 1)["total"] == 0
    assert ready.json("digest", "show", draft)["state"] == "draft"
    ready.run("digest", "test", 1, "--to", "nobody", code=1)


def test_refused_test_mail(ready: Home, refusing: Callable[[dict[str, str]], Sink]) -> None:
    """The relay's word is shown, and the exit code is 3."""
    sink = refusing({"me@example.org": "550 5.1.1 who is this"})
    text = ready.file.read_text()
    ready.file.write_text(re.sub(r'smtp_url = "smtp://127.*"', f'smtp_url = "{sink.url}"', text))
    assert "who is this" in ready.run("digest", "test", 1, "--to", "me@example.org", code=3).stdout


def test_wait_for_what_was_put_off(ready: Home, refusing: Callable[[dict[str, str]], Sink]) -> None:
    """--wait stays until the mails that the relay put off are out too."""
    replies = {"bob@example.net": "451 4.7.1 come again"}
    sink = refusing(replies)
    text = ready.file.read_text().replace("retry_delay = 3600", "retry_delay = 1")
    ready.file.write_text(re.sub(r'smtp_url = "smtp://127.*"', f'smtp_url = "{sink.url}"', text))

    def relent() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and len(sink.received) < 2:
            time.sleep(0.05)
        replies.clear()

    thread = threading.Thread(target=relent)
    thread.start()
    found = ready.json("send", 1, "--wait")
    thread.join()
    assert found["counts"]["accepted"] == 3
    assert recipients(sink)["bob@example.net"] == 1


def test_status_of_uncertain_mail(ready: Home) -> None:
    """What nobody knows about is counted as stuck, and status says so."""
    ready.run("send", 1)
    with closing(sqlite3.connect(ready.database)) as connection:
        connection.execute("UPDATE delivery SET state = 'uncertain' WHERE id = 1")
        connection.commit()
    assert ready.json("status")["stuck"]["uncertain"] == 1
    assert "uncertain=1" in ready.run("status").stdout
    ready.run("send", 1, code=3)
    ready.run("status", 9, code=1)
