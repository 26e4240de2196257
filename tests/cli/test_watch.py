"""Looking on while a digest is sent: `newsletter status --watch`, and the picture of `send`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from commandline import Home
from operating import approved, change, change_digest, on_a_terminal, rows, wait_until

from newsletter.cli.picture import Look
from newsletter.cli.watching import Watch
from newsletter.mail.sink import Sink
from newsletter.store import DigestState
from newsletter.worker import Stop

READERS = 30
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Gate:
    """A script of the sink: a third of the mails is taken, the others when it is opened."""

    def __init__(self) -> None:
        self.dots = 0
        self.opened = threading.Event()

    def __call__(self, stage: str, _argument: str) -> str | None:
        self.dots += stage == "dot"
        if self.dots > READERS // 3:
            self.opened.wait(20)
        return None


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What the relay waits for."""
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def ready(either_home: Home, sink: Sink, gate: Gate) -> Home:
    """An approved digest for some readers, and a relay with a gate."""
    people = (f"reader{number}@example.net" for number in range(READERS))
    approved(either_home, *people, smtp_url=sink.url, smtp_connections=2)
    sink.reply = gate
    return either_home


@pytest.fixture
def sending(ready: Home, gate: Gate) -> Iterator[subprocess.Popen[str]]:
    """Another process that sends, and has come to the gate."""
    process = ready.process("send", 1)
    try:
        wait_until(lambda: gate.dots > READERS // 3)
        yield process
    finally:
        gate.opened.set()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_whoever_does_the_sending(ready: Home, gate: Gate, sending: subprocess.Popen[str]) -> None:
    """Another process sends; the look ends by itself when all is out, on a terminal and off it."""
    drawn = on_a_terminal(ready, "status", 1, "--watch")
    plain = ready.process("status", "--watch")
    told = ready.process("status", 1, "--watch", "--json")
    assert plain.stdout and told.stdout
    first = plain.stdout.readline(), told.stdout.readline()
    drawn.read_until("/s")
    gate.opened.set()
    shown = drawn.read_all()
    lines, problems = plain.communicate(timeout=60)
    records, _err = told.communicate(timeout=60)
    assert [each.returncode for each in (drawn.process, plain, told)] == [0, 0, 0]
    assert "━" in shown
    assert f"{READERS} of {READERS}" in shown
    assert shown.count(SHOW) >= shown.count(HIDE)
    assert problems == ""
    assert re.match(rf"digest 1: \d+ of {READERS}.*armed=", first[0])
    assert lines.splitlines()[-1] == f"digest 1: {READERS} of {READERS}, accepted={READERS}"
    found = [json.loads(line) for line in (first[1], *records.splitlines())]
    assert (found[0]["expected"], found[0]["senders"]) == (READERS, 1)
    assert (found[-1]["state"], found[-1]["counts"]["accepted"]) == ("sent", READERS)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_looking_on_with_postgresql(
    ready: Home, gate: Gate, sending: subprocess.Popen[str]
) -> None:
    """The same there: the other process's commits are seen."""
    timer = threading.Timer(1, gate.opened.set)
    timer.start()
    result = ready.run("status", 1, "--watch")
    timer.join()
    assert f"digest 1: {READERS} of {READERS}" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_the_look(ready: Home, sending: subprocess.Popen[str], number: int) -> None:
    """Ctrl-C ends the look alone: the cursor is back, no fault is shown, the sending goes on."""
    looking = on_a_terminal(ready, "status", "--watch")
    looking.read_until("armed ")
    looking.process.send_signal(number)
    shown = looking.read_all()
    assert looking.process.returncode == 0
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert "Traceback" not in shown
    assert sending.poll() is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_sending_on_a_terminal(ready: Home, gate: Gate) -> None:
    """`send` shows the same picture, and the result below it."""
    gate.opened.set()
    shown = on_a_terminal(ready, "send", 1).read_all()
    assert "━" in shown
    assert f"Digest 1 is sent: accepted={READERS}; in all {READERS}" in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_nothing_is_being_sent(home: Home) -> None:
    """It says so and ends; one digest is shown as it is."""
    assert home.run("status", "--watch").stderr == "Nothing is being sent.\n"
    home.run("status", 9, "--watch", code=1)
    approved(home, "ada@example.net")
    assert home.run("status", "--watch").stderr == "Nothing is being sent.\n"
    assert home.run("status", 1, "--watch", code=3).stdout == "digest 1: 0 of 1\n"


def test_nobody_sends(home: Home, sink: Sink) -> None:
    """A digest that is to be sent and nobody there to do it: it says so, and gives up waiting."""
    approved(home, "ada@example.net", smtp_url=sink.url)
    home.run("send", 1, "--queue")
    seen: list[Look] = []
    with rows(home) as engine:
        last = Watch(engine, 1).run(seen.extend, Stop(), patience=0.8)
    assert len(seen) >= 2
    assert (last[0].is_sending, last[0].senders, last[0].total) == (True, 0, 1)


def test_what_was_put_off(home: Home, sink: Sink) -> None:
    """It ends when all else is out, as `send` does; with --wait, when that is out too."""
    approved(home, "ada@example.net", "bob@example.net", smtp_url=sink.url, retry_delay=1.5)
    sink.reply = lambda stage, to: "451 4.2.0 later" if (stage, to[:3]) == ("rcpt", "bob") else None
    home.run("send", 1, code=3)
    looked = home.run("status", "--watch", code=3)
    assert "what is left was put off" in looked.stdout
    assert "newsletter send 1" in looked.stderr
    sink.reply = None
    sending = home.process("send", 1, "--wait")
    wait_until(lambda: home.json("status")["workers"])
    assert "2 of 2" in home.run("status", 1, "--watch", "--wait").stdout.splitlines()[-1]
    sending.communicate(timeout=60)
    home.run("status", "--wait", code=2)


def test_why_it_stands_still(home: Home, sink: Sink) -> None:
    """The reason and the worst domain are shown everywhere, and move no cursor."""
    approved(home, "ada@example.net", "bob@example.com", smtp_url=sink.url)
    home.run("send", 1)
    change(home, "bob@example.com", state="deferred")
    change_digest(
        home, state=DigestState.PAUSED, sent_at=None, pause_reason="550 5.7.1 \x1b[31mgo away"
    )
    watched = home.run("status", 1, "--watch", code=3).stdout
    assert (
        "paused: 550 5.7.1 [31mgo away; worst domain: example.com (1 put off or failed)" in watched
    )
    for words in (("status",), ("status", 1), ("send", 1), ("send", 1, "--queue")):
        said = home.run(*words, code=7 if words[0] == "send" else 0).output
        assert "550 5.7.1 [31mgo away" in said
        assert "\x1b" not in said
    assert "newsletter resume 1" in home.run("status").stdout
    assert "newsletter resume 1" in home.run("send", 1, code=7).stderr
    assert "example.com (1 put off or failed)" in home.run("status", 1).stdout
    home.run("resume", 1)
    assert "go away" not in home.run("status").output
