"""How fast mails go, and when one that was put off is tried again."""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.mail.transport import Reply
from newsletter.sending.pace import Pace, Retries
from newsletter.sending.providers import RATES, provider

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUSY = Reply(451, "4.7.0 too fast", "data")
RETRIES = Retries(delay=300, delay_max=21600, give_up=432000)


def delay(attempts: int, chance: float = 0) -> float:
    found = RETRIES.next(attempts, since=NOW, now=NOW, chance=chance)
    assert found is not None
    return (found - NOW).total_seconds()


def test_delays_double_up_to_the_longest():
    """retry_delay, twice that, ..., retry_delay_max."""
    assert [delay(n) for n in range(9)] == [300, 600, 1200, 2400, 4800, 9600, 19200, 21600, 21600]


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_delay_is_never_shorter_than_it_should_be(attempts, chance):
    """Chance spreads the retries and only makes them later, by a fifth at most."""
    assert delay(attempts) <= delay(attempts, chance) <= delay(attempts) * 1.2 + 1


def test_it_ends():
    """retry_for after the mail was made, if it was tried for so long, there is no further try."""
    old = NOW - timedelta(seconds=432000)
    assert RETRIES.next(25, since=old, now=NOW, chance=0) is None
    assert RETRIES.next(25, since=old + timedelta(seconds=1), now=NOW, chance=0) is not None


@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_waiting_for_us_is_no_reason_to_give_up(attempts):
    """A digest that was paused for days: its mails are tried as long as others."""
    old = NOW - timedelta(days=30)
    assert RETRIES.next(attempts, since=old, now=NOW, chance=0) is not None


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def going(pace: Pace, clock: Clock, domain: str, seconds: float, tick: float = 0.05) -> int:
    """How many mails to `domain` go in so many seconds, when one is always ready."""
    gone = 0
    until = clock.now + seconds
    while clock.now < until:
        while pace.overall() == 0 and pace.wait(domain) == 0:
            gone += 1
            assert gone < 100_000
        clock.now += tick
    return gone


def test_nothing_is_held_back_without_a_limit():
    """Neither overall, nor for a domain that is no large provider's."""
    pace = Pace(None, {})
    assert {pace.wait("example.org") for _ in range(10_000)} == {0.0}
    assert pace.overall() == 0.0


@given(st.floats(0.05, 500), st.integers(1, 5))
def test_a_domain_gets_its_rate(rate, workers):
    """This process's share of it, in any stretch of time; a second's worth may come at once."""
    clock = Clock()
    pace = Pace(None, {"example.org": rate}, clock)
    pace.share(workers)
    share = rate / workers
    seconds = max(5.0, 4 / share)
    for _ in range(2):
        gone = going(pace, clock, "example.org", seconds, tick=min(0.05, 1 / share))
        assert share * seconds * 0.9 - 1 <= gone <= share * (seconds + 0.1) + share + 2


@given(st.floats(0.5, 300))
def test_all_mails_together_get_their_rate(rate):
    """Whoever asks is only told; what goes is counted, to whatever domain it goes."""
    clock = Clock()
    pace = Pace(rate, {}, clock)
    assert {pace.overall() for _ in range(100)} == {0.0}
    gone = going(pace, clock, "example.org", 10) + going(pace, clock, "example.net", 10)
    assert rate * 20 * 0.9 - 1 <= gone <= rate * 20.1 + rate + 3


def test_what_does_not_wait_is_counted_too():
    """Letters of a person's own go at once; the rest waits for as long as they took."""
    for overall, domains in ((2, {}), (None, {"example.org": 2})):
        clock = Clock()
        pace = Pace(overall, domains, clock)
        for _ in range(20):
            pace.went("example.org")
        assert pace.wait("example.org") > 0
        assert going(pace, clock, "example.org", 9) == 0
        assert going(pace, clock, "example.org", 11) >= 18
    assert pace.wait("example.net") == 0


def test_a_limit_holds_back_its_domain_alone():
    """Others go at once, and take nothing from it."""
    clock = Clock()
    pace = Pace(None, {"slow.example": 1}, clock)
    assert pace.wait("slow.example") == 0
    assert pace.wait("slow.example") > 0
    assert pace.wait("quick.example") == 0


def test_who_must_wait_is_given_a_moment_of_its_own():
    """Put-off mails come back one after the other, not all together."""
    clock = Clock()
    pace = Pace(None, {"example.org": 2}, clock)
    waits = [pace.wait("example.org") for _ in range(12)]
    assert waits[:2] == [0, 0]
    steps = [after - before for before, after in pairwise(waits[2:])]
    assert steps == pytest.approx([0.5] * len(steps))


@pytest.mark.parametrize("rate", [0.5, 3, 20, 200])
def test_put_off_mails_go_at_the_rate(rate):
    """Coming back when they were told, in handfuls as claims find them, they use all of it."""
    clock = Clock()
    pace = Pace(None, {"example.org": rate}, clock)
    mails = round(rate * 60)
    queue = [(clock.now, number) for number in range(mails)]
    asked: Counter[int] = Counter()
    gone = 0
    began = clock.now
    while queue:
        clock.now += 0.5  # the next batch
        while queue and queue[0][0] <= clock.now:
            _due, number = heapq.heappop(queue)
            asked[number] += 1
            seconds = pace.wait("example.org")
            if seconds:
                heapq.heappush(queue, (clock.now + seconds, number))
            else:
                gone += 1
    assert gone == mails
    assert clock.now - began < 60 * 1.15 + 2 / rate
    assert max(asked.values()) <= 4


def test_moments_of_mails_that_are_gone_are_given_again():
    """A digest that was cancelled leaves no hole behind for the next one."""
    clock = Clock()
    pace = Pace(None, {"example.org": 10}, clock)
    assert max(pace.wait("example.org") for _ in range(2000)) > 100
    clock.now += 10
    waits = [pace.wait("example.org") for _ in range(20)]
    assert waits[:10] == [0] * 10
    assert max(waits) < 2


def test_no_moment_is_further_away_than_an_hour():
    """However many must wait: they ask again then."""
    pace = Pace(None, {"example.org": 1}, Clock())
    assert max(pace.wait("example.org") for _ in range(10_000)) <= 3601


def test_the_domains_of_a_provider_are_one():
    """gmail.com and googlemail.com share one limit, which the settings can name by either."""
    clock = Clock()
    pace = Pace(None, {"GoogleMail.com": 1}, clock)
    assert pace.wait("gmail.com") == 0
    assert pace.wait("googlemail.com") > 0
    assert pace.wait("outlook.com") == 0


def test_large_providers_have_a_limit_of_their_own():
    """Without any setting; a setting replaces it, and leaves the others."""
    clock = Clock()
    pace = Pace(None, {"gmail.com": 500}, clock)
    for domain, rate in (("gmail.com", 500), ("hotmail.com", 20), ("web.de", 10)):
        gone = going(pace, clock, domain, 10)
        assert rate * 10 * 0.9 <= gone <= rate * 11 + 1


def test_a_provider_is_known_by_one_name():
    """Each limit is that of the name which its domains have in common."""
    assert set(RATES) == {provider(name) for name in RATES}
    assert {provider("googlemail.com"), provider("gmail.com")} == {"gmail.com"}
    assert provider("example.org") == "example.org"


@pytest.mark.parametrize("rates", [{}, {"example.org": 32}])
def test_a_domain_that_says_later_is_slowed_down(rates):
    """Once is nothing, three times halve its speed, and so on; no other domain is touched."""
    clock = Clock()
    pace = Pace(None, rates, clock)
    for _ in range(2):
        pace.pushed_back("example.org", BUSY)
    if not rates:
        assert pace.wait("example.org") == 0
    speeds = []
    for _ in range(3):
        for _ in range(3):
            pace.pushed_back("example.org", BUSY)
        speeds.append(going(pace, clock, "example.org", 4) / 4)
    # Five, eight and eleven times, and a little cooler again: 16, 8 and 4 a second, and the burst.
    assert 14 < speeds[0] < 22
    assert 7 < speeds[1] < 11
    assert 3 < speeds[2] < 6
    assert pace.wait("example.net") == 0


@pytest.mark.parametrize("code", [450, 451, 452])
def test_greylisting_slows_a_domain_a_little(code):
    """Each reader is refused once, however slowly we come: an eighth of the speed is left."""
    clock = Clock()
    pace = Pace(None, {"example.org": 32}, clock)
    greylisted = Reply(code, "4.7.1 come back in five minutes", "rcpt")
    for _ in range(5):
        pace.pushed_back("example.org", greylisted)
    assert 31 <= going(pace, clock, "example.org", 2) / 2 <= 50  # and the burst
    for _ in range(1000):
        pace.pushed_back("example.org", greylisted)
    clock.now += 2
    assert 3.5 <= going(pace, clock, "example.org", 10) / 10 <= 5
    assert pace.wait("example.net") == 0


def test_what_is_no_greylisting_slows_a_domain_further():
    """421 to RCPT ends the connection, and a 4yz to DATA or the dot is about no reader."""
    clock = Clock()
    pace = Pace(None, {"example.org": 32}, clock)
    for _ in range(1000):
        pace.pushed_back("example.org", Reply(450, "4.7.1 greylisted", "rcpt"))
    for reply in (Reply(421, "4.7.0 too fast", "rcpt"), BUSY, Reply(452, "4.3.1 full", "dot")):
        for _ in range(3):
            pace.pushed_back("example.org", reply)
    slow = going(pace, clock, "example.org", 16, tick=0.5) / 16
    pace.pushed_back("example.org", Reply(450, "4.7.1 greylisted", "rcpt"))  # cools nothing
    assert slow < 1.5
    assert going(pace, clock, "example.org", 8, tick=0.5) / 8 < 1.5


def test_a_slowed_domain_gets_its_speed_back():
    """A minute without a refusal doubles it; in the end it has no limit at all."""
    clock = Clock()
    pace = Pace(None, {}, clock)
    for _ in range(1000):
        pace.pushed_back("example.org", BUSY)
    slowest = going(pace, clock, "example.org", 16, tick=0.5) / 16
    assert 0.05 < slowest < 0.3
    clock.now += 120
    assert 0.3 < going(pace, clock, "example.org", 8, tick=0.5) / 8 < 1.5
    clock.now += 600
    assert {pace.wait("example.org") for _ in range(1000)} == {0.0}
