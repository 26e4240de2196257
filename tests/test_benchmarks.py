"""The scripts behind the README's figures run, and print what they promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_the_consent_log_is_measured() -> None:
    """Append and verify in events a second, and the ratio of an append's cost."""
    command = [sys.executable, SCRIPTS / "consent_log.py", "--events", "300", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(done.stdout)
    assert figures["events"] == 300
    for name in ("append_events_per_second", "append_ratio", "verify_events_per_second"):
        assert figures[name] > 0
