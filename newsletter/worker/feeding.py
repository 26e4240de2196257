"""Feeds are asked, and what they say is kept: the way from the web into the database.

No transaction waits for the network or for a parser. Several feeds are asked at once, so that a
slow server holds up nobody else's; what goes wrong with one is noted with it, for the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from newsletter.config import Settings
from newsletter.digests import feeds
from newsletter.errors import BadInput, NotFound
from newsletter.fetch import Fetched, FetchError, Reach, get
from newsletter.store import Feed

log = structlog.get_logger()

ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, "
    "application/xml;q=0.9, application/json;q=0.8, */*;q=0.7"
)
_AT_ONCE = 4
_GONE = 410

Write = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Look:
    """One look at one feed. tally: what it brought; None when it failed, and `problem` says why."""

    feed_id: int
    tally: feeds.Tally | None
    problem: str = ""


def first(url: str, settings: Settings) -> tuple[str, feeds.Answer]:
    """A feed that is asked for the first time, and its address.

    url: the feed's, or that of a page that names its feeds: the first of them is taken.

    Raises FetchError, and BadInput when there is no feed.
    """
    response = get(url, reach=Reach.of(settings), accept=ACCEPT)
    try:
        return response.moved_to or url, _read(response, settings)
    except BadInput:
        named = feeds.discover(response.body, response.content_type, url=response.url)
        if not named:
            raise
    response = get(named[0], reach=Reach.of(settings), accept=ACCEPT)
    return response.moved_to or named[0], _read(response, settings)


def look_at(
    chosen: Sequence[Feed], write: Write, settings: Settings, now: Callable[[], datetime]
) -> Iterator[Look]:
    """Ask these feeds and keep what they say, in short transactions; each as soon as it is done.

    write: begins a transaction. now: the clock.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="feed") as pool:
        looks = [pool.submit(_look, feed, write, settings, now) for feed in chosen]
        for look in as_completed(looks):
            yield look.result()


def look_at_due(
    write: Write, settings: Settings, now: Callable[[], datetime], *, most: int = 50
) -> list[Look]:
    """The same with the feeds whose turn it is; none of them is asked twice, by whomever.

    most: so many of them. The log says what came of each.
    """
    every = timedelta(seconds=settings.feed_every)
    with write() as session:
        chosen = feeds.due(session, now(), every=every, limit=most)
    return told(look_at(chosen, write, settings, now))


def told(looks: Iterable[Look]) -> list[Look]:
    """`looks` when all are done, after each was told in the log."""
    looks = list(looks)
    for look in looks:
        if look.tally is None:
            log.warning("feed_failed", feed=look.feed_id)
        else:
            log.info("feed_read", feed=look.feed_id, **look.tally.as_dict())
    return looks


def _look(feed: Feed, write: Write, settings: Settings, now: Callable[[], datetime]) -> Look:
    every = timedelta(seconds=settings.feed_every)
    try:
        answer = _ask(feed, settings)
    except (FetchError, BadInput) as error:
        with write() as session:
            return _failed(session, feed, error, now=now(), every=every)
    with write() as session:
        try:
            tally = feeds.take(
                session, feeds.find(session, feed.id), answer, now=now(), every=every
            )
        except NotFound as error:  # it was removed while it was asked
            return Look(feed.id, None, str(error))
    return Look(feed.id, tally)


def _ask(feed: Feed, settings: Settings) -> feeds.Answer:
    response = get(
        feed.url,
        reach=Reach.of(settings),
        accept=ACCEPT,
        etag=feed.etag or "",
        last_modified=feed.last_modified or "",
    )
    return _read(response, settings)


def _read(response: Fetched, settings: Settings) -> feeds.Answer:
    try:
        return feeds.read(response, max_entries=settings.feed_max_entries)
    except BadInput:
        raise
    except Exception as error:
        # A stranger's feed that our parser stumbles over must not end the process that sends mail:
        # it is this feed that failed, and the log has the way to it.
        log.exception("feed_not_understood")
        raise BadInput(f"It could not be understood ({type(error).__name__}).") from error


def _failed(
    session: Session,
    feed: Feed,
    error: FetchError | BadInput,
    *,
    now: datetime,
    every: timedelta,
) -> Look:
    status = error.status if isinstance(error, FetchError) else None
    retry_after = (error.retry_after if isinstance(error, FetchError) else None) or 0
    try:
        feeds.failed(
            session,
            feeds.find(session, feed.id),
            str(error),
            now=now,
            every=every,
            retry_after=timedelta(seconds=retry_after),
            is_gone=status == _GONE,
        )
    except NotFound as removed:
        return Look(feed.id, None, str(removed))
    return Look(feed.id, None, str(error))
