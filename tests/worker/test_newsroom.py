"""Feeds are read and plans carried out by themselves: once, whatever dies and whoever helps."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crash.dying import Process
from mailing import many_readers
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import DBAPIError
from website import Page, Website, website

from newsletter import store
from newsletter.consent import checkpoint
from newsletter.digests import articles, feeds, plans
from newsletter.digests.articles import ArticleInput
from newsletter.store import Digest, Feed, Plan
from newsletter.worker import newsroom, run_worker
from newsletter.worker.newsroom import Newsroom

if TYPE_CHECKING:
    from newsletter.config import Settings
    from newsletter.mail.sink import Sink

WEEK = timedelta(days=7)
# A Wednesday, and the first Monday at eight after it.
START = datetime(2026, 3, 18, 12, tzinfo=UTC)
FIRST = datetime(2026, 3, 23, 8, tzinfo=UTC)
ITEM = "<item><title>{0}</title><link>https://notes.example/{0}</link></item>"


def rss(*titles: object) -> str:
    return f"<rss><channel><title>X</title>{''.join(map(ITEM.format, titles))}</channel></rss>"


@dataclass
class Room:
    """An installation with a publication that reads a feed, and a plan for each Monday."""

    engine: Engine
    settings: Settings
    site: Website

    def work(
        self, now: datetime, engine: Engine | None = None, ended: Callable[[], bool] = lambda: False
    ) -> None:
        """One round of a worker at that time."""
        Newsroom(engine or self.engine, self.settings, clock=lambda: now).go_round(ended)

    def add_feed(self, path: str, *titles: object) -> None:
        """A feed that is read for the publication, and was there before these titles."""
        with store.transaction(self.engine) as session:
            publication = session.scalars(select(store.Publication)).one()
            feeds.add(session, publication, self.site.put(path, rss(*titles)), now=START - WEEK)

    def add_plan(self, **more: Any) -> None:
        with store.transaction(self.engine) as session:
            publication = session.scalars(select(store.Publication)).one()
            plans.add(session, publication, "weekly, Monday 08:00 UTC", now=START, **more)

    def digests(self) -> list[tuple[datetime | None, list[str]]]:
        """The time and the titles of each."""
        with store.reading(self.engine) as session:
            rows = session.scalars(select(Digest).order_by(Digest.id))
            return [
                (row.planned_for, sorted(entry.article.title for entry in row.entries))
                for row in rows
            ]

    def plan(self) -> Plan:
        with store.reading(self.engine) as session:
            return plans.find(session, 1)

    def digest(self) -> Digest:
        with store.reading(self.engine) as session:
            return session.get_one(Digest, 1)


@pytest.fixture
def room(
    engine: Engine, settings: Settings, make_publication: Callable[..., store.Publication]
) -> Iterator[Room]:
    """A room without feed and plan yet."""
    with store.transaction(engine) as session:
        make_publication(session)
    near = type(settings)(**{**settings.model_dump(), "fetch_networks": ["127.0.0.1/32"]})
    with website() as site:
        yield Room(engine, near, site)


def test_the_feeds_are_read_first(room: Room) -> None:
    """What was published a minute before is in it, though the feed is not due; one that fails
    holds up nothing.
    """
    room.add_feed("/feed", "One")
    room.add_feed("/broken", "Never")
    room.site.fail("/broken", 500)
    room.add_plan()
    room.work(START)
    room.site.put("/feed", rss("Two", "One"))
    with store.transaction(room.engine) as session:
        session.execute(update(Feed).values(due_at=FIRST + WEEK))
    room.work(FIRST)
    assert room.digests() == [(FIRST, ["One", "Two"])]
    room.work(FIRST)
    assert len(room.digests()) == 1


def test_feeds_are_read_without_any_plan(room: Room) -> None:
    """Each when it is due, and not before."""
    room.add_feed("/feed", "One")
    room.work(FIRST)
    room.work(FIRST + timedelta(minutes=59))
    assert len(room.site.asked) == 1
    room.work(FIRST + timedelta(minutes=60))
    assert len(room.site.asked) == 2
    with store.reading(room.engine) as session:
        assert [each.title for each in articles.all_of(session)] == ["One"]


@pytest.mark.parametrize("kind", ["begin", "commit"])
def test_killed_at_any_moment(room: Room, tmp_path: Path, kind: str) -> None:
    """A worker dies at its first, second, third ... transaction, another one goes on: each week has
    its one digest with its one article.
    """
    room.add_feed("/feed")
    room.add_plan()
    url = room.engine.url.render_as_string(hide_password=False)

    def die_at(count: int, now: datetime) -> bool:
        """A worker that dies at the so manieth; whether it did not come so far."""

        def work() -> None:
            engine = store.connect(url)
            left = [count]

            def passed(*_: object) -> None:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(engine, kind, passed)
            Room(engine, room.settings, room.site).work(now)

        room.engine.dispose()
        process = Process(work, tmp_path / "words")
        assert process.wait(60)
        death = process.bury()
        assert death.text == ""
        return death.by == "itself"

    titles: list[str] = []
    for week in range(100):
        now = FIRST + week * WEEK
        titles.append(f"Week-{week}")
        room.site.put("/feed", rss(*reversed(titles)))
        lived = die_at(week + 1, now)
        room.work(now + timedelta(minutes=16))
        assert room.digests()[week:] == [(now, [f"Week-{week}"])]
        if lived:
            break
    assert 5 < week < 99


def test_two_at_once_with_a_slow_feed(room: Room) -> None:
    """The second one does not compose without what the first one is waiting for."""
    arrived = threading.Barrier(3)

    room.add_feed("/feed")
    room.add_plan()
    room.site.pages["/feed"] = Page(rss("One").encode(), seconds=0.5)
    url = room.engine.url.render_as_string(hide_password=False)
    errors: list[BaseException] = []

    def work() -> None:
        engine = store.connect(url)
        try:
            arrived.wait()
            room.work(FIRST, engine)
        except BaseException as error:
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert room.digests() == [(FIRST, ["One"])]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_stopped_in_between(room: Room) -> None:
    """While it reads the feeds: nothing is composed, and the next one need not wait."""
    room.add_feed("/feed", "One")
    room.add_plan()
    room.work(FIRST, ended=lambda: bool(room.site.asked))
    assert room.digests() == []
    assert room.plan().taken_until is None
    room.work(FIRST)
    assert room.digests() == [(FIRST, ["One"])]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_fault_in_the_log_stops_it(room: Room) -> None:
    """The database may be an old one: nothing is composed until the log is mended."""
    room.add_feed("/feed", "One")
    room.add_plan()
    with store.transaction(room.engine) as session:
        checkpoint.halt(session, "position 0: the event is missing")
    room.work(FIRST)
    assert (room.digests(), room.site.asked) == ([], [])
    with store.transaction(room.engine) as session:
        checkpoint.go_on(session)
    room.work(FIRST + WEEK)
    assert room.digests() == [(FIRST, ["One"])]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_plan_that_cannot_be_carried_out(room: Room) -> None:
    """It says why, and holds up neither the other plans nor the feeds."""
    room.add_feed("/feed", "One")
    room.add_plan()
    room.add_plan()
    with store.transaction(room.engine) as session:
        broken = update(Plan).where(Plan.id == 1)
        session.execute(broken.values(schedule="weekly, Monday 08:00 Nowhere/City"))
    room.work(FIRST)
    assert (room.plan().outcome or "").startswith('failed: There is no time zone "Nowhere/City"')
    assert room.digests() == [(FIRST, ["One"])]


def test_straight_out(room: Room, sink: Sink, make_reader: Callable[..., Any]) -> None:
    """A worker composes, approves and sends: each reader has it once, and the plan goes on."""
    relay = {"smtp_url": type(room.settings.secret_key)(sink.url)}
    settings = room.settings.model_copy(update=relay)
    now = datetime.now(UTC)
    with store.transaction(room.engine) as session:
        publication = session.scalars(select(store.Publication)).one()
        many_readers(session, publication, 3, now)
        articles.save(session, ArticleInput(title="One", body="Text."), now=now)
        daily = f"daily, {now - timedelta(minutes=5):%H:%M} UTC"
        plans.add(session, publication, daily, now=now - timedelta(hours=23), sends=True)
    stop = threading.Event()
    # Two of them, as with serve and worker on one database.
    workers = [
        threading.Thread(target=run_worker, args=(room.engine, settings, stop)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    until = time.monotonic() + 60
    while room.digests() == [] or room.digest().state != "sent":
        assert time.monotonic() < until
        time.sleep(0.05)
    stop.set()
    for worker in workers:
        worker.join()
    assert Counter(mail.recipients[0] for mail in sink.received) == {
        f"reader-{number}@example.net": 1 for number in range(3)
    }
    assert [titles for _, titles in room.digests()] == [["One"]]
    assert (room.plan().next_at or now) > now


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_not_fit_stays_a_draft(room: Room) -> None:
    """The gate stops what would go straight out, and the plan tells why; the time is done."""
    room.add_feed("/feed", "One")
    room.add_plan(sends=True, subject="Re: {lead}")
    room.work(FIRST)
    assert (room.digest().state, room.digest().frozen, room.digest().send_at) == (
        "draft",
        None,
        None,
    )
    outcome = room.plan().outcome or ""
    assert outcome.startswith("digest 1 stays a draft: Digest 1 is not fit")
    assert "newsletter digest approve 1 --force subject-fake-reply" in outcome
    assert room.plan().next_at == FIRST + WEEK
    room.work(FIRST + WEEK)
    waits = "digest 1 is a draft still and not sent: newsletter digest check 1"
    assert room.plan().outcome == f"nothing new; {waits}"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_fit_is_approved(room: Room) -> None:
    """It has its frozen letter and the time to be sent at: now."""
    room.add_feed("/feed", "One")
    room.add_plan(sends=True)
    room.work(FIRST)
    digest = room.digest()
    assert (digest.state, digest.send_at, digest.subject) == ("approved", FIRST, "One")
    assert room.plan().outcome == "digest 1, 1 article"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_ends_it_ends_the_whole(room: Room, tmp_path: Path) -> None:
    """A database that cannot be used is no matter of waiting: the process is told to stop."""
    engine = store.connect(f"sqlite:///{tmp_path / 'empty.db'}")
    stop = threading.Event()
    try:
        beside = newsroom.beside(Newsroom(engine, room.settings), stop)
        with pytest.raises(DBAPIError), beside:
            assert stop.wait(20)
    finally:
        engine.dispose()
