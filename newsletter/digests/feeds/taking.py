"""What a feed says becomes articles that are kept: new ones, and changes in those that follow it.

An article is known by its id in the feed, and else by its url; http or https, www. or not are no
difference. One that an operator wrote, that follows another feed, or that stands in an approved
digest stays as it is, and of several feeds it follows the one on its own host, else the first; one
that an operator removed stays away. What comes anew, but is dated long before the feed's last news,
was there before: the feed only calls it otherwise now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter.digests import articles
from newsletter.digests.feeds import place as places
from newsletter.digests.feeds.entry import Entry
from newsletter.digests.feeds.keeping import Answer
from newsletter.store import (
    Article,
    ArticleOrigin,
    Digest,
    DigestArticle,
    DigestState,
    Feed,
    FeedArticle,
)

# What is dated later is not from the future: its date is wrong.
_AHEAD = timedelta(days=1)
# Some are dated when their author began them.
_LATE = timedelta(days=14)
# When a feed had what it has had for longer than anybody knows: new to no digest.
_LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
_FROZEN = (DigestState.APPROVED, DigestState.SENDING, DigestState.PAUSED, DigestState.SENT)

Row = TypeVar("Row")
Outcome = Literal["new", "updated", "same", "frozen", "removed"]


@dataclass(frozen=True)
class Tally:
    """What a look at a feed brought, in entries.

    frozen: changed, but left as they are in an approved digest. removed: an operator removed them.
    unusable: said nothing.
    """

    new: int = 0
    updated: int = 0
    same: int = 0
    frozen: int = 0
    removed: int = 0
    unusable: int = 0

    def as_dict(self) -> dict[str, int]:
        """The numbers by their names."""
        return asdict(self)


def take(session: Session, feed: Feed, answer: Answer, *, now: datetime, every: timedelta) -> Tally:
    """Keep what `answer` says, as the module promises.

    feed: of this session. every: how long until it is asked again.
    """
    # One after the other: two that insert the same urls in another order would wait for each other.
    session.execute(select(Feed.id).order_by(Feed.id).with_for_update())
    session.refresh(feed)
    counts: Counter[str] = Counter()
    if answer.reading is not None:
        channel = answer.reading.channel
        feed.title, feed.site_url = channel.title, channel.site_url
        counts = _Taking(session, feed, answer.reading.entries, now).all()
        counts["unusable"] = answer.reading.unusable
        feed.etag = feed.last_modified = None
    # An answer that says "nothing changed" need not name what it compared.
    feed.etag = answer.etag or feed.etag
    feed.last_modified = answer.last_modified or feed.last_modified
    feed.checked_at, feed.due_at = now, now + every
    feed.failures, feed.problem = 0, None
    if counts["new"] or counts["updated"]:
        feed.changed_at = now
    session.flush()
    if answer.moved_to:
        _move(session, feed, answer.moved_to)
    return Tally(**counts)


def _move(session: Session, feed: Feed, url: str) -> None:
    try:
        with session.begin_nested():
            feed.url = url
            session.flush()
    except IntegrityError:
        # The publication has that one too. Both go on, which is harmless.
        session.refresh(feed)


class _Taking:
    """One look at one feed, while its entries are kept."""

    def __init__(
        self, session: Session, feed: Feed, entries: Iterable[Entry], now: datetime
    ) -> None:
        self.session = session
        self.feed = feed
        # The oldest first, as most feeds have the newest on top: later numbers are later articles.
        self.entries = [_dated(entry, now) for entry in reversed(list(entries))]
        self.now = now
        self.known = self._known()
        self.by_url = self._by_url()
        self.frozen = self._frozen()

    def all(self) -> Counter[str]:
        return Counter(self.one(entry) for entry in self.entries)

    def one(self, entry: Entry) -> Outcome:
        place = _of_place(self.known, entry.guid)
        if place is not None and place.article_id is None:
            return "removed"
        row = self.by_id(place) or _of_place(self.by_url, entry.article.url)
        outcome: Outcome = "same"
        if row is None:
            row, outcome = self.insert(entry)
        if place is None:
            place = FeedArticle(
                feed_id=self.feed.id,
                guid=entry.guid,
                article_id=row.id,
                created_at=self.came_at(row, entry),
            )
            self.session.add(place)
            _put(self.known, entry.guid, place)
        return self.update(row, entry) if outcome == "same" else outcome

    def came_at(self, row: Article, entry: Entry) -> datetime:
        """When the feed had it first."""
        of_row = select(func.min(FeedArticle.created_at)).where(
            FeedArticle.feed_id == self.feed.id, FeedArticle.article_id == row.id
        )
        before = self.session.scalar(of_row)
        if before is not None:
            return before
        published, last = entry.article.published, self.feed.changed_at
        if published is not None and last is not None and published < last - _LATE:
            return _LONG_AGO
        return self.now

    def by_id(self, place: FeedArticle | None) -> Article | None:
        return self.session.get(Article, place.article_id) if place else None

    def insert(self, entry: Entry) -> tuple[Article, Outcome]:
        row = Article(created_at=self.now, updated_at=self.now, feed_id=self.feed.id)
        articles.write(row, entry.article)
        try:
            with self.session.begin_nested():
                self.session.add(row)
        except IntegrityError:
            # An operator added this url a moment ago.
            known = self.session.scalar(select(Article).where(Article.url == entry.article.url))
            if known is None:
                raise
            return known, "same"
        if row.url:
            _put(self.by_url, row.url, row)
        return row, "new"

    def update(self, row: Article, entry: Entry) -> Outcome:
        if row.origin != ArticleOrigin.FEED or not self.may_change(row):
            return "same"
        row.feed_id = self.feed.id
        said = entry.article
        if said.url != row.url and said.url in self.by_url and self.by_url[said.url] is not row:
            # It took over the address of another article; two cannot have it.
            said = replace(said, url=row.url)
        if not articles.changes(row, said):
            return "same"
        if row.id in self.frozen:
            return "frozen"
        articles.write(row, said)
        row.updated_at = self.now
        if row.url:
            _put(self.by_url, row.url, row)
        return "updated"

    def may_change(self, row: Article) -> bool:
        """Whether the article follows this feed: the first that brought it, but before that the one
        on the host where it stands.
        """
        if row.feed_id in (None, self.feed.id):
            return True
        host = places.host(row.url)
        other = self.session.get(Feed, row.feed_id)
        is_at_home = bool(host) and places.host(self.feed.url) == host
        return other is None or (is_at_home and places.host(other.url) != host)

    def _by_url(self) -> dict[str, Article]:
        urls = [entry.article.url for entry in self.entries if entry.article.url]
        wanted = [each for url in urls for each in places.spellings(url)]
        query = select(Article).where(Article.url.in_(wanted)).order_by(Article.id)
        found: dict[str, Article] = {}
        for row in self.session.scalars(query):
            _put(found, row.url or "", row)
        return found

    def _known(self) -> dict[str, FeedArticle]:
        wanted = [each for entry in self.entries for each in places.spellings(entry.guid)]
        query = (
            select(FeedArticle)
            .where(FeedArticle.feed_id == self.feed.id, FeedArticle.guid.in_(wanted))
            .order_by(FeedArticle.created_at, FeedArticle.guid)
        )
        found: dict[str, FeedArticle] = {}
        for row in self.session.scalars(query):
            _put(found, row.guid, row)
        return found

    def _frozen(self) -> set[int]:
        """Which of the articles stand in a digest that was approved and not cancelled."""
        candidates = {place.article_id for place in self.known.values()}
        candidates |= {row.id for row in self.by_url.values()}
        query = (
            select(DigestArticle.article_id)
            .join(Digest, Digest.id == DigestArticle.digest_id)
            .where(DigestArticle.article_id.in_(candidates - {None}), Digest.state.in_(_FROZEN))
        )
        return set(self.session.scalars(query))


def _put(rows: dict[str, Row], address: str, row: Row) -> None:
    """Let `row` be found by its address, and by others of the same place if no other row is."""
    rows[address] = row
    rows.setdefault(places.key(address), row)


def _of_place(rows: dict[str, Row], address: str | None) -> Row | None:
    """The row with this address, or else with one of the same place."""
    return rows.get(address or "") or rows.get(places.key(address or ""))


def _dated(entry: Entry, now: datetime) -> Entry:
    published = entry.article.published
    if published is None or published <= now + _AHEAD:
        return entry
    return replace(entry, article=replace(entry.article, published=None))
