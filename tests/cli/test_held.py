"""A relay that refuses us, not a reader: the digest stands still, says why, and nobody failed."""

from __future__ import annotations

import pytest
from commandline import Home
from operating import approved

from newsletter.mail.sink import Sink

PEOPLE = tuple(f"reader{number}@example.net" for number in range(8))


@pytest.fixture
def ready(home: Home, sink: Sink) -> Home:
    """An approved digest for some readers."""
    approved(home, *PEOPLE, smtp_url=sink.url, smtp_connections=2, retry_delay=0.1)
    return home


@pytest.mark.parametrize(
    ("stage", "answer"),
    [("mail", "550 5.1.8 who are you"), ("dot", "554 5.7.1 this looks like spam")],
)
def test_a_refusal_of_us(ready: Home, sink: Sink, stage: str, answer: str) -> None:
    """Exit code 7, the reason, the way on; and after it was mended everybody gets one mail."""
    sink.reply = lambda at, _argument: answer if at == stage else None
    stopped = ready.run("send", 1, code=7)
    words = answer.split(" ", 2)[2]
    assert words in stopped.stdout
    assert "newsletter resume 1" in stopped.stdout
    found = ready.json("status", 1)
    assert found["state"] == "paused"
    assert words in found["pause_reason"]
    assert found["counts"]["failed"] == found["counts"]["uncertain"] == 0
    assert words in ready.run("send", 1, code=7).stderr
    assert sink.received == []
    sink.reply = None
    ready.run("resume", 1)
    done = ready.json("send", 1, "--wait")
    assert (done["state"], done["pause_reason"]) == ("sent", None)
    assert sorted(mail.recipients[0] for mail in sink.received) == sorted(PEOPLE)


def test_an_operators_pause_has_no_reason(ready: Home) -> None:
    """It is a refusal with exit code 1, and the way on."""
    ready.run("send", 1, "--queue")
    ready.run("pause", 1)
    assert ready.json("status", 1)["pause_reason"] is None
    assert "by an operator" in ready.run("status", 1).stdout
    assert "newsletter resume 1" in ready.run("send", 1, code=1).stderr
