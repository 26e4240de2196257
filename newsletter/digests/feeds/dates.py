"""When something was published, in the ways in which feeds write it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import cache

from babel.dates import get_month_names

# An article from before the web has the wrong date; so has one of the next century.
_YEARS = range(1990, 2100)
_LONGEST = 100
_ISO = re.compile(
    r"(\d{4})-?(\d{2})(?:-?(\d{2}))?(?:[T\s]+(\d{1,2}):?(\d{2})(?::?(\d{2}))?(?:[.,]\d+)?\s*(.*))?"
)
# RFC 822 §5.1, as people write it: any name of a day, any language's month, any order of these.
_WORDED = re.compile(r"(\d{1,2})[\s.-]+([^\W\d_]{3,})[\s.,-]+(\d{4}|\d{2})\b(.*)")
_WORDED_AMERICAN = re.compile(r"([^\W\d_]{3,})[\s.]+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})\b(.*)")
# As the command date, and C's asctime (RFC 9110 §5.6.7), write it.
_ASCTIME = re.compile(
    r"(?:[^\W\d_]{2,}\.?,?\s+)?([^\W\d_]{3,})\.?\s+(\d{1,2})\s+(\d{1,2}:\d{2}(?::\d{2})?)\s*"
    r"([^\d\s]\S*)?\s+(\d{4})\s*\Z"
)
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp]\.?[Mm]\.?)?\s*(.*)")
_OFFSET = re.compile(r"(?:GMT|UTC)?\s*([+-])(\d{2}):?(\d{2})?")
# RFC 822 §5.1, and those of Europe; hours.
_ZONES = {
    **{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7},
    **{"CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "BST": 1, "MSK": 3},
    **{"JST": 9, "AEST": 10, "AEDT": 11},
}
_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "da", "nb", "fi", "cs", "ru")


def read(text: str) -> datetime | None:
    """The moment that `text` names, in the zone that it names; None when it names none that can be.

    A date without a time is its midnight, a time without a zone is meant in UTC.
    """
    text = " ".join(text[:_LONGEST].split())
    return _iso(text) or _worded(text)


def _iso(text: str) -> datetime | None:
    found = _ISO.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    return _moment(year, month, day or 1, (hour, minute, second), found[7] or "")


def _worded(text: str) -> datetime | None:
    if asctime := _ASCTIME.match(text):
        name, day, clock_told, zone, year = asctime.groups()
        rest = f" {clock_told} {zone or ''}"
    elif found := _WORDED.search(text):
        day, name, year, rest = found.groups()
    elif american := _WORDED_AMERICAN.search(text):
        name, day, year, rest = american.groups()
    else:
        return None
    month = _months().get(name.casefold()) or _months().get(name.casefold()[:3])
    if month is None:
        return None
    full_year = int(year) + (0 if len(year) == 4 else 1900 if int(year) >= 69 else 2000)
    clock = _TIME.search(rest)
    if clock is None:
        return _moment(full_year, month, int(day), (0, 0, 0), "")
    hour = int(clock[1])
    if clock[4]:
        hour = hour % 12 + (12 if clock[4][0] in "Pp" else 0)
    time = (hour, int(clock[2]), int(clock[3] or 0))
    return _moment(full_year, month, int(day), time, clock[5])


def _moment(
    year: int, month: int, day: int, time: tuple[int, int, int], zone: str
) -> datetime | None:
    hour, minute, second = time
    if year not in _YEARS:
        return None
    try:
        # A leap second is the one before it; 24:00 is the next day.
        local = datetime(year, month, day, hour % 24, minute, min(second, 59), tzinfo=_zone(zone))
        return local + timedelta(days=hour // 24)
    except (ValueError, OverflowError):
        return None


def _zone(text: str) -> timezone:
    found = _OFFSET.match(text)
    if found:
        minutes = int(found[2]) * 60 + int(found[3] or 0)
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    return timezone(timedelta(hours=_ZONES.get(text.partition(" ")[0].upper(), 0)))


@cache
def _months() -> dict[str, int]:
    """The names of months, whole and short, to their numbers; those of English count most."""
    names: dict[str, int] = {}
    for language in _LANGUAGES:
        for width in ("wide", "abbreviated"):
            for context in ("format", "stand-alone"):
                for number, name in get_month_names(width, context, locale=language).items():
                    plain = name.casefold().rstrip(".")
                    if len(plain) >= 3:
                        names.setdefault(plain, number)
                        names.setdefault(plain[:3], number)
    return names
