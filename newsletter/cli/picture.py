"""What a digest that is being sent looks like: how much of how much, how fast, until when.

Made from the counts of the rows alone: it is the same whoever does the sending, and whoever looks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from newsletter.cli import output

# No mail in one of these will be handed over, unless an operator says so.
SETTLED = ("accepted", "failed", "skipped", "uncertain")
# An end that asks for nothing.
FINE = ("accepted", "skipped")
_UNDER_WAY = ("queued", "claimed", "armed")

# Seconds that the rate is of: long enough for a slow relay, short enough to see it change.
_WINDOW = 30.0
# A rate of less than this much time would be chance.
_SHORTEST = 0.5


@dataclass(frozen=True)
class Look:
    """A digest at one moment.

    found: what newsletter.sending.status.of_digest says. expected: how many mails it will have
    when everybody is queued. rate: mails settled a second, lately; None while nobody can know.
    senders: processes that send, whatever they send; None: not asked for.
    """

    found: Mapping[str, Any]
    expected: int
    rate: float | None = None
    senders: int | None = None

    @property
    def number(self) -> int:
        """The digest's."""
        return int(self.found["digest"])

    @property
    def counts(self) -> dict[str, int]:
        """How many mails are in each state, without the states that none is in."""
        return {name: n for name, n in self.found["counts"].items() if n}

    @property
    def total(self) -> int:
        """How many mails there are, or will be."""
        return max(self.expected, int(self.found["total"]))

    @property
    def done(self) -> int:
        """How many are settled."""
        return sum(self.found["counts"][state] for state in SETTLED)

    @property
    def seconds_left(self) -> float | None:
        """Until all is out but what was put off, at that rate; None while nobody can know.

        Nor while nothing moves, and not for a digest that is not being sent.
        """
        if not self.rate or not self.is_sending or not self.under_way:
            return None
        return self.under_way / self.rate

    @property
    def under_way(self) -> int:
        """How many are still to go, without those that were put off; rows to be made included."""
        counts: dict[str, int] = self.found["counts"]
        return self.total - int(self.found["total"]) + sum(counts[state] for state in _UNDER_WAY)

    @property
    def only_put_off(self) -> bool:
        """Whether it is being sent, and all that is left waits for its next try."""
        return self.is_sending and not self.under_way and bool(self.found["counts"]["deferred"])

    @property
    def is_sending(self) -> bool:
        """Whether it is neither over nor paused, nor still to begin."""
        return bool(self.found["state"] == "sending")

    @property
    def is_fine(self) -> bool:
        """Whether it is over, everybody has a row, and each row a good end."""
        is_over = self.found["state"] in ("sent", "cancelled")
        return is_over and sum(self.found["counts"][state] for state in FINE) == self.total

    def record(self, at: datetime) -> dict[str, Any]:
        """All of it with stable keys, for programs."""
        left = self.seconds_left
        return {
            "at": at,
            **self.found,
            "expected": self.total,
            "rate": None if self.rate is None else round(self.rate, 1),
            "seconds_left": None if left is None else round(left),
            "senders": self.senders,
        }


class Rate:
    """How many mails a second are settled, over the last half minute. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, done: int) -> float | None:
        """The rate, now that so many are done; None while it is too early to say."""
        now = self._clock()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # some are tried again: what was is no measure any more
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now - since >= _SHORTEST else None


def duration(seconds: float) -> str:
    """So many seconds for people: 0:03:12."""
    return str(timedelta(seconds=round(seconds)))


def speed(rate: float) -> str:
    """A rate for people: 1,204/s, 0.3/s."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def line(look: Look, what: str) -> str:
    """The whole picture on one line, for a log or a pipe. what: what is named before the colon."""
    parts = [f"{what}: {look.done} of {look.total}"]
    if look.rate is not None and look.is_sending:
        parts.append(speed(look.rate))
    if (left := look.seconds_left) is not None:
        parts.append(f"{duration(left)} left")
    if look.counts:
        parts.append(output.cell(look.counts))
    return "; ".join([", ".join(parts), *remarks(look)])


def remarks(look: Look) -> list[str]:
    """What an operator may have to act on, each a few words."""
    found = []
    if look.found["state"] == "paused":
        found.append(f"paused: {reason(look.found)}")
    if worst := worst_domain(look.found):
        found.append(f"worst domain: {worst}")
    if look.only_put_off:
        found.append("what is left was put off")
    elif look.is_sending and look.senders == 0:
        found.append("nobody sends at the moment")
    return found


def reason(found: Mapping[str, Any]) -> str:
    """Why a paused digest stands still, safe to show: it can quote the relay."""
    return output.clean(found["pause_reason"] or "by an operator")


def worst_domain(found: Mapping[str, Any]) -> str | None:
    """The domain that most mails were put off by or failed at, and how many; None for none."""
    worst = found["worst_domain"]
    return (
        f"{output.clean(worst['domain'])} ({worst['mails']} put off or failed)" if worst else None
    )
