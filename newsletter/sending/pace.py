"""When a mail that the relay put off is tried again, and when no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

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
        if now - since >= timedelta(seconds=self.give_up):
            return None
        # 2.0 ** 1000 would overflow; after 30 doublings every delay is past its maximum.
        delay = min(self.delay * 2.0 ** min(attempts, 30), self.delay_max)
        return now + timedelta(seconds=delay * (1 + _SPREAD * chance))
