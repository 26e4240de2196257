"""`newsletter worker` itself, killed with -9 while it sends: as an operator would see it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commandline import Home
from crash.checker import check
from crash.world import USUAL, SinkProcess, World, populate

CONNECTIONS = 10


def installed(folder: Path, port: int, *, readers: int) -> Home:
    """An installation with a digest that is being sent to so many readers."""
    home = Home(folder)
    home.file.write_text(
        f'base_url = "https://news.example.org"\nsecret_key = "{"s" * 40}"\n'
        f'hash_key = "{"h" * 32}"\nsmtp_url = "smtp://127.0.0.1:{port}"\n'
        f"smtp_connections = {CONNECTIONS}\nretry_delay = 0.05\nretry_delay_max = 0.2\n"
    )
    populate(f"sqlite:///{home.database}", readers=readers, digests=1)
    return home


def kill_and_see(folder: Path, *, readers: int, kills: int, delay: float) -> dict[str, Any]:
    """Kill the worker so often, let it finish, and have it judged; what status says at the end."""
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    lot = random.Random(seed)
    with SinkProcess(folder / "ledger", seed=seed, faults=USUAL, delay=delay) as sink:
        home = installed(folder, sink.port, readers=readers)
        world = World(folder, f"sqlite:///{home.database}", sink, CONNECTIONS)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for _ in range(kills):
            before = sink.ledger.stat().st_size
            worker = home.process("worker", **quiet)
            # At random from when it begins to send; it needs half a second to come to that.
            end = time.monotonic() + 20
            while sink.ledger.stat().st_size == before and time.monotonic() < end:
                assert worker.poll() is None
                time.sleep(0.005)
            time.sleep(lot.uniform(0, 0.4))
            worker.kill()
            worker.wait()
            world.crashes += 1
        assert not world.is_over(), "it was done too soon: nothing was left to be killed at"
        sink.behave()
        worker = home.process("worker", **quiet)
        end = time.monotonic() + 240
        while not world.is_over() and time.monotonic() < end:
            assert worker.poll() is None
            time.sleep(0.1)
        worker.terminate()
        assert worker.wait(30) == 0
        status = _status(home)
        [digest] = status["digests"]
        history = world.history(counts={digest["digest"]: digest["counts"]})
    assert check(history) == []
    print(digest["counts"], len(history.ledger.arrivals), history.ledger.lost_answers)
    return digest


def _status(home: Home) -> dict[str, Any]:
    words = [sys.executable, "-m", "newsletter", "--config", str(home.file), "status", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def adds_up(digest: dict[str, Any], readers: int) -> None:
    """Everybody is accounted for, and the digest is called sent."""
    counts = digest["counts"]
    assert digest["state"] == "sent"
    assert sum(counts[name] for name in ("accepted", "failed", "skipped", "uncertain")) == readers
    assert digest["total"] == readers


def test_a_worker_is_killed_ten_times(tmp_path):
    """Each reader at most once; nobody is missing but the uncertain; status adds up."""
    adds_up(kill_and_see(tmp_path, readers=2000, kills=10, delay=0.1), 2000)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_worker_is_killed_a_hundred_times(tmp_path):
    """The same with twenty thousand readers."""
    adds_up(kill_and_see(tmp_path, readers=20_000, kills=100, delay=0.15), 20_000)
