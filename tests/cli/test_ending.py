"""SIGTERM to `worker` and `serve`: the first one waits for the relay's answers, the second not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from commandline import Home
from operating import approved, wait_until

from newsletter.mail.sink import Sink

PEOPLE = tuple(f"reader{number}@example.net" for number in range(30))
COMMANDS = (("worker",), ("serve", "--port", "0"))


class Hesitating:
    """A script of the sink: from the tenth mail on it says nothing to a dot until it is let go."""

    def __init__(self) -> None:
        self.dots = 0
        self.goes_on = threading.Event()

    def __call__(self, stage: str, _argument: str) -> str | None:
        if stage != "dot":
            return None
        self.dots += 1
        if self.dots < 10:
            return None
        return None if self.goes_on.wait(5) else "silence"


@pytest.fixture
def hesitating() -> Iterator[tuple[Sink, Hesitating]]:
    """A relay that stops answering, and what lets it go on."""
    script = Hesitating()
    with Sink(None, script) as sink:
        yield sink, script
        script.goes_on.set()


def begun(
    home: Home, sink: Sink, script: Hesitating, command: tuple[str, ...]
) -> subprocess.Popen[str]:
    """The command, at the moment when the relay has gone silent."""
    approved(home, *PEOPLE, smtp_url=sink.url, smtp_connections=1, stop_grace=60)
    home.run("send", 1, "--queue")
    process = home.process(*command)
    wait_until(lambda: script.dots >= 10)
    return process


def counts(home: Home) -> dict[str, int]:
    return {state: n for state, n in home.json("status", 1)["counts"].items() if n}


def ended(process: subprocess.Popen[str]) -> str:
    """What it said, when it has ended well."""
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_one_signal(
    home: Home, hesitating: tuple[Sink, Hesitating], command: tuple[str, ...]
) -> None:
    """The relay is waited for: no row is uncertain, and nothing more was begun."""
    sink, script = hesitating
    process = begun(home, sink, script, command)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    script.goes_on.set()
    ended(process)
    assert counts(home) == {"accepted": 10, "queued": 20}
    assert len(sink.received) == 10


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_two_signals(
    home: Home, hesitating: tuple[Sink, Hesitating], command: tuple[str, ...]
) -> None:
    """The second one ends it at once, with the one mail in doubt called so."""
    sink, script = hesitating
    process = begun(home, sink, script, command)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert time.monotonic() - at < 4
    assert counts(home) == {"accepted": 9, "uncertain": 1, "queued": 20}


# A second SIGTERM, and more, in the middle of what the first one sets off.
_SIGNALS_IN_SIGNALS = """
import os, signal, sys, threading
from newsletter.cli.serve import _closed_by_signals
from newsletter.web.server import make_server, run_until_stopped
from newsletter.worker import Stop

more = 20

def interrupt(frame, event, _argument):
    global more
    if frame.f_code is not threading.Event.set.__code__:
        return None
    if event == "line" and more:
        more -= 1
        signal.raise_signal(signal.SIGTERM)
    return interrupt

server, stop = make_server(lambda *_: [], "127.0.0.1", 0), Stop()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
sys.settrace(interrupt)
if sys.argv[1] == "both":
    with _closed_by_signals(server, stop):
        server.run()
        assert stop.is_set() and stop.at_once.is_set()
else:
    run_until_stopped(server)
sys.settrace(None)
"""


@pytest.mark.parametrize("how", ["both", "web"])
def test_signals_on_the_heels_of_each_other(how: str) -> None:
    """However close they come, none waits for what the one before it holds."""
    command = [sys.executable, "-c", _SIGNALS_IN_SIGNALS, how]
    done = subprocess.run(command, timeout=20, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
