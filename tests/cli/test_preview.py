"""digest preview and digest test: a digest as its readers will see it, and no reader sees it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from commandline import Home

from newsletter import fetch
from newsletter.errors import NewsletterError
from newsletter.mail.sink import Sink

HARVEST = """---
title: Harvest
url: https://example.org/harvest
---
The *whole* story.
"""


@pytest.fixture
def draft(home: Home) -> Home:
    """A draft (1) of two articles, one without a url."""
    home.publish()
    home.run("article", "add", home.write("harvest.md", HARVEST))
    home.run("article", "add", home.write("nameless.md", "# Nameless\n\nIt has no address.\n"))
    home.run(
        *("digest", "new", "--publication", "field-notes", "--subject", "Harvest time"),
        *("--length", "full", 1, 2),
    )
    return home


def test_files(draft: Home, tmp_path: Path) -> None:
    """--out writes the page, the text and the mail as it would be sent."""
    folder = tmp_path / "preview"
    written = draft.run("digest", "preview", 1, "--out", folder).stdout
    assert written == f"Written: {folder / 'digest.html'}\n"
    assert "Hello Ada Lovelace," in (folder / "digest.html").read_text(encoding="utf-8")
    assert "Harvest" in (folder / "digest.txt").read_text(encoding="utf-8")
    mail = message_from_bytes((folder / "digest.eml").read_bytes(), policy=policy.default)
    assert mail["Subject"] == "Harvest time"
    assert mail["From"] == "Field Notes <notes@example.org>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Feedback-ID"].split(":")[1] == "field-notes"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_text(draft: Home) -> None:
    """Without an option, subject and text."""
    text = draft.run("digest", "preview", 1).stdout
    assert text.startswith("Subject: Harvest time\n")
    assert "The whole story." in text


@pytest.fixture
def opened(
    draft: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Call preview --open, with a browser that writes down what it is given; that address."""
    seen = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.part && mv {seen}.part {seen}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    running = []

    def open_(*words: object) -> str:
        process = draft.process("digest", "preview", 1, "--open", *words)
        running.append(process)
        wait_for(seen.exists)
        return seen.read_text().strip()

    yield open_
    for process in running:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert "Traceback" not in said


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.1)


def got(address: str) -> str:
    return fetch.get(address, allow_private=True).body.decode()


def test_it_is_served_to_this_machine_until_ctrl_c(opened: Callable[..., str]) -> None:
    """On loopback, at an address that nobody can guess, opened in the browser."""
    address = opened()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22,}/", address)
    assert "<iframe" in got(address)
    assert "The <em>whole</em> story." in got(f"{address}letter").replace(' style=""', "")
    with pytest.raises(NewsletterError, match="404"):
        got(f"{address.rsplit('/', 2)[0]}/")


def test_files_that_are_being_written(opened: Callable[..., str], draft: Home) -> None:
    """--watch takes in what an editor saves, with a url and without; a fault is waited for."""
    address = opened("--watch", draft.folder)
    mark = got(f"{address}mark")
    draft.write("harvest.md", HARVEST.replace("story", "tale"))
    wait_for(lambda: "tale." in got(f"{address}letter"))
    assert got(f"{address}mark") != mark
    draft.write("nameless.md", "# Nameless no more\n\nIt has no address.\n")
    wait_for(lambda: "Nameless no more" in got(f"{address}letter"))
    draft.write("harvest.md", "---\ntitle: [\n---\n")
    time.sleep(1)
    draft.write("harvest.md", HARVEST.replace("story", "song"))
    wait_for(lambda: "song." in got(f"{address}letter"))
    assert len(draft.json("article", "list")) == 2


def test_what_cannot_be_watched(draft: Home) -> None:
    """A file of no article in it, a folder without any, and a digest that is no draft any more."""
    other = draft.write("other.md", "# Another article\n\nWords.\n")
    open_ = ("digest", "preview", 1, "--open", "--watch")
    assert "is no article of digest 1" in draft.run(*open_, other, code=1).stderr
    empty = draft.folder / "empty"
    empty.mkdir()
    assert "holds no article of digest 1" in draft.run(*open_, empty, code=1).stderr
    draft.run("digest", "preview", 1, "--watch", other, code=2)
    draft.run("digest", "approve", 1)
    said = draft.run(*open_, draft.folder / "harvest.md", code=1).stderr
    assert "is approved: no file changes it" in said


def test_the_true_mail_to_oneself(draft: Home, sink: Sink, tmp_path: Path) -> None:
    """digest test sends what readers will get, marked in the subject, and nothing else differs."""
    draft.set(smtp_url=sink.url)
    draft.run("digest", "preview", 1, "--out", tmp_path)
    draft.run("digest", "test", 1, "--to", "me@example.org")
    (received,) = sink.received
    mail = message_from_bytes(received.raw, policy=policy.default)
    shown = message_from_bytes((tmp_path / "digest.eml").read_bytes(), policy=policy.default)
    assert mail["Subject"] == f"[Test] {shown['Subject']}"
    assert mail["To"] == "me@example.org"
    same = ("From", "List-Id", "List-Unsubscribe-Post", "Content-Language", "MIME-Version")
    assert [mail[name] for name in same] == [shown[name] for name in same]
    kinds = [[part.get_content_type() for part in each.iter_parts()] for each in (mail, shown)]
    assert kinds[0] == kinds[1]
    page = mail.get_body(("html",))
    assert page is not None
    assert "story." in page.get_content()
