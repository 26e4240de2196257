"""When a plan is due: each day, week or month, at a wall clock's time in a named zone.

"weekly, Monday 08:00 Europe/Berlin" is at eight in Berlin all the year round. A time that the
clock skips in spring is as far behind the jump as it would have been; one that it shows twice in
autumn is the first of the two (RFC 5545 §3.3.5). A day that a month lacks is its last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from dateutil.rrule import DAILY, MONTHLY, WEEKLY, rrule

from newsletter.errors import BadInput

Frequency = Literal["daily", "weekly", "monthly"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_FREQUENCIES: Mapping[str, Literal[1, 2, 3]] = {
    "daily": DAILY,
    "weekly": WEEKLY,
    "monthly": MONTHLY,
}
_EXAMPLES = (
    '"daily, 07:30 Europe/Berlin", "weekly, Monday 08:00 Europe/Berlin", "weekly, Tuesday and '
    'Friday 17:00 UTC", "monthly, 1 09:00 America/New_York", "monthly, last 18:00 UTC" or '
    '"monthly, first Monday 08:00 UTC"'
)
_SHAPE = re.compile(
    r"(?P<often>daily|weekly|monthly)\b[\s,]*(?P<days>.*?)[\s,]*"
    r"(?<!\S)(?P<hour>\d{1,2}):(?P<minute>\d{2})\s+(?P<zone>[\w+\-/]+)",
    re.IGNORECASE,
)
_DAY_OF_MONTH = re.compile(r"(?:the\s+)?(\d{1,2})(?:st|nd|rd|th|\.)?", re.IGNORECASE)
# From a first Monday to the next it can be 35 days, and no clock was ever turned by more than one.
_ENOUGH = timedelta(days=37)
_SHORTEST_MONTH = 28


@dataclass(frozen=True)
class Schedule:
    """The times of a plan.

    days: for weekly, the weekdays, 0 for Monday. For monthly, one day of the month, -1 for the
    last; with `nth`, one weekday, of which the month's first (1) or last (-1) and so on is meant.
    """

    often: Frequency
    at: time
    zone: str
    days: tuple[int, ...] = ()
    nth: int | None = None

    @classmethod
    def read(cls, text: str) -> Schedule:
        """The schedule that a person wrote, such as "weekly, Monday 08:00 Europe/Berlin".

        Raises BadInput with the field "when".
        """
        found = _SHAPE.fullmatch(" ".join(text.split()))
        if found is None:
            raise BadInput(f"{text!r} is no schedule. Such as: {_EXAMPLES}.", "when")
        hour, minute = int(found["hour"]), int(found["minute"])
        if hour > 23 or minute > 59:
            raise BadInput(f"{found['hour']}:{found['minute']} is no time of a day.", "when")
        often: Any = found["often"].lower()
        parts = _days(often, found["days"].lower())
        return cls(often, time(hour, minute), _zone(found["zone"]), **parts)

    def __str__(self) -> str:
        words = f"{self._days_in_words()} {self.at:%H:%M} {self.zone}".lstrip()
        return f"{self.often}, {words}"

    def after(self, moment: datetime) -> datetime:
        """The first time after `moment`, in UTC."""
        return next(each for each in self._times(moment) if each > moment)

    def latest(self, moment: datetime) -> datetime:
        """The last time that is not after `moment`, in UTC."""
        found = moment
        for each in self._times(moment - _ENOUGH):
            if each > moment:
                break
            found = each
        return found

    def _times(self, moment: datetime) -> Iterator[datetime]:
        """The times from some days before `moment` on, in UTC."""
        # In the local calendar; what the zone makes of it comes afterwards.
        local = moment.astimezone(self._place).replace(tzinfo=None) - timedelta(days=2)
        rule = rrule(
            _FREQUENCIES[self.often],
            dtstart=local.replace(hour=0, minute=0, second=0, microsecond=0),
            byhour=self.at.hour,
            byminute=self.at.minute,
            bysecond=0,
            **self._by_day,
        )
        for each in rule:
            # fold=0 is what RFC 5545 wants of times that exist twice or not at all (PEP 495).
            yield each.replace(tzinfo=self._place, fold=0).astimezone(UTC)

    @cached_property
    def _place(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @property
    def _by_day(self) -> dict[str, Any]:
        if self.often == "weekly":
            return {"byweekday": self.days}
        if self.often == "daily":
            return {}
        if self.nth is not None:
            return {"byweekday": self.days, "bysetpos": self.nth}
        day = self.days[0]
        if day <= _SHORTEST_MONTH:
            return {"bymonthday": day}
        return {"bymonthday": range(_SHORTEST_MONTH, day + 1), "bysetpos": -1}

    def _days_in_words(self) -> str:
        if self.often == "daily":
            return ""
        if self.often == "weekly":
            names = [DAYS[day] for day in self.days]
            return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
        day = self.days[0]
        if self.nth is None:
            return "last" if day == -1 else str(day)
        return f"{next(w for w, n in _ORDINALS.items() if n == self.nth)} {DAYS[day]}"


def _days(often: str, words: str) -> dict[str, Any]:
    if often == "daily":
        if words:
            raise BadInput(f'"{words}": what is daily has no day of its own.', "when")
        return {}
    if often == "weekly":
        named = [word for word in re.split(r"[\s,]+(?:and\s+)?|&|\+", words) if word]
        if not named:
            raise BadInput("On which day of the week? Such as: weekly, Monday 08:00 UTC", "when")
        return {"days": tuple(sorted({_weekday(word) for word in named}))}
    return _day_of_month(words)


def _day_of_month(words: str) -> dict[str, Any]:
    number = _DAY_OF_MONTH.fullmatch(words)
    if number and 1 <= int(number[1]) <= 31:
        return {"days": (int(number[1]),)}
    first, _, rest = words.removeprefix("the ").partition(" ")
    if first == "last" and rest in ("", "day"):
        return {"days": (-1,)}
    if first in _ORDINALS and rest:
        return {"days": (_weekday(rest),), "nth": _ORDINALS[first]}
    raise BadInput(
        "On which day of the month? A number from 1 to 31 (a shorter month's last day stands in "
        "for one that it lacks), last, or such as: first Monday",
        "when",
    )


def _weekday(word: str) -> int:
    """Any beginning of three letters or more: "mon", "Monday"."""
    for number, name in enumerate(DAYS):
        if len(word) >= 3 and name.lower().startswith(word.lower()):
            return number
    raise BadInput(f'"{word}" is no day of the week.', "when")


def _zone(name: str) -> str:
    known = _zones()
    if name.lower() in known:
        return known[name.lower()]
    near = [zone for zone in sorted(known) if zone.endswith(f"/{name.lower()}")]
    near = near or get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(known[zone] for zone in near)}?" if near else ""
    raise BadInput(f'There is no time zone "{name}"; such as Europe/Berlin or UTC.{hint}', "when")


@cache
def _zones() -> dict[str, str]:
    """The names of all zones, by the same in lower case."""
    return {zone.lower(): zone for zone in available_timezones()}
