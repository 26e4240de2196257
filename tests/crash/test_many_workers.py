"""Several workers on PostgreSQL, and everything that can happen to them: no mail twice, none lost.

Killed; stopped for longer than their lease, and woken up while others have their rows; cut off from
the database in the middle of a statement; the server itself torn down at once and recovering.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def rage(seconds: int, *, digests: int) -> dict[str, Any]:
    """The report of one run with a new seed."""
    seed = random.SystemRandom().randrange(1 << 30)
    program = str(Path(__file__).with_name("nemesis.py"))
    words = ["--seconds", str(seconds), "--digests", str(digests), "--seed", str(seed)]
    print("python tests/crash/nemesis.py", *words)
    done = subprocess.run(
        [sys.executable, program, *words], capture_output=True, text=True, check=False
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(done.stderr) from None
    if reason := report.get("no_server"):
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    print({name: value for name, value in report.items() if name != "violations"})
    return report


def judge(report: dict[str, Any], seconds: int) -> None:
    """Nothing was found, and there was enough harm for that to mean something."""
    assert report["violations"] == []
    assert report["errors"] == []
    by = report["by"]
    assert by["mails until then"] >= 5 * seconds
    assert by["kill"] >= seconds / 3
    assert min(by.get(what, 0) for what in ("stop", "cut off", "server down")) >= seconds / 15


def test_workers_die_sleep_and_lose_their_database():
    """For twelve seconds; then everything comes to rest, and adds up."""
    judge(rage(12, digests=40), 12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_workers_die_sleep_and_lose_their_database_for_longer():
    """The same for two minutes, with thirty thousand mails."""
    judge(rage(120, digests=300), 120)
