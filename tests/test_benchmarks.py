"""The scripts behind the README's figures run, and print what they promise."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_the_consent_log_is_measured() -> None:
    """Append and verify in events a second, and the ratio of an append's cost."""
    command = [sys.executable, SCRIPTS / "consent_log.py", "--events", "300", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(done.stdout)
    assert figures["events"] == 300
    for name in ("append_events_per_second", "append_ratio", "verify_events_per_second"):
        assert figures[name] > 0


def test_rendering_is_measured_in_each_theme() -> None:
    """A digest in milliseconds, a reader's mail in microseconds, and what the skeleton saves."""
    few = ("--articles", "6", "--readers", "5", "--rounds", "1")
    command = [sys.executable, SCRIPTS / "render.py", *few, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(done.stdout)["themes"]
    assert set(figures) == {"plain", "magazine"}
    for found in figures.values():
        for name in ("compose_ms", "check_ms", "approve_ms", "fill_us", "write_us", "mail_kb"):
            assert found[name] > 0, name
        # The figure itself is in the hundreds: this only tells the ways apart.
        assert found["build_in_proportion_to_fill"] > 5
        assert found["looking_in_proportion_to_write"] > 5


FEW = ("--readers=40", "--rounds=1", "--far-mails=40", "--large=60", "--connections=4")
MEASURED = ("plain", "two", "far", "light-signed", "postgres", "large")


@pytest.fixture(scope="module")
def figures() -> Any:
    """What the benchmark of sending prints for a few readers."""
    only = [f"--only={part}" for part in MEASURED]
    command = [sys.executable, SCRIPTS / "send.py", *FEW, *only, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of(figures: Any, part: str) -> Any:
    """The figures of one part; it is skipped where a tool is missing."""
    if part in figures["missing"]:
        pytest.skip(f"left out: {figures['missing'][part]}")
    return figures["parts"][part]


@pytest.mark.parametrize("part", ["plain", "two", "far", "light-signed", "postgres"])
def test_sending_is_measured_beside_smtp_source(figures: Any, part: str) -> None:
    """Both rates, their ratio, and what a mail costs, for mails of about 31 KB."""
    found = of(figures, part)
    for name in ("ratio", "mails_per_second", "smtp_source_per_second", "cpu_us_per_mail", "mib"):
        assert found[name] > 0, name
    assert 28_000 < found["mail_bytes"] < 36_000


def test_signing_is_measured_beside_raw_signatures(figures: Any) -> None:
    """The ratio to the RSA signatures that this machine makes."""
    found = of(figures, "light-signed")
    assert found["rsa_ratio"] > 0
    assert found["rsa_signatures_per_second_cores_x_one"] > 0


def test_what_the_database_computes_is_told_apart(figures: Any) -> None:
    """PostgreSQL has processes of its own, SQLite is a part of the sender."""
    assert of(figures, "postgres")["database_cpu_us_per_mail"] >= 0
    assert "database_cpu_us_per_mail" not in of(figures, "plain")


def test_queueing_and_memory_are_measured_for_few_and_for_many(figures: Any) -> None:
    """The many are sixty here, and a million for the README."""
    found = of(figures, "large")
    for readers in (40, 60):
        assert found[f"mib_at_{readers}"] > 0
        assert found[f"queue_seconds_at_{readers}"] >= 0


@pytest.fixture(scope="module")
def light_sink(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light receiver, compiled."""
    made = tmp_path_factory.mktemp("sink") / "light_sink"
    try:
        source = SCRIPTS / "light_sink.c"
        subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-o", made, source], check=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler called cc")
    return made


@pytest.fixture
def listening(light_sink: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """One that runs, and its port."""
    with subprocess.Popen([light_sink], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())
        process.terminate()


BODY = b"Subject: A walk\r\n\r\n..\r\n. \r\nnot yet\r\n.\rnor here\r\n"
ONE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 4096])
def test_the_light_sink_counts_mails_however_they_are_cut(
    listening: tuple[subprocess.Popen[str], int], size: int
) -> None:
    """The final dot is found across pieces, and nothing else is taken for it."""
    process, port = listening
    said = b"EHLO here\r\n" + (ONE + BODY + b".\r\n") * 3 + ONE + b".\r\nQUIT\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(said), size):
            wire.sendall(said[at : at + size])
        answers = b"".join(iter(lambda: wire.recv(4096), b""))
    process.terminate()
    figures = json.loads(process.communicate(timeout=10)[0])
    assert figures["mails"] == 4
    assert figures["bytes"] == 3 * len(BODY)
    assert answers.count(b"250 2.0.0 Ok: taken\r\n") == 4
    assert answers.count(b"354 ") == 4
    assert answers.endswith(b"221 2.0.0 Bye\r\n")


def test_the_far_proxy_delays_either_way() -> None:
    """Bytes come out later by the delay, in order, and the end of a connection too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, SCRIPTS / "far.py", str(port), "0.05"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            goal = ("127.0.0.1", int(process.stdout.readline()))
            try:
                with socket.create_connection(goal, timeout=10) as client:
                    took = _round_trip(client, server)
            finally:
                process.terminate()
    assert took >= 0.1


def _round_trip(client: socket.socket, server: socket.socket) -> float:
    """Seconds until 300,000 bytes and the end came back."""
    there, _ = server.accept()
    sent = bytes(range(250)) * 1200
    with there:
        began = time.monotonic()
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: there.recv(1 << 16), b""))
        there.sendall(got)
        there.shutdown(socket.SHUT_WR)
        back = b"".join(iter(lambda: client.recv(1 << 16), b""))
        took = time.monotonic() - began
    assert back == sent
    return took
