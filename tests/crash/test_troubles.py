"""What can go wrong around a sender but for kills: it may stop sending, and never sends wrongly."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from crash.trouble import TROUBLES


@pytest.fixture(scope="module")
def reports():
    """What the judge says after each trouble."""
    seed = random.SystemRandom().randrange(1 << 30)
    program = str(Path(__file__).with_name("trouble.py"))
    done = subprocess.run(
        [sys.executable, program, "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(done.stderr) from None


@pytest.mark.parametrize("trouble", TROUBLES)
def test_in_trouble_nobody_is_mailed_twice_or_lost(reports, trouble):
    """Everything adds up once the trouble is over; see crash.trouble for what it is."""
    report = reports[trouble]
    print(f"python tests/crash/trouble.py {trouble} --seed {report['seed']}", report)
    if reason := next((each for each in report["by"] if each.startswith("cannot mount")), None):
        pytest.skip(reason)  # an installation in a container may not; `full` is the same there
    assert report["violations"] == report["errors"] == []


@pytest.mark.parametrize("trouble", ["no_sync", "read_only"])
def test_a_disk_that_fails_ends_the_sender(reports, trouble):
    """To go on, or to try the same again, would be to believe what nobody knows."""
    assert reports[trouble]["by"] == {"itself": 4}
