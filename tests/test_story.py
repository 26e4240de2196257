"""The README's journey, executed: from nothing to the first digest, command by command.

The commands are read out of the README's chapter, so that it cannot promise what does not work.
The relay is a real SMTP receiver on loopback, the visitor a real HTTP client.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import html.parser
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from newsletter import fetch
from newsletter.mail.sink import Sink

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def chapter(title: str) -> str:
    """The text of a chapter of the README."""
    return re.split(r"^## ", README.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def code(text: str, language: str) -> str:
    """The first block of code in this language."""
    return re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S)[1]


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, and its fields with their values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._done = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = values.get("action", "")
        elif self.action is not None and not self._done and self._counts(tag, values):
            self.fields[values["name"]] = values.get("value", "")

    @staticmethod
    def _counts(tag: str, values: dict[str, str]) -> bool:
        is_field = tag in ("input", "button") and "name" in values
        return is_field and values.get("type") != "checkbox"

    def handle_endtag(self, tag: str) -> None:
        self._done = self._done or tag == "form"


class Journey:
    """A folder to work in, a relay, and the address that the service will have."""

    def __init__(self, folder: Path, relay: Sink) -> None:
        self.folder, self.relay = folder, relay
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.env = {**os.environ, "NO_COLOR": "1"}

    def words(self, line: str) -> list[str]:
        """A line of the README as arguments, with this journey's ports."""
        line = line.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        line = line.replace("127.0.0.1:25", f"127.0.0.1:{self.relay.port}")
        words = shlex.split(line, comments=True)
        assert words[0] == "newsletter", line
        return [sys.executable, "-m", *words]

    def run(self, line: str, **options: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.words(line),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == options.get("code", 0), f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    @contextlib.contextmanager
    def serving(self, line: str) -> Iterator[None]:
        words = [*self.words(line.partition("&")[0]), "--port", str(self.port)]
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            self._wait_until_up(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            _out, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors.decode()

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(Exception):
                if fetch.get(f"{self.base_url}/healthz", allow_private=True).status == 200:
                    return
            time.sleep(0.1)
        raise AssertionError("the service did not come up")

    def mail_to(self, address: str, subject: str = "") -> email.message.EmailMessage:
        """The newest mail to this address whose subject has these words; waits for it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for received in reversed(self.relay.received):
                mail = email.message_from_bytes(received.raw, policy=email.policy.default)
                if address in received.recipients and subject in mail["Subject"]:
                    return mail
            time.sleep(0.05)
        raise AssertionError(f"no mail to {address} with {subject!r}")

    def sign_up_and_confirm(self, address: str) -> None:
        page = fetch.get(f"{self.base_url}/field-notes/", allow_private=True)
        form = Form(page.body.decode())
        fields = {**form.fields, "email": address, "consent": "y"}
        thanks = fetch.post_form(f"{self.base_url}{form.action}", fields, allow_private=True)
        assert "Thanks for signing up!" in thanks.body.decode()
        text = self.mail_to(address).get_body(("plain",)).get_content()
        (link,) = [line for line in text.splitlines() if "/confirm/" in line]
        assert link == link.strip()
        assert link.startswith(f"{self.base_url}/confirm/")
        form = Form(fetch.get(link, allow_private=True).body.decode())
        done = fetch.post_form(form.action or link, form.fields, allow_private=True)
        assert done.status == 200


@pytest.fixture
def journey(tmp_path: Path) -> Iterator[Journey]:
    with Sink(None) as relay:
        yield Journey(tmp_path, relay)


def test_the_readme_leads_to_a_first_digest(journey: Journey) -> None:
    """Ten lines: set up, sign up, compose, look, send; then the reader leaves with one click."""
    text = chapter("From nothing to the first digest")
    lines = [line for line in code(text, "sh").splitlines() if line.strip()]
    assert len(lines) == 10
    init, export, create, serve, *rest = lines
    first, _, change = init.partition(" && ")
    journey.run(first)
    journey.folder /= change.removeprefix("cd ")
    for word in shlex.split(export, comments=True)[1:]:
        name, _, value = word.partition("=")
        value = value.replace("127.0.0.1:8000", f"127.0.0.1:{journey.port}")
        journey.env[name] = value.replace("127.0.0.1:25", f"127.0.0.1:{journey.relay.port}")
    journey.run(create)
    (journey.folder / "first-walk.md").write_text(code(text, "markdown"), encoding="utf-8")
    with journey.serving(serve):
        journey.sign_up_and_confirm("ada@example.net")
        for line in rest:
            journey.run(line)
        assert (journey.folder / "preview" / "digest.html").exists()
        assert "[Test]" in journey.mail_to("you@example.net")["Subject"]
        mail = journey.mail_to("ada@example.net", "The first walk")
        leave_with_one_click(mail)
        status = json.loads(journey.run("newsletter status 1 --json").stdout)
        assert (status["state"], status["total"], status["counts"]["accepted"]) == ("sent", 1, 1)
        journey.run("newsletter send 1")
        digests = [
            each for each in journey.relay.received if b"Subject: The first walk" in each.raw
        ]
        assert len(digests) == 1
        log = [
            entry["event"]["type"]
            for entry in json.loads(journey.run("newsletter consent log --json").stdout)
        ]
        assert log == ["requested", "confirmed", "withdrawn"]
        journey.run("newsletter consent verify")


def leave_with_one_click(mail: email.message.EmailMessage) -> None:
    """As a mailbox provider does it: RFC 8058 §3.2."""
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.search(r"<(http[^>]+)>", mail["List-Unsubscribe"])[1]
    for _ in range(2):
        left = fetch.post_form(link, {"List-Unsubscribe": "One-Click"}, allow_private=True)
        assert left.status == 200
