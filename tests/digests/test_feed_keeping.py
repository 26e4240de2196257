"""What feeds bring is kept once, follows its feed, and never changes what an operator decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.digests import approve, articles, compose, feeds
from newsletter.digests.feeds import dates
from newsletter.digests.feeds.document import Reading
from newsletter.digests.feeds.entry import Channel, Entry
from newsletter.digests.reading import ArticleInput
from newsletter.errors import NotFound, WrongState
from newsletter.store import Article, ArticleOrigin, BodyFormat, Feed, FeedArticle

EVERY = timedelta(hours=1)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
URL = "https://site.example/feed.xml"
MakePublication = Callable[..., store.Publication]


def entry(number: int, **over: object) -> Entry:
    values = {
        "title": f"Title {number}",
        "body": f"<p>Text {number}.</p>",
        "url": f"https://site.example/{number}",
        "body_format": BodyFormat.HTML,
        "origin": ArticleOrigin.FEED,
        **over,
    }
    return Entry(f"id-{number}", ArticleInput(**values))  # type: ignore[arg-type]


def answer(*entries: Entry, **over: str) -> feeds.Answer:
    channel = Channel("The site", "https://site.example/", "en")
    return feeds.Answer(Reading(channel, entries, 0), **over)


@pytest.fixture
def feed_id(engine: Engine, now: datetime, make_publication: MakePublication) -> int:
    """A feed of the publication field-notes."""
    with store.transaction(engine) as session:
        return feeds.add(session, make_publication(session), URL, now=now).id


@pytest.fixture
def take(engine: Engine, feed_id: int, now: datetime) -> Callable[..., feeds.Tally]:
    """One look at the feed, an hour after `now`, in a transaction of its own."""

    def take(*entries: Entry, into: int = feed_id) -> feeds.Tally:
        with store.transaction(engine) as session:
            feed = feeds.find(session, into)
            return feeds.take(session, feed, answer(*entries), now=now + EVERY, every=EVERY)

    return take


def kept(engine: Engine) -> dict[str, Article]:
    with store.reading(engine) as session:
        return {row.title: row for row in articles.all_of(session)}


def test_the_same_article_twice_is_one_article(
    engine: Engine, take: Callable[..., feeds.Tally]
) -> None:
    """By its id in the feed, whatever else changed; by its url, when its id changed."""
    assert take(entry(2), entry(1)) == feeds.Tally(new=2)
    assert take(entry(2), entry(1)) == feeds.Tally(same=2)
    moved = entry(1, url="https://site.example/moved")
    assert take(moved) == feeds.Tally(updated=1)
    assert take(replace(moved, guid="another")) == feeds.Tally(same=1)
    rows = kept(engine)
    assert set(rows) == {"Title 1", "Title 2"}
    assert rows["Title 1"].url == "https://site.example/moved"
    # The newest stand on top of a feed: later numbers are later articles.
    assert rows["Title 1"].id < rows["Title 2"].id


def test_an_edited_one_is_updated(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime
) -> None:
    """With all that changed in it and the time of the change; unchanged, with nothing."""
    take(entry(1))
    assert kept(engine)["Title 1"].updated_at == now + EVERY
    assert take(entry(1, title="Better", tags=("a",))) == feeds.Tally(updated=1)
    row = kept(engine)["Better"]
    assert (row.tags, row.origin, row.body_format) == (["a"], "feed", "html")


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_stands_in_an_approved_digest_stays(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime, *, is_sent: bool
) -> None:
    """The article stays as it was approved until the digest is cancelled; the frozen words stay."""
    take(entry(1), entry(2))
    with store.transaction(engine) as session:
        digest = compose.new(
            session,
            session.scalars(select(store.Publication)).one(),
            subject="News",
            intro=None,
            article_ids=[row.id for row in articles.all_of(session)],
            now=now,
        )
        assert take_in(session, entry(1, title="In a draft"), now=now) == feeds.Tally(updated=1)
        approve.approve(session, digest, base_url="https://news.example.org", now=now)
        frozen = dict(digest.frozen or {})
    assert take(entry(1, title="Edited"), entry(3)) == feeds.Tally(new=1, frozen=1)
    assert "Edited" not in kept(engine)
    with store.transaction(engine) as session:
        digest = session.get_one(store.Digest, digest.id)
        if is_sent:
            digest.start()
        else:
            digest.cancel()
    expected = feeds.Tally(frozen=1) if is_sent else feeds.Tally(updated=1)
    assert take(entry(1, title="Edited")) == expected
    with store.reading(engine) as session:
        digest = session.get_one(store.Digest, digest.id)
        assert digest.frozen == frozen
        titles = [piece.title for piece in compose.content(session, digest).pieces]
        assert "In a draft" in titles


def take_in(session: Session, *entries: Entry, now: datetime) -> feeds.Tally:
    feed = session.scalars(select(Feed)).one()
    return feeds.take(session, feed, answer(*entries), now=now, every=EVERY)


def test_what_an_operator_wrote_stays(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime
) -> None:
    """Before the feed had it or after: an operator's own words are not a feed's to change."""
    own = ArticleInput(title="Mine", body="My words.", url="https://site.example/1")
    with store.transaction(engine) as session:
        articles.save(session, own, now=now)
    assert take(entry(1), entry(2)) == feeds.Tally(same=1, new=1)
    with store.transaction(engine) as session:
        second = replace(own, title="Mine too", url="https://site.example/2")
        assert articles.save(session, second, now=now)[1] == "updated"
    assert take(entry(1), entry(2)) == feeds.Tally(same=2)
    rows = kept(engine)
    assert set(rows) == {"Mine", "Mine too"}
    assert {(row.origin, row.body_format, row.feed_id) for row in rows.values()} == {
        ("file", "markdown", None)
    }


def test_a_page_does_not_take_the_place_of_own_words(engine: Engine, now: datetime) -> None:
    """Adding the page of an article that was written in a file would lose the text."""
    own = ArticleInput(title="Mine", body="My words.", url="https://site.example/1")
    page = replace(own, title="Theirs", body="", summary="x", origin=ArticleOrigin.PAGE)
    with store.transaction(engine) as session:
        articles.save(session, own, now=now)
        with pytest.raises(WrongState, match="Remove that article first"):
            articles.save(session, page, now=now)
        assert articles.save(session, replace(own, body="More."), now=now)[1] == "updated"


def test_a_page_leaves_the_text_that_a_feed_brought(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime
) -> None:
    """It is a teaser: what it says counts, and what it does not say stays as the feed said it."""
    picture = {"image": "https://site.example/p.jpg", "image_alt": "A mill", "tags": ("a",)}
    take(entry(1, author="Ada", **picture))
    page = ArticleInput(
        title="From the page",
        body="",
        url="https://site.example/1",
        summary="Short.",
        image="https://site.example/other.jpg",
        body_format=BodyFormat.HTML,
        origin=ArticleOrigin.PAGE,
    )
    with store.transaction(engine) as session:
        assert articles.save(session, page, now=now)[1] == "updated"
        assert articles.save(session, page, now=now)[1] == "same"
    row = kept(engine)["From the page"]
    assert (row.body, row.summary, row.author, row.tags) == (
        "<p>Text 1.</p>", "Short.", "Ada", ["a"]
    )  # fmt: skip
    assert (row.image, row.image_alt) == ("https://site.example/other.jpg", None)
    assert take(entry(1)) == feeds.Tally(same=1)


def test_what_an_operator_removed_stays_away(
    engine: Engine, take: Callable[..., feeds.Tally]
) -> None:
    """A feed has its articles for months: removed once is removed."""
    take(entry(1), entry(2))
    with store.transaction(engine) as session:
        articles.remove(session, kept(engine)["Title 1"].id)
    assert take(entry(1, title="Edited"), entry(2)) == feeds.Tally(removed=1, same=1)
    assert set(kept(engine)) == {"Title 2"}


@pytest.mark.parametrize("moved", ["https://site.example/1/", "https://www.site.example/1"])
@pytest.mark.parametrize("guid", ["id-1", "http://site.example/1", "{moved}"])
def test_a_site_that_moves(
    engine: Engine, take: Callable[..., feeds.Tally], moved: str, guid: str
) -> None:
    """From http to https, or to www. and back: its articles are the same, by id and by address."""
    before = replace(entry(1, url="http://site.example/1"), guid="http://site.example/1")
    after = replace(entry(1, url=moved), guid=guid.format(moved=moved))
    assert take(before) == feeds.Tally(new=1)
    assert take(after) == feeds.Tally(updated=1)
    assert take(after) == feeds.Tally(same=1)
    assert kept(engine)["Title 1"].url == moved
    with store.transaction(engine) as session:
        articles.remove(session, kept(engine)["Title 1"].id)
    assert take(after) == feeds.Tally(removed=1)
    assert take(before) == feeds.Tally(removed=1)


@pytest.mark.parametrize("other", ["https://site.example/1?a=2", "https://site.example/1#a"])
def test_two_addresses_on_one_host(
    engine: Engine, take: Callable[..., feeds.Tally], other: str
) -> None:
    """What is not the same place is another article."""
    assert take(entry(1), entry(2, url=other)) == feeds.Tally(new=2)
    assert len(kept(engine)) == 2


def test_when_a_feed_had_it_first(
    engine: Engine, take: Callable[..., feeds.Tally], feed_id: int, now: datetime
) -> None:
    """Under another id, then too; what is dated long before its last news was there before."""
    take(entry(1))
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        later = now + timedelta(days=60)
        came = [
            replace(entry(1), guid="new-id"),
            entry(2, published=now - timedelta(days=20)),
            entry(3, published=now - timedelta(days=3)),
            entry(4),
        ]
        feeds.take(session, feed, answer(*came), now=later, every=EVERY)
        session.flush()
        rows = session.execute(select(FeedArticle.guid, FeedArticle.created_at)).all()
    hour = now + EVERY
    assert {row[0]: row[1] for row in rows} == {
        "id-1": hour, "new-id": hour, "id-2": LONG_AGO, "id-3": later, "id-4": later
    }  # fmt: skip


def test_the_feed_of_the_site_comes_first(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime
) -> None:
    """A feed that brings another site's address before that site's own feed does not keep it."""
    with store.transaction(engine) as session:
        publication = session.scalars(select(store.Publication)).one()
        foreign = feeds.add(session, publication, "https://other.example/feed", now=now).id
        third = feeds.add(session, publication, "https://third.example/feed", now=now).id
    assert take(entry(1, title="Foreign"), into=foreign) == feeds.Tally(new=1)
    assert take(entry(1, title="Third"), into=third) == feeds.Tally(same=1)
    assert take(entry(1, title="Own")) == feeds.Tally(updated=1)
    assert take(entry(1, title="Foreign"), into=foreign) == feeds.Tally(same=1)
    assert set(kept(engine)) == {"Own"}


def test_two_feeds_with_one_article(
    engine: Engine, take: Callable[..., feeds.Tally], feed_id: int, now: datetime
) -> None:
    """It is one article, stands in both, and follows the first; the second, when that is gone."""
    take(entry(1))
    with store.transaction(engine) as session:
        publication = session.scalars(select(store.Publication)).one()
        second = feeds.add(session, publication, "https://other.example/feed", now=now).id
    other = replace(entry(1, title="Shorter"), guid="theirs")
    assert take(other, into=second) == feeds.Tally(same=1)
    assert take(entry(1, title="Longer")) == feeds.Tally(updated=1)
    with store.transaction(engine) as session:
        for each in (feed_id, second):
            assert [row.title for row in feeds.articles_of(session, [each])] == ["Longer"]
        feeds.remove(session, feed_id)
        with pytest.raises(NotFound, match="feed list"):
            feeds.find(session, feed_id)
    assert take(other, into=second) == feeds.Tally(updated=1)
    assert set(kept(engine)) == {"Shorter"}


def test_the_same_feed_for_two_publications(
    engine: Engine,
    take: Callable[..., feeds.Tally],
    now: datetime,
    make_publication: MakePublication,
) -> None:
    """Each publication has it once; the articles are there once."""
    take(entry(1))
    with store.transaction(engine) as session:
        other = feeds.add(session, make_publication(session, slug="other"), URL, now=now)
        with pytest.raises(WrongState, match="read for other already"):
            feeds.add(session, other.publication, URL, now=now)
    assert take(entry(1), entry(2), into=other.id) == feeds.Tally(same=1, new=1)
    with store.reading(engine) as session:
        assert len(session.scalars(select(FeedArticle)).all()) == 3
        assert [each.id for each in feeds.all_of(session, other.publication_id)] == [other.id]
        assert len(feeds.all_of(session)) == 2


def test_an_address_that_another_article_took(
    engine: Engine, take: Callable[..., feeds.Tally]
) -> None:
    """Two articles that exchange their urls keep their own: no url stands for two."""
    take(entry(1), entry(2))
    swapped = (
        entry(1, url="https://site.example/2", title="One"),
        entry(2, url="https://site.example/1", title="Two"),
    )
    assert take(*swapped) == feeds.Tally(updated=2)
    assert {title: row.url for title, row in kept(engine).items()} == {
        "One": "https://site.example/1",
        "Two": "https://site.example/2",
    }


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("Tue, 14 Jul 2026 00:30:00 +0200", "2026-07-14"),
        ("Tue, 14 Jul 2026 23:30:00 -0800", "2026-07-14"),
        ("2026-07-14T00:30:00Z", "2026-07-14"),
        ("2026-07-14", "2026-07-14"),
    ],
)
def test_the_day_is_its_authors(engine: Engine, feed_id: int, said: str, day: str) -> None:
    """Somewhere it is another day already, or still: the letter shows the one that was written."""
    published = dates.read(said)
    assert published is not None
    later = published + timedelta(days=3)
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        tally = feeds.take(
            session, feed, answer(entry(1, published=published)), now=later, every=EVERY
        )
        assert tally == feeds.Tally(new=1)
    (row,) = kept(engine).values()
    assert row.published_at == published
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        digest = compose.new(session, feed.publication, article_ids=[row.id], now=later)
        assert compose.content(session, digest).pieces[0].published == day
        again = answer(entry(1, published=published))
        assert feeds.take(session, feed, again, now=later, every=EVERY) == feeds.Tally(same=1)


def test_a_date_in_the_future(
    engine: Engine, take: Callable[..., feeds.Tally], now: datetime
) -> None:
    """It is no date: such an article would be the newest for years."""
    near, far = now + timedelta(hours=3), now + timedelta(days=400)
    take(entry(1, published=near), entry(2, published=far))
    dates = {title: row.published_at for title, row in kept(engine).items()}
    assert dates == {"Title 1": near, "Title 2": None}


def test_what_is_due(engine: Engine, feed_id: int, now: datetime) -> None:
    """A feed whose turn it is goes to one asker; a gone one to nobody."""
    with store.transaction(engine) as session:
        assert [each.id for each in feeds.due(session, now, every=EVERY)] == [feed_id]
        assert feeds.due(session, now, every=EVERY) == []
    with store.transaction(engine) as session:
        assert feeds.due(session, now + EVERY / 2, every=EVERY) == []
        (feed,) = feeds.due(session, now + EVERY, every=EVERY)
        feeds.failed(session, feed, "gone", now=now, every=EVERY, is_gone=True)
        assert feeds.due(session, now + timedelta(days=99), every=EVERY) == []


def test_a_feed_that_fails_is_asked_less_often(engine: Engine, feed_id: int, now: datetime) -> None:
    """Twice as late each time, a day at most, or when its server says; then as before."""
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        waits = []
        for _ in range(7):
            feeds.failed(session, feed, "x" * 9999, now=now, every=EVERY)
            assert feed.due_at is not None
            waits.append((feed.due_at - now) / EVERY)
        assert waits == [2, 4, 8, 16, 24, 24, 24]
        assert (feed.failures, len(feed.problem or "")) == (7, 500)
        feeds.failed(session, feed, "later", now=now, every=EVERY, retry_after=timedelta(days=3))
        assert feed.due_at == now + timedelta(days=3)
        feeds.take(session, feed, answer(), now=now, every=EVERY)
        assert (feed.failures, feed.problem, feed.due_at) == (0, None, now + EVERY)


def test_what_a_feed_says_of_itself(engine: Engine, feed_id: int, now: datetime) -> None:
    """Its title, site and validators are kept, when it changed, and where it moved for good."""
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        came = answer(entry(1), etag='"1"', last_modified="x", moved_to="https://new.example/")
        feeds.take(session, feed, came, now=now, every=EVERY)
        later = now + EVERY
        feeds.take(session, feed, feeds.Answer(None), now=later, every=EVERY)
        assert (feed.etag, feed.last_modified) == ('"1"', "x")
        feeds.take(session, feed, answer(entry(1), etag='"2"'), now=later, every=EVERY)
    with store.transaction(engine) as session:
        feed = feeds.find(session, feed_id)
        assert (feed.title, feed.site_url) == ("The site", "https://site.example/")
        assert (feed.etag, feed.last_modified) == ('"2"', None)
        assert (feed.changed_at, feed.checked_at) == (now, later)
        assert feed.url == "https://new.example/"
        other = feeds.add(session, feed.publication, "https://old.example/", now=now)
        moved = answer(moved_to="https://new.example/")
        feeds.take(session, other, moved, now=now, every=EVERY)
        assert other.url == "https://old.example/"  # the publication has the new one already
