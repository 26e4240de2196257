"""The feeds that are read: which there are, which is due, and what went wrong with one.

Reading a feed has three steps, so that no transaction waits for the network or for a parser: `due`
says which, in a short one; the edge asks the web and calls `read`; `take` or `failed` write down
what came of it, in another. Two machines that read the same feed at once do it twice and keep it
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter.digests.feeds import document
from newsletter.errors import NotFound, WrongState
from newsletter.store import Article, Feed, FeedArticle, Plan, Publication

if TYPE_CHECKING:
    from newsletter.fetch import Fetched

# Of feeds that fail again and again, and of what a server asks for.
_LONGEST_WAIT = timedelta(days=1)
_LONGEST_PROBLEM = 500


@dataclass(frozen=True)
class Answer:
    """What asking for a feed gave. reading: None when nothing changed since the last time.

    etag, last_modified: to be sent the next time, or "". moved_to: where the feed is from now on,
    or "".
    """

    reading: document.Reading | None
    etag: str = ""
    last_modified: str = ""
    moved_to: str = ""


def read(response: Fetched, *, max_entries: int) -> Answer:
    """What `response` says as a feed.

    max_entries: how many entries are looked at, from its top.

    Takes seconds for the largest and most hostile: call it outside of a transaction. Raises
    BadInput when it is no feed.
    """
    reading = None
    if response.status != 304:  # RFC 9110 §15.4.5: nothing changed
        reading = document.read(
            response.body, response.content_type, url=response.url, max_entries=max_entries
        )
    return Answer(reading, response.etag, response.last_modified, response.moved_to)


def add(session: Session, publication: Publication, url: str, *, now: datetime) -> Feed:
    """Read the feed at `url` for `publication` from now on.

    Raises WrongState when it is read for it already.
    """
    feed = Feed(publication=publication, url=url, due_at=now, failures=0, created_at=now)
    try:
        with session.begin_nested():
            session.add(feed)
    except IntegrityError as error:
        raise WrongState(f"{url} is read for {publication.slug} already.") from error
    return feed


def find(session: Session, feed_id: int) -> Feed:
    """The feed of that number. Raises NotFound."""
    feed = session.get(Feed, feed_id)
    if feed is None:
        raise NotFound(f"There is no feed {feed_id}: newsletter feed list shows them.")
    return feed


def all_of(session: Session, publication_id: int | None = None) -> list[Feed]:
    """The feeds in the order in which they were added; of one publication or of all."""
    query = select(Feed).order_by(Feed.id)
    if publication_id is not None:
        query = query.where(Feed.publication_id == publication_id)
    return list(session.scalars(query))


def due(session: Session, now: datetime, *, every: timedelta, limit: int = 50) -> list[Feed]:
    """The feeds that are to be asked now, those first that wait longest.

    every: how long until their next turn, which is noted at once: nobody else gets them meanwhile.
    """
    query = select(Feed).where(Feed.due_at <= now).order_by(Feed.due_at, Feed.id).limit(limit)
    found = list(session.scalars(query.with_for_update(skip_locked=True, of=Feed)))
    for feed in found:
        feed.due_at = now + every
    session.flush()
    return found


def failed(
    session: Session,
    feed: Feed,
    problem: str,
    *,
    now: datetime,
    every: timedelta,
    retry_after: timedelta = timedelta(0),
    is_gone: bool = False,
) -> None:
    """Note that the feed could not be read: it is asked again later, and later each time.

    problem: why, for the operator. retry_after: how long its server wants to be left alone.
    is_gone: its server says that there is no such feed any more, so that it is not asked again.
    """
    feed.failures += 1
    feed.problem = problem[:_LONGEST_PROBLEM]
    feed.checked_at = now
    wait = min(every * 2 ** min(feed.failures, 10), max(every, _LONGEST_WAIT))
    feed.due_at = None if is_gone else now + max(wait, min(retry_after, 7 * _LONGEST_WAIT))
    session.flush()


def remove(session: Session, feed_id: int) -> Feed:
    """Do not read a feed any more; the articles that it brought stay.

    Raises NotFound, or WrongState while a plan takes only what certain feeds bring, this one among
    them: without it the plan might take what all of them bring.
    """
    feed = find(session, feed_id)
    plan_id = session.scalar(select(Plan.id).where(Plan.feeds.contains(feed)).order_by(Plan.id))
    if plan_id is not None:
        raise WrongState(f"Plan {plan_id} takes what this feed brings: change that one first.")
    session.execute(update(Article).where(Article.feed_id == feed.id).values(feed_id=None))
    session.execute(delete(FeedArticle).where(FeedArticle.feed_id == feed.id))
    session.delete(feed)
    session.flush()
    return feed


def articles_of(session: Session, feed_ids: Iterable[int]) -> list[Article]:
    """The articles that these feeds brought, each once, the newest first."""
    chosen = select(FeedArticle.article_id).where(FeedArticle.feed_id.in_(list(feed_ids)))
    return list(
        session.scalars(select(Article).where(Article.id.in_(chosen)).order_by(Article.id.desc()))
    )
