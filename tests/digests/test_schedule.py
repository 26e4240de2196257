"""When a plan is due: by the wall clock of its zone, all the year round."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests.schedule import DAYS, Schedule
from newsletter.errors import BadInput


def moment(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(text: str, begin: str, count: int) -> list[str]:
    """The next times after `begin`, in UTC."""
    schedule, at, found = Schedule.read(text), moment(begin), []
    for _ in range(count):
        at = schedule.after(at)
        found.append(f"{at:%Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("weekly, Monday 08:00 Europe/Berlin", "weekly, Monday 08:00 Europe/Berlin"),
        ("Weekly mon 8:00 europe/berlin", "weekly, Monday 08:00 Europe/Berlin"),
        ("weekly, fri, Tue and wed 17:05 UTC", "weekly, Tuesday, Wednesday and Friday 17:05 UTC"),
        ("weekly, tue and thu 17:05 UTC", "weekly, Tuesday and Thursday 17:05 UTC"),
        ("daily 07:30 UTC", "daily, 07:30 UTC"),
        ("monthly, the 1st 09:00 America/New_York", "monthly, 1 09:00 America/New_York"),
        ("monthly 31. 09:00 UTC", "monthly, 31 09:00 UTC"),
        ("monthly, last day 18:00 UTC", "monthly, last 18:00 UTC"),
        ("monthly, the first monday 08:00 UTC", "monthly, first Monday 08:00 UTC"),
        ("monthly, last Fri 08:00 Etc/GMT+5", "monthly, last Friday 08:00 Etc/GMT+5"),
    ],
)
def test_what_a_person_writes(written: str, kept: str) -> None:
    """Several spellings, one form that is kept, and that one is read as the same again."""
    schedule = Schedule.read(written)
    assert str(schedule) == kept
    assert Schedule.read(kept) == schedule


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "no schedule"),
        ("hourly", "no schedule"),
        ("weekly, Monday 08:00", "no schedule"),
        ("weekly, Monday 8 UTC", "no schedule"),
        ("weekly 08:00 UTC", "day of the week"),
        ("weekly, Mo 08:00 UTC", '"mo" is no day'),
        ("daily, Monday 08:00 UTC", "no day of its own"),
        ("daily, 24:00 UTC", "no time of a day"),
        ("monthly, 32 08:00 UTC", "day of the month"),
        ("monthly, 0 08:00 UTC", "day of the month"),
        ("monthly, fifth Monday 08:00 UTC", "day of the month"),
        ("weekly, Monday 08:00 Berlin", "Did you mean Europe/Berlin"),
        ("weekly, Monday 08:00 Europe/Berln", "Did you mean Europe/Berlin"),
        ("weekly, Monday 08:00 ../../etc/passwd", "no schedule"),
    ],
)
def test_what_is_no_schedule(written: str, told: str) -> None:
    """It is refused with the words that help."""
    with pytest.raises(BadInput, match=told) as caught:
        Schedule.read(written)
    assert caught.value.field == "when"


def test_eight_in_berlin_is_eight_in_summer_and_winter() -> None:
    """The clock on the wall counts, not the hours between."""
    assert times("weekly, Monday 08:00 Europe/Berlin", "2026-03-16", 4) == [
        "2026-03-16 07:00",
        "2026-03-23 07:00",
        "2026-03-30 06:00",
        "2026-04-06 06:00",
    ]
    assert times("weekly, Monday 08:00 Europe/Berlin", "2026-10-19 12:00", 2) == [
        "2026-10-26 07:00",
        "2026-11-02 07:00",
    ]


def test_a_time_that_the_clock_skips_or_shows_twice() -> None:
    """Skipped in spring: as far behind the jump. Twice in autumn: the first. Once each day."""
    assert times("daily, 02:30 Europe/Berlin", "2026-03-28", 3) == [
        "2026-03-28 01:30",
        "2026-03-29 01:30",  # 03:30 of summer time
        "2026-03-30 00:30",
    ]
    assert times("daily, 02:30 Europe/Berlin", "2026-10-24", 3) == [
        "2026-10-24 00:30",
        "2026-10-25 00:30",  # still summer time
        "2026-10-26 01:30",
    ]


def test_ends_of_months() -> None:
    """A day that a month lacks is its last one, in leap years too."""
    assert times("monthly, 31 08:00 UTC", "2027-12-31 08:00", 4) == [
        "2028-01-31 08:00",
        "2028-02-29 08:00",
        "2028-03-31 08:00",
        "2028-04-30 08:00",
    ]
    assert times("monthly, 30 08:00 UTC", "2026-01-31", 2) == [
        "2026-02-28 08:00",
        "2026-03-30 08:00",
    ]
    assert times("monthly, last 08:00 UTC", "2026-02-01", 2) == [
        "2026-02-28 08:00",
        "2026-03-31 08:00",
    ]
    # At the local end of the month it can be another day in UTC.
    assert times("monthly, last 23:30 America/New_York", "2026-02-01", 2) == [
        "2026-02-01 04:30",
        "2026-03-01 04:30",
    ]


def test_the_nth_weekday() -> None:
    """First Mondays may lie five weeks apart; the last Friday is the fourth or the fifth."""
    assert times("monthly, first Monday 08:00 UTC", "2026-05-31", 3) == [
        "2026-06-01 08:00",
        "2026-07-06 08:00",
        "2026-08-03 08:00",
    ]
    assert times("monthly, last Friday 08:00 UTC", "2026-01-01", 2) == [
        "2026-01-30 08:00",
        "2026-02-27 08:00",
    ]


def test_a_day_that_a_place_skipped() -> None:
    """Samoa had no 30 December 2011: what was due then is due once, on the 31st."""
    assert times("daily, 08:00 Pacific/Apia", "2011-12-29 00:00", 3) == [
        "2011-12-29 18:00",
        "2011-12-30 18:00",
        "2011-12-31 18:00",
    ]


SCHEDULES = st.builds(
    lambda days, at, zone: Schedule.read(f"{days} {at:%H:%M} {zone}"),
    st.one_of(
        st.just("daily"),
        st.lists(st.sampled_from(DAYS), min_size=1).map(
            lambda days: f"weekly, {' and '.join(days)}"
        ),
        st.one_of(st.integers(1, 31), st.just("last")).map(lambda day: f"monthly, {day}"),
        st.builds(
            lambda nth, day: f"monthly, {nth} {day}",
            st.sampled_from(["first", "second", "third", "fourth", "last"]),
            st.sampled_from(DAYS),
        ),
    ),
    st.times(),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
)
MOMENTS = st.datetimes(
    datetime.fromisoformat("2020-01-01"),
    datetime.fromisoformat("2035-01-01"),
    timezones=st.just(UTC),
)


@given(SCHEDULES, MOMENTS)
def test_times_follow_each_other(schedule: Schedule, at: datetime) -> None:
    """The next one is later, none lies between it and the latest, and its clock shows the time."""
    following, latest = schedule.after(at), schedule.latest(at)
    assert latest <= at < following
    assert schedule.after(latest) == following
    assert schedule.latest(following) == following
    assert following - latest <= timedelta(days=36)
    local = following.astimezone(ZoneInfo(schedule.zone))
    shown = local.time().replace(second=0)
    is_skipped = shown != schedule.at
    if is_skipped:
        # Only where the clock jumped over it, by an hour or half of one.
        day = datetime.combine(local.date(), time(12), ZoneInfo(schedule.zone))
        assert day.utcoffset() != (day - timedelta(days=1)).utcoffset()
