"""The picture of a sending: what is said of given counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.cli import output, picture
from newsletter.cli.picture import Look, Rate
from newsletter.store import DeliveryState

HOSTILE = "\x1b[2Jgone\u202e\nSecond"


def found(state: str = "sending", **counts: int) -> dict[str, Any]:
    """What status.of_digest says of such a digest."""
    every = dict.fromkeys(map(str, DeliveryState), 0) | counts
    return {
        "digest": 7,
        "state": state,
        "total": sum(every.values()),
        "counts": every,
        "pause_reason": None,
        "worst_domain": None,
    }


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_of_the_last_half_minute() -> None:
    """What was long ago counts no more; the first look gives no rate."""
    clock = Clock()
    rate = Rate(clock)
    assert rate.of(0) is None
    clock.now += 10
    assert rate.of(1000) == 100
    for _ in range(60):
        clock.now += 1
        last = rate.of(1000)
    assert last == 0


def test_the_rate_begins_anew() -> None:
    """Mails that are tried again make no negative rate."""
    clock = Clock()
    rate = Rate(clock)
    for done in (0, 500, 100):
        clock.now += 10
        said = rate.of(done)
    assert said is None
    clock.now += 10
    assert rate.of(200) == 10


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 10_000)), max_size=50))
def test_no_rate_is_negative(steps: list[tuple[float, int]]) -> None:
    """Whatever is seen, whenever."""
    clock = Clock()
    rate = Rate(clock)
    for seconds, done in steps:
        clock.now += seconds
        said = rate.of(done)
        assert said is None or said >= 0


def test_the_time_left() -> None:
    """Of what is still to go, rows to be made included; what was put off goes at its own time."""
    look = Look(found(accepted=40, queued=50, armed=10, deferred=7), 207, rate=10.0)
    assert (look.done, look.total) == (40, 207)
    assert look.seconds_left == (50 + 10 + 100) / 10
    assert Look(found(accepted=9, deferred=1), 10, rate=10.0).seconds_left is None
    assert Look(found(queued=9), 9, rate=0.0).seconds_left is None
    assert Look(found("paused", queued=9), 9, rate=3.0).seconds_left is None


def test_one_line() -> None:
    """Everything on one line, without the states that no mail is in."""
    look = Look(found(accepted=1204, queued=8796), 10_000, rate=602.0)
    assert picture.line(look, "sending") == (
        "sending: 1204 of 10000, 602/s, 0:00:15 left, queued=8796, accepted=1204"
    )
    assert picture.line(Look(found(), 0), "digest 7") == "digest 7: 0 of 0"


def test_what_needs_an_operator() -> None:
    """The worst domain, why it is paused, that nobody sends: none of it moves a cursor."""
    stands = found("paused", failed=3) | {
        "pause_reason": HOSTILE,
        "worst_domain": {"domain": f"example.net{HOSTILE}", "mails": 3},
    }
    said = picture.line(Look(stands, 3), "digest 7")
    assert "paused: [2Jgone Second" in said
    assert "worst domain: example.net[2Jgone Second (3 put off or failed)" in said
    assert said.isprintable()
    assert "paused: by an operator" in picture.line(Look(found("paused"), 0), "digest 7")
    assert "nobody sends" in picture.line(Look(found(queued=1), 1, senders=0), "digest 7")
    assert "what is left was put off" in picture.line(Look(found(deferred=1), 1), "digest 7")
    assert "nobody sends" not in picture.line(Look(found("sent"), 0, senders=0), "digest 7")


@pytest.mark.parametrize(
    ("look", "is_fine"),
    [
        (Look(found("sent", accepted=2, skipped=1), 3), True),
        (Look(found("cancelled", skipped=3), 3), True),
        (Look(found("sent", accepted=2, uncertain=1), 3), False),
        (Look(found("sent", accepted=2, failed=1), 3), False),
        (Look(found("sending", accepted=3), 3), False),
        (Look(found("sending"), 0), False),
    ],
)
def test_a_good_end(look: Look, is_fine: bool) -> None:
    """Over, and each mail accepted or skipped."""
    assert look.is_fine is is_fine


def test_the_record_for_programs(now) -> None:
    """The keys are stable; what is not known is null."""
    record = json.loads(output.as_json_text(Look(found(queued=4), 4).record(now)))
    assert record.keys() == {
        *("at", "digest", "state", "total", "counts", "pause_reason", "worst_domain"),
        *("expected", "rate", "seconds_left", "senders"),
    }
    assert (record["at"], record["rate"]) == ("2026-03-01T12:00:00Z", None)
