"""What a feed says becomes articles that are kept: new ones, and changes in those that follow it.

An article is known by its id in the feed, and else by its url. One that an operator wrote, that
follows another feed, or that stands in an approved digest stays as it is; one that an operator
removed stays away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter.digests import articles
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
_FROZEN = (DigestState.APPROVED, DigestState.SENDING, DigestState.PAUSED, DigestState.SENT)

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
        guids = [entry.guid for entry in self.entries]
        of_feed = select(FeedArticle).where(
            FeedArticle.feed_id == feed.id, FeedArticle.guid.in_(guids)
        )
        self.known = {row.guid: row for row in session.scalars(of_feed)}
        self.by_url = self._by_url()
        self.frozen = self._frozen()

    def all(self) -> Counter[str]:
        return Counter(self.one(entry) for entry in self.entries)

    def one(self, entry: Entry) -> Outcome:
        place = self.known.get(entry.guid)
        if place is not None and place.article_id is None:
            return "removed"
        row = self.by_id(place) or self.by_url.get(entry.article.url or "")
        outcome: Outcome = "same"
        if row is None:
            row, outcome = self.insert(entry)
        if place is None:
            self.known[entry.guid] = FeedArticle(
                feed_id=self.feed.id, guid=entry.guid, article_id=row.id, created_at=self.now
            )
            self.session.add(self.known[entry.guid])
        return self.update(row, entry) if outcome == "same" else outcome

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
            self.by_url[row.url] = row
        return row, "new"

    def update(self, row: Article, entry: Entry) -> Outcome:
        follows = row.origin == ArticleOrigin.FEED and row.feed_id in (None, self.feed.id)
        if not follows:
            return "same"
        row.feed_id = self.feed.id
        said = entry.article
        if said.url != row.url and said.url in self.by_url:
            # It took over the address of another article; two cannot have it.
            said = replace(said, url=row.url)
        if not articles.changes(row, said):
            return "same"
        if row.id in self.frozen:
            return "frozen"
        articles.write(row, said)
        row.updated_at = self.now
        if row.url:
            self.by_url[row.url] = row
        return "updated"

    def _by_url(self) -> dict[str, Article]:
        urls = [entry.article.url for entry in self.entries if entry.article.url]
        found = self.session.scalars(select(Article).where(Article.url.in_(urls)))
        return {row.url: row for row in found if row.url}

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


def _dated(entry: Entry, now: datetime) -> Entry:
    published = entry.article.published
    if published is None or published <= now + _AHEAD:
        return entry
    return replace(entry, article=replace(entry.article, published=None))
