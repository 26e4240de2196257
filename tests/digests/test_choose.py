"""What is new to a publication: what came in since, and stood in no other digest of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.digests import articles, choose, compose, feeds
from newsletter.digests.articles import ArticleInput
from newsletter.digests.choose import Wanted
from newsletter.digests.feeds.document import Reading
from newsletter.digests.feeds.entry import Channel, Entry
from newsletter.store import ArticleOrigin

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass
class Desk:
    """A publication with articles in a session. now: the moment at which things happen."""

    session: Session
    publication: store.Publication
    now: datetime

    def add(self, title: str, *tags: str, at: datetime | None = None, **more: object) -> int:
        """An article that an operator adds."""
        article = ArticleInput(title=title, body="Text.", tags=tags, **more)  # type: ignore[arg-type]
        return articles.save(self.session, article, now=at or self.now)[0].id

    def feed(
        self, name: str, at: datetime, publication: store.Publication | None = None
    ) -> store.Feed:
        """A feed that is added."""
        whose = publication or self.publication
        return feeds.add(self.session, whose, f"https://{name}.example/feed", now=at)

    def brings(
        self, feed: store.Feed, *titles: str, at: datetime, published: datetime | None = None
    ) -> None:
        """One look at the feed, which has these entries, the newest first."""
        entries = [
            Entry(
                title,
                ArticleInput(
                    title=title,
                    body="Text.",
                    url=f"https://site.example/{title}",
                    published=published,
                    origin=ArticleOrigin.FEED,
                ),
            )
            for title in titles
        ]
        reading = Reading(Channel(f"Site {feed.id}", None, None), entries, 0)
        feeds.take(self.session, feed, feeds.Answer(reading), now=at, every=HOUR)

    def digest(self, *ids: int, at: datetime | None = None) -> store.Digest:
        """A draft of these articles."""
        return compose.new(self.session, self.publication, article_ids=ids, now=at or self.now)

    def find(self, **wanted: object) -> list[str]:
        """The titles that are chosen."""
        values = {"only_new": True, **wanted}
        found = choose.find(self.session, self.publication, Wanted(**values))  # type: ignore[arg-type]
        return [each.title for each in found.articles]


@pytest.fixture
def desk(
    engine: Engine, now: datetime, make_publication: Callable[..., store.Publication]
) -> Iterator[Desk]:
    """A desk of the publication field-notes, in a transaction of its own."""
    with store.transaction(engine) as session:
        yield Desk(session, make_publication(session), now)


def test_what_stands_in_another_digest_is_not_new(desk: Desk) -> None:
    """Be it sent, approved or a draft; what was cancelled before anybody got it, is new again."""
    one, two, three = desk.add("One"), desk.add("Two"), desk.add("Three")
    draft = desk.digest(one)
    assert desk.find() == ["Three", "Two"]
    draft.cancel()
    assert desk.find() == ["Three", "Two", "One"]
    begun = desk.digest(two, three)
    begun.approve({}, desk.now)
    begun.start()
    begun.queued_up_to = 0
    assert desk.find() == ["One"]
    begun.cancel()
    assert desk.find() == ["One"], "some of its readers have it"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_another_publications_digest_does_not_count(
    desk: Desk, make_publication: Callable[..., store.Publication]
) -> None:
    """Its readers are others: what an operator added belongs to every publication."""
    one = desk.add("One")
    other = make_publication(desk.session, "other")
    compose.new(desk.session, other, article_ids=[one], now=desk.now)
    assert desk.find() == ["One"]


def test_a_feeds_articles_belong_to_its_publication(
    desk: Desk, make_publication: Callable[..., store.Publication]
) -> None:
    """And to every one that reads a feed with them; a removed feed's belong to none."""
    other = make_publication(desk.session, "other")
    theirs = desk.feed("theirs", desk.now, other)
    desk.brings(theirs, "A", "B", at=desk.now)
    assert desk.find() == []
    ours = desk.feed("ours", desk.now)
    desk.brings(ours, "B", at=desk.now)
    assert desk.find() == ["B"]
    feeds.remove(desk.session, ours.id)
    assert desk.find() == []


def test_since_a_moment(desk: Desk) -> None:
    """When it came in counts, whenever it was published."""
    desk.add("Old", at=desk.now - DAY, published=desk.now + DAY)
    desk.add("New", published=desk.now - 900 * DAY)
    assert desk.find(since=desk.now) == ["New"]
    assert desk.find(since=desk.now + HOUR) == []
    assert set(desk.find()) == {"Old", "New"}


def test_what_a_feed_had_when_it_was_added(desk: Desk) -> None:
    """Ten years of a blog are not new because its feed is; what it published since is."""
    feed = desk.feed("blog", desk.now)
    desk.brings(feed, "Ancient", at=desk.now, published=desk.now - 900 * DAY)
    desk.brings(feed, "Fresh", at=desk.now, published=desk.now - HOUR)
    desk.brings(feed, "Undated", at=desk.now)
    assert desk.find(since=desk.now - DAY) == ["Fresh"]
    desk.brings(feed, "Later", at=desk.now + HOUR)
    desk.brings(feed, "Late", at=desk.now + HOUR, published=desk.now - 3 * DAY)
    assert set(desk.find(since=desk.now - DAY)) == {"Fresh", "Later", "Late"}
    assert len(desk.find()) == 5
    found = desk.find(since=desk.now - DAY, published_since=desk.now - 2 * DAY)
    assert set(found) == {"Fresh", "Later"}


@pytest.mark.parametrize("hours", [0, 2, -5, 5.5])
def test_dated_by_the_day_alone(desk: Desk, hours: float) -> None:
    """Its midnight lies before the moment, by its author's clock: of that day it is new."""
    zone = timezone(timedelta(hours=hours))
    midnight = desk.now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    assert midnight < desk.now
    feed = desk.feed("blog", desk.now)
    for title, published in (
        ("Day", midnight),
        ("Before", midnight - DAY),
        ("Earlier", desk.now - timedelta(minutes=1)),
    ):
        desk.brings(feed, title, at=desk.now, published=published)
    assert desk.find(since=desk.now) == ["Day"]
    assert desk.find(since=desk.now - DAY, published_since=desk.now) == ["Day"]


def test_by_tag_and_by_feed(desk: Desk) -> None:
    """One of the tags, in whatever case; only what the feeds brought; both together."""
    desk.add("One", "Birds")
    desk.add("Two", "birds", "bread")
    desk.add("Three")
    feed, other = desk.feed("a", desk.now), desk.feed("b", desk.now)
    desk.brings(feed, "Four", at=desk.now)
    desk.brings(other, "Five", at=desk.now)
    assert desk.find(tags=["BIRDS"]) == ["Two", "One"]
    assert desk.find(tags=["bread", "none"]) == ["Two"]
    assert desk.find(feeds=[feed.id]) == ["Four"]
    assert desk.find(feeds=[feed.id, other.id]) == ["Five", "Four"]
    assert desk.find(feeds=[feed.id], tags=["birds"]) == []


def test_the_newest_ones(desk: Desk) -> None:
    """By the day on which they were published, else came; and how many more there are."""
    desk.add("A", published=desk.now - 2 * DAY)
    desk.add("B", at=desk.now - DAY)
    desk.add("C", published=desk.now - 3 * DAY)
    assert desk.find(most=2) == ["B", "A"]
    found = choose.find(desk.session, desk.publication, Wanted(only_new=True, most=2))
    assert found.left == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_was_sent_can_be_asked_for(desk: Desk) -> None:
    """A tag without a word about newness is about all articles, old ones too."""
    desk.digest(desk.add("One", "birds"))
    assert desk.find(tags=["birds"]) == []
    assert desk.find(tags=["birds"], only_new=False) == ["One"]


def test_the_last_digest(desk: Desk) -> None:
    """Since when something is new for the next one; a cancelled draft was none."""

    def last(**more: int) -> datetime | None:
        return choose.last_digest_at(desk.session, desk.publication, **more)

    assert last() is None
    one = desk.digest(desk.add("One"))
    two = desk.digest(desk.add("Two"), at=desk.now + HOUR)
    assert last() == desk.now + HOUR
    assert last(besides=two.id) == desk.now
    two.cancel()
    desk.session.flush()
    assert last() == desk.now
    assert last(besides=one.id) is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_readers_would_get_twice(desk: Desk) -> None:
    """An operator may name an article again, and is told of it."""
    one, two = desk.add("One"), desk.add("Two")
    first = desk.digest(one)
    second = desk.digest(one, two)
    assert choose.stood_before(desk.session, second) == {one: first.id}
    first.cancel()
    desk.session.flush()
    assert choose.stood_before(desk.session, second) == {}


def test_sections_of_feeds(desk: Desk) -> None:
    """One for each feed of the publication, in their order; what no feed brought has none."""
    later, first = desk.feed("b", desk.now), desk.feed("a", desk.now)
    desk.brings(first, "One", at=desk.now)
    desk.brings(later, "Two", "One", at=desk.now)
    own = desk.add("Own")
    found = choose.find(desk.session, desk.publication, Wanted(only_new=True)).articles
    ids = {each.title: each.id for each in found}
    sections = choose.grouped(desk.session, desk.publication, found, "feed")
    assert sections == [(f"Site {later.id}", [ids["Two"], ids["One"]])]
    assert own in ids.values()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_sections_of_tags(desk: Desk) -> None:
    """Each one's first tag, or the first that was asked for, in the order of asking."""
    one = desk.add("One", "Birds", "spring")
    two = desk.add("Two", "birds")
    three = desk.add("Three", "Bread", "Spring")
    four = desk.add("Four")
    rows = [articles.find(desk.session, number) for number in (one, two, three, four)]
    by_first = choose.grouped(desk.session, desk.publication, rows, "tag")
    assert by_first == [("Birds", [one, two]), ("Bread", [three])]
    asked = choose.grouped(desk.session, desk.publication, rows, "tag", tags=["spring", "birds"])
    assert asked == [("spring", [one, three]), ("birds", [two])]
