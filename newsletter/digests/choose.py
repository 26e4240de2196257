"""Which articles a digest is made of, when nobody names them: what is new, by tag, by feed.

To a publication belongs what its feeds brought, and what operators added themselves, which belongs
to every one. New is what came in since a moment and stands in no other digest of the publication,
be that sent, approved or still a draft; one that was cancelled before anybody got it does not
count. What a feed had already when it was added is new if it was published since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from newsletter.digests import summary
from newsletter.digests.arrange import MAX_HEADING
from newsletter.store import (
    Article,
    ArticleOrigin,
    Digest,
    DigestArticle,
    DigestState,
    Feed,
    FeedArticle,
    Publication,
)

# A letter with more is one that nobody reads to its end.
MOST = 20

# How far clocks are ahead of UTC somewhere, in minutes: nearly everywhere whole or half hours.
_OFFSETS = (*range(-12 * 60, 14 * 60 + 1, 30), 5 * 60 + 45, 12 * 60 + 45)

Grouping = Literal["feed", "tag"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which articles to take.

    only_new: nothing that stands in another digest of the publication. since: what came in from
    that moment on; None for all. published_since: nothing that a feed dates before that. tags: only
    those with one of them, whatever the case of its letters. feeds: only what these feeds brought.
    most: how many, the newest.
    """

    only_new: bool
    since: datetime | None = None
    published_since: datetime | None = None
    tags: Sequence[str] = ()
    feeds: Sequence[int] = ()
    most: int = MOST


class Chosen(NamedTuple):
    """The articles, the newest first, and how many more there would have been."""

    articles: list[Article]
    left: int


def lock(session: Session, publication: Publication) -> None:
    """Let nobody else put articles into digests of `publication` until the commit.

    Two that choose at once would take the same ones. Sign-ups, which name the publication too, do
    not wait for it (PostgreSQL's FOR NO KEY UPDATE).
    """
    session.flush()
    query = select(Publication.id).where(Publication.id == publication.id)
    session.execute(query.with_for_update(key_share=True))


def find(
    session: Session, publication: Publication, wanted: Wanted, *, besides: int | None = None
) -> Chosen:
    """The articles that are wanted.

    besides: a digest of the publication that does not count, since they are for this one.
    """
    when = func.coalesce(Article.published_at, Article.created_at)
    query = select(Article.id, Article.tags).order_by(when.desc(), Article.id.desc())
    query = query.where(_came(publication, wanted))
    if wanted.only_new:
        lock(session, publication)
        query = query.where(Article.id.not_in(_taken(publication, besides)))
    tags = {tag.casefold() for tag in wanted.tags}
    ids = [
        row.id
        for row in session.execute(query)
        if not tags or tags & set(map(str.casefold, row.tags))
    ]
    taken = ids[: wanted.most]
    rows = {row.id: row for row in session.scalars(select(Article).where(Article.id.in_(taken)))}
    return Chosen([rows[number] for number in taken], len(ids) - len(taken))


def last_digest_at(
    session: Session, publication: Publication, *, besides: int | None = None
) -> datetime | None:
    """When the publication's last digest was composed; None when there was none."""
    query = select(func.max(Digest.created_at)).where(_counts(publication, besides))
    return session.scalar(query)


def stood_before(session: Session, digest: Digest) -> dict[int, int]:
    """Which of a digest's articles stand in another one of its publication: article to digest.

    The newest, where there are several. Readers of both get them twice.
    """
    own = [entry.article_id for entry in digest.entries]
    query = (
        select(DigestArticle.article_id, func.max(Digest.id))
        .join(Digest, Digest.id == DigestArticle.digest_id)
        .where(DigestArticle.article_id.in_(own), _counts(digest.publication, digest.id))
        .group_by(DigestArticle.article_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def grouped(
    session: Session,
    publication: Publication,
    articles: Collection[Article],
    by: Grouping,
    *,
    tags: Sequence[str] = (),
) -> list[tuple[str, list[int]]]:
    """Sections for `articles`, as `arrange.Arrangement` takes them.

    by: "feed" for a section for each feed, in the order in which they were added; "tag" for one for
        each of `tags`, or without these for each article's first tag. An article that has neither
        stands in no section.
    """
    of_feeds = by == "feed"
    headings = _by_feed(session, publication, articles) if of_feeds else _by_tag(articles, tags)
    sections: dict[str, tuple[str, list[int]]] = {}
    for number, heading in headings:
        words = summary.cut(heading, limit=MAX_HEADING)
        sections.setdefault(words.casefold(), (words, []))[1].append(number)
    return list(sections.values())


def _counts(publication: Publication, besides: int | None) -> ColumnElement[bool]:
    """Whether a digest keeps its articles from being new."""
    return and_(
        Digest.publication_id == publication.id,
        Digest.id != (besides or 0),
        # What was cancelled on its way has reached some readers.
        or_(Digest.state != DigestState.CANCELLED, Digest.queued_up_to.is_not(None)),
    )


def _taken(publication: Publication, besides: int | None) -> Select[int]:
    return (
        select(DigestArticle.article_id)
        .join(Digest, Digest.id == DigestArticle.digest_id)
        .where(_counts(publication, besides))
    )


def _came(publication: Publication, wanted: Wanted) -> ColumnElement[bool]:
    brought = [FeedArticle.article_id == Article.id, Feed.publication_id == publication.id]
    added = [Article.origin != ArticleOrigin.FEED]
    if wanted.feeds:
        brought.append(Feed.id.in_(wanted.feeds))
    if wanted.since is not None:
        was_there = FeedArticle.created_at <= Feed.created_at
        brought.append(FeedArticle.created_at >= wanted.since)
        brought.append(or_(~was_there, _published_from(wanted.since)))
        added.append(Article.created_at >= wanted.since)
    if wanted.published_since is not None:
        is_undated = Article.published_at.is_(None)
        brought.append(or_(is_undated, _published_from(wanted.published_since)))
    of_feed = exists().where(FeedArticle.feed_id == Feed.id, *brought)
    return of_feed if wanted.feeds else or_(of_feed, and_(*added))


def _published_from(moment: datetime) -> ColumnElement[bool]:
    """Whether an article was published at `moment` or later, or is dated by that day alone.

    Many feeds name the day, and that is its midnight by the author's clock.
    """
    midnights = []
    # At the ends of the calendar there is no other zone, and no article.
    for offset in _OFFSETS if MINYEAR < moment.year < MAXYEAR else ():
        day = moment.astimezone(timezone(timedelta(minutes=offset))).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        is_there = func.coalesce(Article.published_offset, 0) == offset
        midnights.append(and_(is_there, Article.published_at == day))
    return or_(Article.published_at >= moment, *midnights)


def _by_feed(
    session: Session, publication: Publication, articles: Iterable[Article]
) -> list[tuple[int, str]]:
    ids = [article.id for article in articles]
    query = (
        select(FeedArticle.article_id, Feed)
        .join(Feed, Feed.id == FeedArticle.feed_id)
        .where(FeedArticle.article_id.in_(ids), Feed.publication_id == publication.id)
        .order_by(Feed.id)
    )
    first: dict[int | None, Feed] = {}
    for number, feed in session.execute(query):
        first.setdefault(number, feed)
    found = [(number, first[number]) for number in ids if number in first]
    found.sort(key=lambda each: each[1].id)
    return [(number, feed.title or urlsplit(feed.url).netloc) for number, feed in found]


def _by_tag(articles: Iterable[Article], tags: Sequence[str]) -> list[tuple[int, str]]:
    found = []
    for article in articles:
        own = {tag.casefold(): tag for tag in article.tags}
        heading = next((tag for tag in tags if tag.casefold() in own), None)
        if heading is None and not tags and article.tags:
            heading = article.tags[0]
        if heading is not None:
            found.append((article.id, heading))
    if tags:
        found.sort(key=lambda each: tags.index(each[1]))
    return found
