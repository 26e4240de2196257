"""How fast mails go, and when one that the relay put off is tried again.

A domain's limit holds back that domain's mails alone: they are put off until their own moment, and
others go in their place. A domain that says "later" again and again is slowed down, and gets its
speed back by itself. What is counted is this process's share of the rates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from newsletter.mail.transport import Reply
from newsletter.sending.providers import RATES, provider

# A tenth more or less at random would still let a thousand mails come back at once; a fifth is
# enough to spread them, and never less than the delay, since greylisting counts from the first try.
_SPREAD = 0.2


@dataclass(frozen=True)
class Retries:
    """The settings retry_delay, retry_delay_max and retry_for, in seconds."""

    delay: float
    delay_max: float
    give_up: float

    def next(
        self, attempts: int, *, since: datetime, now: datetime, chance: float
    ) -> datetime | None:
        """When to try again; None when the mail is too old for that.

        attempts: how often it was put off before. since: when the mail was made. chance: a random
        number from 0 to 1, so that mails put off together do not come back together.
        RFC 5321 §4.5.4.1 asks for growing delays and an end after some days.
        """
        # Both: a digest that was paused, or a relay that was away, is no reason to give up at once.
        age = (now - since).total_seconds()
        if age >= self.give_up and self._spent(attempts) >= self.give_up:
            return None
        # 2.0 ** 1000 would overflow; after 30 doublings every delay is past its maximum.
        delay = min(self.delay * 2.0 ** min(attempts, 30), self.delay_max)
        return now + timedelta(seconds=delay * (1 + _SPREAD * chance))

    def _spent(self, attempts: int) -> float:
        """The seconds for which a mail was tried at most: the sum of the delays behind it."""
        delays = (min(self.delay * 2.0 ** min(k, 30), self.delay_max) for k in range(attempts))
        return (1 + _SPREAD) * sum(delays)


# Mails that wait come back in handfuls, not one by one: so much may be made up for, in seconds.
_BURST = 1.0
# A moment further away than this is not given: whoever comes back then asks again.
_FURTHEST = 3600.0
# Moments were given, and nobody came at them for so long: whoever had them is gone.
_FORGOTTEN = 5.0
# A refusal warms a domain by one, three a minute go by. Each three of them halve its speed.
_REFUSALS_A_STEP = 3
_COOLING = 1 / 20
_HOTTEST = 24.0
# One that may be about its reader alone: greylisting says "later" to each once, however slowly we
# come, and waiting does not help against it. By these alone a domain keeps an eighth of its speed.
_OF_ONE_READER = 0.5
_WARM = 11.0
_EXACT = 1e-6  # seconds; less is what floating point makes of nothing
_CLOSING = 421  # the whole connection ends with it, whoever the reader is
# The speed that is halved for a domain that has no limit of its own, in mails a second.
_UNLIMITED = 32.0


class _Limit:
    """Mails a second, by the generic cell rate algorithm; and the moments given to who must wait.

    moment: seconds of the clock. rate is asked for each time: shares and slow-downs change it.
    """

    __slots__ = ("_asked", "_full_at", "_given")

    def __init__(self) -> None:
        # When what is counted would be through at the even rate; the last moment that was given.
        self._full_at = self._given = self._asked = float("-inf")

    def wait(self, rate: float, moment: float) -> float:
        """Seconds until one more may go; 0: now."""
        seconds = self._full_at - _burst(rate) - moment
        return seconds if seconds > _EXACT else 0.0

    def count(self, rate: float, moment: float) -> None:
        """One goes now."""
        self._forget(rate, moment)
        self._full_at = max(self._full_at, moment) + 1 / rate

    def reserve(self, rate: float, moment: float) -> float:
        """Seconds until the next moment that nobody was given yet."""
        self._forget(rate, moment)
        self._given = max(self._given + 1 / rate, self._full_at - _burst(rate))
        return self._given - moment

    def _forget(self, rate: float, moment: float) -> None:
        """Moments that nobody comes for, or that are too far away, are given anew."""
        patience = max(_FORGOTTEN, _FORGOTTEN / rate)
        if moment - self._asked > patience or self._given - moment > _FURTHEST:
            self._given = float("-inf")
        self._asked = moment


def _burst(rate: float) -> float:
    """Seconds by which mails may be ahead of the even rate; none at one a second or less."""
    return max(0.0, _BURST - 1 / rate)


class _Domain:
    """One provider: its limit, and how often it said "later" lately."""

    __slots__ = ("_heat", "_warmed_at", "limit")

    def __init__(self) -> None:
        self.limit = _Limit()
        self._heat = 0.0
        self._warmed_at = float("-inf")

    def warm(self, moment: float, by: float, most: float) -> None:
        """It said "later", which counts so much, and is no reason to be hotter than `most`."""
        heat = self._heat_at(moment)
        self._heat = max(heat, min(heat + by, most))
        self._warmed_at = moment

    def rate(self, wanted: float | None, moment: float) -> float | None:
        """Mails a second now; wanted: by its own limit, None for none."""
        halvings = int(self._heat_at(moment) / _REFUSALS_A_STEP)
        if not halvings:
            return wanted
        return (wanted or _UNLIMITED) * 0.5**halvings

    def is_cool(self, moment: float) -> bool:
        """Whether it said "later" so long ago that it need not be known any more."""
        return self._heat_at(moment) == 0

    def _heat_at(self, moment: float) -> float:
        return max(0.0, self._heat - (moment - self._warmed_at) * _COOLING) if self._heat else 0.0


class Pace:
    """How fast this process may send. For one thread; `share` may come from another.

    overall: mails a second, None for no limit. domains: mails a second by domain; they go before
    the defaults for the large providers, all of whose domains count as one. Both over all
    processes. clock: seconds, never set back.
    """

    def __init__(
        self,
        overall: float | None,
        domains: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._overall = overall
        self._rates = RATES.copy()
        for name in {provider(domain.lower()) for domain in domains}:
            self._rates[name] = min(r for d, r in domains.items() if provider(d.lower()) == name)
        self._clock = clock
        self._workers = 1
        self._limit = _Limit()
        # Only those with a limit, or that said "later": a million readers have many domains.
        self._domains = {name: _Domain() for name in self._rates}

    def share(self, workers: int) -> None:
        """So many processes send, this one among them: each takes an equal part of the rates."""
        self._workers = max(1, workers)

    def overall(self) -> float:
        """Seconds until any mail may go, by the limit over all of them; 0: now. Counts nothing."""
        if self._overall is None:
            return 0.0
        return self._limit.wait(self._overall / self._workers, self._clock())

    def wait(self, domain: str) -> float:
        """Seconds until a mail to `domain` may go. 0: it goes now, and is counted.

        Whoever must wait is given a moment of its own, so that mails that are put off come back
        one after the other, as fast as they may. domain: ASCII, lower case.
        """
        moment = self._clock()
        if self._overall is not None:
            overall = self._overall / self._workers
            if seconds := self._limit.wait(overall, moment):
                return seconds
        found = self._domains.get(provider(domain))
        if found is not None and (rate := self._rate(domain, found, moment)) is not None:
            if found.limit.wait(rate, moment):
                return found.limit.reserve(rate, moment)
            found.limit.count(rate, moment)
        if self._overall is not None:
            self._limit.count(overall, moment)
        return 0.0

    def went(self, domain: str) -> None:
        """A mail to `domain` goes now, whatever the limits say: who waits, waits longer for it."""
        moment = self._clock()
        found = self._domains.get(provider(domain))
        if found is not None and (rate := self._rate(domain, found, moment)) is not None:
            found.limit.count(rate, moment)
        if self._overall is not None:
            self._limit.count(self._overall / self._workers, moment)

    def pushed_back(self, domain: str, reply: Reply) -> None:
        """The relay said 421, 450, 451 or 452 for a mail to `domain`.

        Once is nothing; three within a minute halve its speed, each three more do so again. A
        minute without one doubles it, up to what it was. 450, 451 and 452 to RCPT may be about the
        reader alone: two of them count as one, and never make it slower than an eighth.
        """
        found = self._domains.setdefault(provider(domain), _Domain())
        if reply.stage == "rcpt" and reply.code != _CLOSING:
            found.warm(self._clock(), _OF_ONE_READER, _WARM)
        else:
            found.warm(self._clock(), 1.0, _HOTTEST)

    def _rate(self, domain: str, found: _Domain, moment: float) -> float | None:
        """Mails a second of this process to a domain now; None for no limit."""
        name = provider(domain)
        rate = found.rate(self._rates.get(name), moment)
        if rate is None and found.is_cool(moment):
            del self._domains[name]
        return None if rate is None else rate / self._workers
