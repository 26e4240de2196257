"""The harness finds what is wrong: each known mistake of senders, and nothing in a right one.

A test of the tests: a harness that finds nothing proves nothing before it has found these.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from crash.campaign import in_a_process

KILLS = 20
SEED = 20260301
RIGHT = ("Honest", "Honest:cut")
WRONG = {
    # Who was read and not mailed when it was killed is never mailed, and the digest is sent.
    "MovesACursor": {"I5", "SUM"},
    # Who was mailed and not marked is mailed again.
    "MarksAfterwards": {"I1"},
    # A power cut takes back what was acted upon.
    "DoesNotSync:cut": {"I1"},
    "SyncsNowAndThen:cut": {"I1"},
    # After the dot nobody knows; to try again is to mail twice, sooner or later.
    "TriesAgain": {"I1"},
    # A mail that is not the same one each time cannot be told from another one.
    "WritesAnew": {"I10"},
}


@pytest.fixture(scope="module")
def reports():
    """What the judge says of each sender."""
    names = [word for sender in (*RIGHT, *WRONG) for word in ("--against", sender)]
    return in_a_process("--kills", KILLS, "--seed", SEED, *names)


def duel(play: str, sender: str) -> set[str]:
    """What the judge says of a sender that was played with."""
    program = Path(__file__).with_name("duel.py")
    done = subprocess.run(
        [sys.executable, str(program), play, sender], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {line.split(": ")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("sender", RIGHT)
def test_a_right_sender_is_found_right(reports, sender):
    """Claim, arm, settle: neither kills nor power cuts make it do wrong."""
    report = reports[sender]
    assert report["violations"] == report["errors"] == []
    assert report["by"]["kill"] > KILLS / 2
    assert report["uncertain"] > 0


@pytest.mark.parametrize("sender", WRONG)
def test_a_wrong_sender_is_found_wrong(reports, sender):
    """Each mistake is found after a few kills, by what it does to readers."""
    report = reports[sender]
    found = {text.split(": ")[1] for text in report["violations"]}
    is_broken = any("broken" in text for text in report["violations"])
    assert WRONG[sender] <= found or (sender.endswith(":cut") and is_broken)


def test_without_the_epoch_a_sleeper_has_a_mail_sent_twice():
    """What it was told before it slept, it writes over what others did meanwhile."""
    assert duel("epoch", "Honest") == set()
    assert "I1" in duel("epoch", "ForgetsTheEpoch")


def test_an_early_look_at_consent_is_too_early():
    """Who leaves while the body is on its way is mailed all the same."""
    assert duel("consent", "Honest") == set()
    assert "I16" in duel("consent", "LooksEarly")
