"""When a mail that was put off is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from newsletter.sending.pace import Retries

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
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
    """retry_for after the mail was made, there is no further try."""
    old = NOW - timedelta(seconds=432000)
    assert RETRIES.next(1, since=old, now=NOW, chance=0) is None
    assert RETRIES.next(1, since=old + timedelta(seconds=1), now=NOW, chance=0) is not None
