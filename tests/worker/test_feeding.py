"""Feeds asked by several at once, on both databases: everything is kept, and kept once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, select
from website import Website, website

from newsletter import store
from newsletter.digests import articles, feeds
from newsletter.worker import feeding

if TYPE_CHECKING:
    from newsletter.config import Settings

ITEM = "<item><title>{0}</title><link>https://notes.example/{0}</link></item>"


def rss(numbers: Iterator[int] | range) -> str:
    return f"<rss><channel>{''.join(ITEM.format(n) for n in numbers)}</channel></rss>"


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as running:
        yield running


@pytest.fixture
def reading_loopback(settings: Settings) -> Settings:
    return type(settings)(**{**settings.model_dump(), "fetch_networks": ["127.0.0.1/32"]})


@pytest.fixture
def add(
    engine: Engine, now: datetime, make_publication: Callable[..., store.Publication]
) -> Callable[[str], int]:
    """Adds a feed, due now; its number."""
    with store.transaction(engine) as session:
        make_publication(session)

    def add(url: str) -> int:
        with store.transaction(engine) as session:
            publication = session.scalars(select(store.Publication)).one()
            return feeds.add(session, publication, url, now=now).id

    return add


def test_two_workers_ask_at_once(
    engine: Engine,
    site: Website,
    add: Callable[[str], int],
    reading_loopback: Settings,
    now: datetime,
) -> None:
    """Each due feed is asked once; feeds that overlap, taken at the same time, make one article."""
    for number in range(8):
        # Each overlaps with the next, and every second one runs the other way.
        numbers = range(number * 10, number * 10 + 20)
        order = numbers if number % 2 else reversed(numbers)
        add(site.put(f"/{number}", rss(iter(order))))

    def work(_: int) -> list[feeding.Look]:
        return feeding.look_at_due(lambda: store.transaction(engine), reading_loopback, lambda: now)

    with ThreadPoolExecutor(2) as pool:
        looks = [look for some in pool.map(work, range(2)) for look in some]
    assert sorted(look.feed_id for look in looks) == list(range(1, 9))
    assert all(look.tally for look in looks), looks
    assert sorted(path for path, _ in site.asked) == [f"/{n}" for n in range(8)]
    with store.reading(engine) as session:
        titles = [row.title for row in articles.all_of(session)]
        assert sorted(titles, key=int) == [str(n) for n in range(90)]
        assert len(session.scalars(select(store.FeedArticle)).all()) == 160
    assert work(0) == []


def test_the_same_feed_taken_twice_at_once(
    engine: Engine,
    site: Website,
    add: Callable[[str], int],
    reading_loopback: Settings,
    now: datetime,
) -> None:
    """A worker and an operator ask the same feed at the same time: one of them finds it done."""
    add(site.put("/feed", rss(range(50))))
    with store.reading(engine) as session:
        chosen = feeds.all_of(session)

    def look(_: int) -> feeding.Look:
        (only,) = feeding.look_at(
            chosen, lambda: store.transaction(engine), reading_loopback, lambda: now
        )
        return only

    with ThreadPoolExecutor(4) as pool:
        tallies = [each.tally for each in pool.map(look, range(4))]
    assert sorted(tally.new for tally in tallies if tally) == [0, 0, 0, 50]
    assert len([tally for tally in tallies if tally]) == 4


def test_one_that_fails_holds_up_no_other(
    engine: Engine,
    site: Website,
    add: Callable[[str], int],
    reading_loopback: Settings,
    now: datetime,
) -> None:
    """Each has its own outcome; a feed that was removed meanwhile has one too."""
    good = add(site.put("/good", rss(range(3))))
    broken = add(site.put("/broken", "<html>"))
    missing = add(f"{site.url}/missing")
    removed = add(site.put("/removed", rss(range(3))))
    with store.transaction(engine) as session:
        chosen = feeds.all_of(session)
        feeds.remove(session, removed)
    looks = {
        look.feed_id: look
        for look in feeding.look_at(
            chosen, lambda: store.transaction(engine), reading_loopback, lambda: now
        )
    }
    assert looks[good].tally == feeds.Tally(new=3)
    assert "neither RSS" in looks[broken].problem
    assert "404" in looks[missing].problem
    assert "no feed" in looks[removed].problem
    with store.reading(engine) as session:
        assert [each.failures for each in feeds.all_of(session)] == [0, 1, 1]
