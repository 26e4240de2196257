"""The command as a process: signals, closed pipes, ports, and what runs for long."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing

import pytest
from commandline import Home

from newsletter.mail.sink import Sink


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def address_of(process: subprocess.Popen[str]) -> str:
    """Where `newsletter serve` says that it listens."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"is served on (\S+);", line):
            return found[1]
    raise AssertionError("it ended without listening")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_sends_too(home: Home, sink: Sink, number: int) -> None:
    """The web app answers, the worker beside it sends, and a signal ends both cleanly."""
    home.set(smtp_url=sink.url)
    home.publish()
    path = home.write("people.csv", "email\nada@example.net\n")
    process = home.process("serve", "--port", "0")
    try:
        with urllib.request.urlopen(address_of(process) + "/healthz", timeout=30) as answer:
            assert answer.status == 200
        wait_until(lambda: home.json("status")["workers"])
        home.run(
            *("subscriber", "import", path, "--publication", "field-notes"),
            *("--status", "pending", "--evidence", "x", "--send-confirmation"),
        )
        wait_until(lambda: sink.received)
    finally:
        _out, err = end(process, number)
    assert "Traceback" not in err
    assert home.json("status")["workers"] == []


def test_serve_without_a_relay(home: Home) -> None:
    """Without smtp_url the pages are served, with a note, and nothing claims to send."""
    home.publish()
    process = home.process("serve", "--port", "0")
    try:
        assert process.stderr
        assert "smtp_url is not set" in process.stderr.readline()
        with urllib.request.urlopen(address_of(process) + "/field-notes/", timeout=30) as answer:
            assert b"Field Notes" in answer.read()
        assert home.json("status")["workers"] == []
    finally:
        end(process)


def test_a_port_that_is_taken(home: Home) -> None:
    """It is said in one line, with the cure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = home.run("serve", "--port", taken.getsockname()[1], code=1)
    assert "--port" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("host", ["no.such.host.invalid", "not a host", "x" * 70 + ".invalid"])
def test_a_host_that_is_none(home: Home, host: str) -> None:
    """A name without an address is said in one line, with the cure."""
    result = home.run("serve", "--host", host, "--port", 0, code=1)
    assert result.stderr.splitlines()[-1].startswith("Error: Cannot listen on")
    assert "--host" in result.stderr


def test_worker(home: Home, sink: Sink) -> None:
    """The worker alone sends what is queued, and ends cleanly on SIGTERM."""
    home.set(smtp_url=sink.url)
    home.publish()
    home.bring_in("ada@example.net")
    home.run("article", "add", home.write("a.md", "# A\n\nText.\n"))
    home.run("digest", "new", "--publication", "field-notes", "--subject", "From the meadow", 1)
    home.run("digest", "approve", 1)
    process = home.process("worker")
    try:
        wait_until(lambda: home.json("status")["workers"])
        home.run("send", 1, "--queue")
        wait_until(lambda: home.json("status", 1)["state"] == "sent")
    finally:
        end(process)
    assert len(sink.received) == 1


def test_a_reader_that_closes_early(home: Home) -> None:
    """`newsletter ... | head` ends without a traceback."""
    home.publish()
    home.bring_in(*(f"reader{number}@example.net" for number in range(3000)))
    for words in (("subscriber", "export"), ("subscriber", "list"), ("consent", "log", "--json")):
        process = home.process(*words)
        assert process.stdout and process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(60) in (0, 1)


def test_interrupted_sending_goes_on(home: Home) -> None:
    """SIGTERM in the middle of a send ends cleanly with 3, and the same command finishes it."""

    def slow(stage: str, _argument: str) -> str | None:
        if stage == "dot":
            time.sleep(0.05)
        return None

    with Sink(None, slow) as sink:
        home.set(smtp_url=sink.url, smtp_connections=1)
        home.publish()
        home.bring_in(*(f"reader{number}@example.net" for number in range(120)))
        home.run("article", "add", home.write("a.md", "# A\n\nText.\n"))
        home.run("digest", "new", "--publication", "field-notes", "--subject", "From the meadow", 1)
        home.run("digest", "approve", 1)
        process = home.process("send", 1)
        wait_until(lambda: len(sink.received) >= 5)
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "Traceback" not in err
        assert len(sink.received) < 120
        home.run("send", 1)
        addresses = [address for mail in sink.received for address in mail.recipients]
    assert len(addresses) == len(set(addresses)) == 120


def test_serve_ends_when_its_worker_cannot_go_on(home: Home, sink: Sink) -> None:
    """A service that takes sign-ups and never mails is worse than one that is restarted."""
    home.set(smtp_url=sink.url)
    process = home.process("serve", "--port", "0")
    try:
        address_of(process)
        wait_until(lambda: home.json("status")["workers"])
        with closing(sqlite3.connect(home.database, timeout=30)) as connection:
            connection.execute("ALTER TABLE delivery RENAME TO gone")
            connection.commit()
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Error: The database cannot be used" in err
