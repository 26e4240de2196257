"""Our sender is killed, a thousand times in every run: nobody is mailed twice, nobody is lost.

Each run draws another seed and says it when something was found; see crash.campaign.
"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from crash.campaign import in_a_process

from newsletter import failpoints

# What a kill must have met, in which state of the row, and how far its mail was at the relay.
MOMENTS = (
    "claimed / data",  # the body is not begun
    "claimed / offered",  # only the dot is missing
    "armed / offered",  # the dot may follow, and did not
    "armed / dot",  # the dot is there, and the relay thinks
    "armed / answered",  # the answer was on its way, or not recorded
    "accepted / answered",  # all is said and done
)


def campaigns(kills: int, *more: object, at_once: int = 2) -> list[dict[str, Any]]:
    """The reports of `at_once` campaigns beside each other, with so many kills in all."""
    sender = more[-1] if more else "ours"

    def one(seed: int) -> dict[str, Any]:
        print(f"python tests/crash/campaign.py --kills {kills // at_once} --seed {seed}", *more)
        report = in_a_process("--kills", kills // at_once, "--seed", seed, *more)[str(sender)]
        print({name: value for name, value in report.items() if name != "violations"})
        return report

    seeds = [random.SystemRandom().randrange(1 << 30) for _ in range(at_once)]
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(one, seeds))


def total(reports: list[dict[str, Any]], name: str) -> Counter[str]:
    """What the reports counted under `name`, together."""
    found: Counter[str] = Counter()
    for report in reports:
        found.update(report[name])
    return found


def judge(reports: list[dict[str, Any]], kills: int) -> None:
    """Nothing was found, and enough was tried for that to mean something."""
    assert [text for report in reports for text in report["violations"]] == []
    assert [text for report in reports for text in report["errors"]] == []
    assert sum(report["kills"] for report in reports) >= kills
    by, covered = total(reports, "by"), total(reports, "covered")
    assert {name for name in failpoints.POINTS if by[name] < kills / 200} == set()
    assert {name for name in MOMENTS if covered[name] < kills / 100} == set()


def test_a_thousand_kills():
    """At random moments and at each point of the protocol; a relay that errs, people who leave."""
    judge(campaigns(1000), 1000)


def test_a_hundred_power_cuts():
    """With each kill, what was not synced is lost, or a part of it: what was sent is known."""
    reports = campaigns(100, "--against", "ours:cut", at_once=1)
    assert [text for report in reports for text in report["violations"]] == []
    assert [text for report in reports for text in report["errors"]] == []
    assert sum(report["kills"] for report in reports) >= 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_kills():
    """The same, for longer."""
    judge(campaigns(10_000), 10_000)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_power_cuts():
    """The same, for longer."""
    reports = campaigns(1000, "--against", "ours:cut")
    assert [text for report in reports for text in report["violations"]] == []
    assert [text for report in reports for text in report["errors"]] == []
