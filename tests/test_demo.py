"""`newsletter demo` as a newcomer starts it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from newsletter import fetch
from newsletter.cli.demo.stage import raised, worker
from newsletter.cli.demo.visitor import Visitor, sign_up
from newsletter.cli.demo.walk import Walk
from newsletter.errors import NewsletterError

STEPS = [
    "installation", "publication", "articles", "signup", "confirmation", "confirm", "compose",
    "preview", "approve", "send", "arrival", "leave", "consent-log", "verify", "key", "checkpoint",
    "receipt", "witness",
]  # fmt: skip


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "newsletter", *arguments]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its throw-away folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(temporary: Path) -> dict[str, str]:
    """An environment in which an installation is set up, which the demo must leave alone."""
    return {
        **os.environ,
        "TMPDIR": str(temporary),
        "NEWSLETTER_DATABASE_URL": "sqlite:////nowhere/newsletter.db",
        "NEWSLETTER_BASE_URL": "https://real.example.org",
    }


def test_the_walk_holds_and_leaves_what_it_was_told_to(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """--once --keep ends with 0; settings, database and the raw mails are there afterwards."""
    folder = tmp_path / "kept"
    done = subprocess.run(
        _command("demo", "--once", "--keep", str(folder)),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    held = [line for line in done.stdout.splitlines() if line.startswith("ok ")]
    assert len(held) == len(STEPS)
    assert all("http://127.0.0.1:" in line for line in held)
    assert "sending: 10 of 10" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "newsletter.toml").stat().st_mode & 0o077 == 0

    mails = sorted((folder / "mailbox").glob("*.eml"))
    raws = [file.read_bytes() for file in mails]
    messages = [message_from_bytes(raw, policy=policy.default) for raw in raws]
    digests = [m for m in messages if str(m["Subject"]).startswith("Swifts")]
    assert len(digests) == 10
    assert len({str(m["To"]) for m in digests}) == 10
    assert not [m for m in digests if "forgetful" in str(m["To"]) or "stranger" in str(m["To"])]
    for raw, message in zip(raws, messages, strict=True):
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        assert b"\n" not in raw.replace(b"\r\n", b"")
        assert message.get_content_type() == "multipart/alternative"
        for name in ("From", "To", "Subject", "Date", "Message-ID", "List-Id"):
            assert message[name], name
    for message in digests:
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert str(message["List-Unsubscribe"]).startswith("<http://127.0.0.1:")

    verified = subprocess.run(
        _command("--config", str(folder / "newsletter.toml"), "consent", "verify", "--json"),
        env={key: v for key, v in environment.items() if not key.startswith("NEWSLETTER_")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["events"] == 24

    again = subprocess.run(
        _command("demo", "--once", "--keep", str(folder)),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 1
    assert "choose an empty folder" in again.stderr


def test_it_stays_up_until_it_is_told_to_end(
    tmp_path: Path, temporary: Path, environment: dict[str, str]
) -> None:
    """--json prints a line for each step; the addresses in them work until Ctrl-C, then all is
    gone.
    """
    log = tmp_path / "stderr"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            _command("demo", "--json"),
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as running,
    ):
        assert running.stdout is not None
        try:
            steps = [json.loads(running.stdout.readline()) for _ in STEPS]
            assert [(step["step"], step["ok"]) for step in steps] == [(n, True) for n in STEPS]
            urls = {step["step"]: step["url"] for step in steps}
            for url in set(urls.values()):
                assert fetch.get(url, allow_private=True).status == 200
            assert len(list(temporary.iterdir())) == 1
            _sign_up_by_hand(urls)
        finally:
            running.send_signal(signal.SIGINT)
            rest, _ = running.communicate(timeout=30)
    assert running.returncode == 0, log.read_text()
    assert rest == ""
    assert "Traceback" not in log.read_text()
    assert list(temporary.iterdir()) == []


def _sign_up_by_hand(urls: dict[str, str]) -> None:
    """The newcomer tries the form: a mail comes into the mailbox."""
    sign_up(urls["signup"], Visitor("newcomer@example.org"))
    _eventually(lambda: b"newcomer@example.org" in fetch.get(urls["send"], allow_private=True).body)


def _eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_step_that_does_not_hold_is_named(tmp_path: Path) -> None:
    """Out of order, a step says what is missing, instead of passing over it."""
    with raised(tmp_path / "demo") as stage, worker(stage, digests=False) as check:
        steps = dict(Walk(stage, check, threading.Event(), print).steps())
        steps["publication"]()
        with pytest.raises(NewsletterError, match="link"):
            steps["confirm"]()
        with pytest.raises(NewsletterError, match="requested"):
            steps["consent-log"]()


def test_stopped_in_the_middle(
    tmp_path: Path, temporary: Path, environment: dict[str, str]
) -> None:
    """Ctrl-C during the walk ends it at the next step, with 1 and without leftovers."""
    with subprocess.Popen(
        _command("demo"),
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ok ")
        running.send_signal(signal.SIGTERM)
        _rest, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
