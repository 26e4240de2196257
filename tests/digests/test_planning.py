"""Plans: once for each time, never an article twice, nothing when there is nothing new."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.digests import articles, choose, compose, feeds, planning, plans
from newsletter.digests.articles import ArticleInput
from newsletter.digests.feeds.document import Reading
from newsletter.digests.feeds.entry import Channel, Entry
from newsletter.digests.planning import Done
from newsletter.errors import BadInput, NotFound, WrongState
from newsletter.store import ArticleOrigin, Digest, Plan

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MONDAY = "weekly, Monday 08:00 Europe/Berlin"
# A Wednesday; the clock is turned on 29 March.
START = datetime(2026, 3, 18, 12, tzinfo=UTC)
FIRST = datetime(2026, 3, 23, 7, tzinfo=UTC)
SECOND = datetime(2026, 3, 30, 6, tzinfo=UTC)


@dataclass
class Desk:
    """A publication with a plan, whose time is told by the tests."""

    engine: Engine
    publication_id: int

    def add_plan(self, when: str = MONDAY, *, now: datetime = START, **more: Any) -> int:
        with store.transaction(self.engine) as session:
            publication = session.get_one(store.Publication, self.publication_id)
            return plans.add(session, publication, when, now=now, **more).id

    def edit(self, plan_id: int, *, now: datetime, **changes: Any) -> None:
        with store.transaction(self.engine) as session:
            plans.edit(session, plans.find(session, plan_id), now=now, **changes)

    def add(self, *titles: str, at: datetime, **more: Any) -> None:
        """Articles that an operator adds."""
        with store.transaction(self.engine) as session:
            for title in titles:
                article = ArticleInput(title=title, body="Text.", **more)
                articles.save(session, article, now=at)

    def work(self, now: datetime) -> list[Done]:
        """What a worker does with the plans that are due."""
        found = []
        while True:
            with store.transaction(self.engine) as session:
                task = planning.take(session, now=now)
            if task is None:
                return found
            with store.transaction(self.engine) as session:
                found.append(planning.carry_out(session, task, now=now))

    def digests(self) -> list[list[str]]:
        """The titles of each digest that is not cancelled, in the order of composing."""
        with store.reading(self.engine) as session:
            rows = session.scalars(
                select(Digest).where(Digest.state != "cancelled").order_by(Digest.id)
            )
            return [[entry.article.title for entry in row.entries] for row in rows]

    def plan(self, plan_id: int = 1) -> Plan:
        with store.reading(self.engine) as session:
            plan = plans.find(session, plan_id)
            _ = plan.feeds, plan.publication
            return plan


@pytest.fixture
def desk(engine: Engine, make_publication: Callable[..., store.Publication]) -> Desk:
    """A desk of the publication field-notes."""
    with store.transaction(engine) as session:
        return Desk(engine, make_publication(session).id)


def results(done: list[Done]) -> list[str]:
    return [each.result for each in done]


def test_each_monday_what_is_new(desk: Desk) -> None:
    """At eight in Berlin, in winter and summer, what came in since the last time, once."""
    number = desk.add_plan()
    assert (desk.plan().next_at, desk.plan().schedule) == (FIRST, MONDAY)
    desk.add("One", "Two", at=START + HOUR)
    assert desk.work(FIRST - timedelta(seconds=1)) == []
    assert results(desk.work(FIRST)) == ["composed"]
    assert desk.work(FIRST) == []
    assert desk.plan().next_at == SECOND
    desk.add("Three", at=FIRST + DAY)
    assert desk.work(SECOND - timedelta(seconds=1)) == []
    assert results(desk.work(SECOND + timedelta(seconds=59))) == ["composed"]
    assert desk.digests() == [["Two", "One"], ["Three"]]
    with store.reading(desk.engine) as session:
        rows = session.scalars(select(Digest).order_by(Digest.id)).all()
        assert [(row.plan_id, row.planned_for, row.state) for row in rows] == [
            (number, FIRST, "draft"),
            (number, SECOND, "draft"),
        ]
    assert (desk.plan().done_at, desk.plan().outcome) == (
        SECOND + timedelta(seconds=59),
        "digest 2, 1 article",
    )


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_nothing_new_makes_nothing(desk: Desk) -> None:
    """The time passes without a digest, and the next one comes."""
    desk.add_plan()
    assert results(desk.work(FIRST)) == ["waiting"]
    assert (desk.plan().next_at, desk.plan().outcome) == (SECOND, "nothing new")
    assert desk.digests() == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_fewer_than_the_minimum_wait(desk: Desk) -> None:
    """They are there the next time, however often they have waited."""
    desk.add_plan(fewest=3)
    desk.add("One", at=START)
    done = desk.work(FIRST)
    assert (done[0].result, done[0].found) == ("waiting", 1)
    assert desk.plan().outcome == "1 new of at least 3: they wait"
    for week in range(8):
        assert results(desk.work(SECOND + week * WEEK)) == ["waiting"]
    desk.add("Two", "Three", at=SECOND + 8 * WEEK)
    assert results(desk.work(SECOND + 8 * WEEK)) == ["composed"]
    assert desk.digests() == [["Three", "Two", "One"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_missed_time_is_made_up_for_once(desk: Desk) -> None:
    """A worker that was away for a month composes one digest, late, and not one for each week."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.add("Two", at=START + 3 * WEEK)
    late = FIRST + 4 * WEEK + 2 * DAY
    assert results(desk.work(late)) == ["composed"]
    assert desk.digests() == [["Two", "One"]]
    assert desk.work(late + HOUR) == []
    assert desk.plan().next_at == datetime(2026, 4, 27, 6, tzinfo=UTC)


def test_more_than_the_maximum(desk: Desk) -> None:
    """The newest are taken; the others have one more chance, and then they are old."""
    desk.add_plan(most=2)
    desk.add("A", at=START)
    desk.add("B", at=START + HOUR)
    desk.add("C", at=START + 2 * HOUR)
    desk.add("D", at=START + 3 * HOUR)
    desk.add("E", at=START + 4 * HOUR)
    (done,) = desk.work(FIRST)
    assert (done.found, done.left) == (5, 3)
    desk.add("F", at=FIRST + HOUR)
    desk.work(SECOND)
    desk.work(SECOND + WEEK)
    assert desk.digests() == [["E", "D"], ["F", "C"]]


def test_never_an_article_twice(desk: Desk) -> None:
    """Neither by another plan of the publication, nor after an operator's own digest of it."""
    desk.add_plan()
    desk.add_plan("daily, 12:00 UTC")
    desk.add("One", at=START + HOUR)
    assert results(desk.work(START + DAY)) == ["composed"]
    desk.add("Two", "Three", at=START + DAY + HOUR)
    with store.transaction(desk.engine) as session:
        publication = session.get_one(store.Publication, desk.publication_id)
        two = next(each.id for each in articles.all_of(session) if each.title == "Two")
        compose.new(session, publication, article_ids=[two], now=START + DAY + HOUR)
    done = desk.work(FIRST + DAY)
    assert sorted(results(done)) == ["composed", "waiting"]
    assert desk.digests() == [["One"], ["Two"], ["Three"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_cancelled_draft_gives_its_articles_back(desk: Desk) -> None:
    """Nobody got them: they are new again."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.work(FIRST)
    with store.transaction(desk.engine) as session:
        session.scalars(select(Digest)).one().cancel()
    desk.work(SECOND)
    assert desk.digests() == [["One"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_was_there_before_the_plan(desk: Desk) -> None:
    """The first digest has what is new since the time before, as if the plan had been there."""
    desk.add("Long ago", at=START - 3 * DAY)
    desk.add("On Monday", at=datetime(2026, 3, 16, 7, tzinfo=UTC))
    desk.add_plan()
    desk.work(FIRST)
    assert desk.digests() == [["On Monday"]]


def test_taken_by_one(desk: Desk) -> None:
    """While one is at it the others leave it alone; one that died is followed by another."""
    desk.add_plan()
    desk.add("One", at=START)
    with store.transaction(desk.engine) as session:
        task = planning.take(session, now=FIRST)
    assert task is not None
    assert desk.work(FIRST + timedelta(minutes=14)) == []
    assert results(desk.work(FIRST + timedelta(minutes=15))) == ["composed"]
    # The first one lives after all.
    with store.transaction(desk.engine) as session:
        late = planning.carry_out(session, task, now=FIRST + timedelta(minutes=16))
        assert late.result == "done before"
    assert desk.digests() == [["One"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_given_back(desk: Desk) -> None:
    """One that is stopped leaves it to others at once."""
    desk.add_plan()
    desk.add("One", at=START)
    with store.transaction(desk.engine) as session:
        task = planning.take(session, now=FIRST)
        assert task is not None
        planning.give_back(session, task)
    assert results(desk.work(FIRST)) == ["composed"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_failure_is_told_and_tried_again(desk: Desk) -> None:
    """In an hour; a change of the plan tries it at once."""
    desk.add_plan()
    desk.add("One", at=START)
    for now in (FIRST, FIRST + HOUR):
        with store.transaction(desk.engine) as session:
            task = planning.take(session, now=now)
            assert task is not None
            planning.failed(session, task, "the template is broken " * 50, now=now)
        assert (desk.plan().outcome or "").startswith("failed: the template is broken")
        assert desk.work(now + HOUR - timedelta(seconds=1)) == []
    desk.edit(1, now=FIRST + HOUR, intro="Hello.")
    assert results(desk.work(FIRST + HOUR + timedelta(minutes=1))) == ["composed"]


def test_the_database_itself_refuses_a_second_digest(desk: Desk) -> None:
    """If the time were set back by hand, it would be passed over, and nobody mailed."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.work(FIRST)
    with store.transaction(desk.engine) as session:
        session.execute(update(Plan).values(next_at=FIRST))
    desk.add("Two", at=FIRST + HOUR)
    assert results(desk.work(FIRST + 2 * HOUR)) == ["done before"]
    assert desk.plan().next_at == SECOND
    assert desk.digests() == [["One"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_a_plan_says_of_its_digest(desk: Desk) -> None:
    """Subject with its placeholders, words around, lead, sections, lengths."""
    desk.add_plan(
        "monthly, last 23:30 America/New_York",
        subject="No. {number}, {date}: {lead} ({count})",
        intro="Hello.",
        outro="Bye.",
        length="teaser",
        has_lead=True,
        sections="tag",
        tags=["Birds", "bread"],
    )
    desk.add("{number} loaves", at=START, tags=("Bread",), image="https://example.org/a.jpg")
    desk.add("Swifts", at=START, tags=("birds",))
    desk.add("Rye", at=START, tags=("bread",))
    desk.add("Other", at=START)
    # In New York it is still March.
    desk.work(datetime(2026, 4, 1, 3, 30, tzinfo=UTC))
    with store.reading(desk.engine) as session:
        content = compose.content(session, session.get_one(Digest, 1))
    assert content.subject == "No. 1, March 31, 2026: {number} loaves (3)"
    assert (content.intro_text, content.outro_text) == ("Hello.", "Bye.")
    assert [(each.title, each.section, each.is_lead, each.full) for each in content.pieces] == [
        ("{number} loaves", None, True, False),
        ("Swifts", "Birds", False, False),
        ("Rye", "bread", False, False),
    ]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"when": "hourly"}, "when"),
        ({"fewest": 0}, "min"),
        ({"most": 201}, "max"),
        ({"fewest": 5, "most": 4}, "max"),
        ({"feeds": [7]}, "feed"),
        ({"length": "long"}, "length"),
        ({"sections": "author"}, "group-by"),
        ({"subject": "{name}"}, "subject"),
        ({"intro": "<div>" * 300}, "intro"),
    ],
)
def test_a_plan_with_a_fault(desk: Desk, wrong: dict[str, Any], field: str) -> None:
    """It is refused with the option, when it is added and when it is changed."""
    with pytest.raises(BadInput) as caught:
        desk.add_plan(**wrong)
    assert caught.value.field == field
    desk.add_plan()
    with pytest.raises(BadInput) as caught:
        desk.edit(1, now=START, **wrong)
    assert caught.value.field == field
    assert desk.plan().schedule == MONDAY


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_plan_is_changed(desk: Desk) -> None:
    """Another schedule has another next time; what was missed by the old one is not made up for."""
    desk.add_plan(subject="Notes", tags=["a"])
    desk.edit(1, now=FIRST + HOUR, when="daily 09:00 UTC", subject="", tags=[], most=3)
    plan = desk.plan()
    assert plan.next_at == FIRST + 2 * HOUR
    assert (plan.schedule, plan.subject, plan.tags, plan.most) == ("daily, 09:00 UTC", None, [], 3)
    desk.edit(1, now=FIRST + HOUR, fewest=2)
    assert desk.plan().next_at == FIRST + 2 * HOUR


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_off_and_on(desk: Desk) -> None:
    """While it is off nothing is composed, and nothing is made up for afterwards."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.edit(1, now=START, is_on=False)
    desk.edit(1, now=START, when="weekly, Monday 08:00 UTC")
    assert desk.plan().next_at is None
    assert desk.work(SECOND + WEEK) == []
    desk.edit(1, now=SECOND + WEEK + 3 * HOUR, is_on=True)
    assert desk.plan().next_at == SECOND + 2 * WEEK + 2 * HOUR
    assert desk.work(SECOND + WEEK + 4 * HOUR) == []
    assert results(desk.work(SECOND + 2 * WEEK + 2 * HOUR)) == ["composed"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_clock_that_was_turned_back(desk: Desk) -> None:
    """Switched off and on before a time that is done already, the plan goes on behind it."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.work(FIRST)
    desk.edit(1, now=FIRST - HOUR, is_on=False)
    desk.edit(1, now=FIRST - HOUR, is_on=True)
    assert desk.plan().next_at == SECOND


def test_by_hand(desk: Desk) -> None:
    """Beside its times, which stay; or its time itself, when that is due."""
    desk.add_plan()

    def by_hand(now: datetime) -> Done:
        with store.transaction(desk.engine) as session:
            task = planning.take_by_hand(session, plans.find(session, 1), now=now)
        with store.transaction(desk.engine) as session:
            return planning.carry_out(session, task, now=now)

    desk.add("One", at=START)
    assert by_hand(START + HOUR).result == "composed"
    assert desk.plan().next_at == FIRST
    assert by_hand(START + 2 * HOUR).result == "waiting"
    desk.add("Two", at=START + DAY)
    assert by_hand(FIRST + HOUR).result == "composed"
    assert desk.plan().next_at == SECOND
    assert desk.work(FIRST + HOUR) == []
    assert desk.digests() == [["One"], ["Two"]]


def test_removed(desk: Desk) -> None:
    """What it composed stays; a worker that was at it does nothing."""
    desk.add_plan()
    desk.add("One", at=START)
    desk.work(FIRST)
    desk.add("Two", at=SECOND)
    with store.transaction(desk.engine) as session:
        task = planning.take(session, now=SECOND)
        assert task is not None
        plans.remove(session, plans.find(session, 1))
    with store.transaction(desk.engine) as session:
        assert planning.carry_out(session, task, now=SECOND).result == "done before"
        assert planning.feeds_to_ask(session, task, now=SECOND, every=HOUR) == []
        planning.failed(session, task, "x", now=SECOND)
        with pytest.raises(NotFound, match="plan list"):
            plans.find(session, 1)
    assert desk.digests() == [["One"]]


def test_only_some_feeds(desk: Desk) -> None:
    """What the others bring, and what operators add, is not for this plan; none of these feeds can
    be removed while the plan needs it.
    """
    with store.transaction(desk.engine) as session:
        publication = session.get_one(store.Publication, desk.publication_id)
        feed = feeds.add(session, publication, "https://a.example/", now=START)
        other = feeds.add(session, publication, "https://b.example/", now=START)
        for source, title in ((feed, "Ours"), (other, "Theirs")):
            article = store.Article(
                title=title, body="x", origin="feed", created_at=START, updated_at=START
            )
            session.add(article)
            session.flush()
            session.add(
                store.FeedArticle(
                    feed_id=source.id, guid="1", article_id=article.id, created_at=START + HOUR
                )
            )
    desk.add("Own", at=START + HOUR)
    desk.add_plan(feeds=[feed.id])
    with store.transaction(desk.engine) as session:
        with pytest.raises(WrongState, match="Plan 1"):
            feeds.remove(session, feed.id)
        feeds.remove(session, other.id)
    desk.work(FIRST)
    assert desk.digests() == [["Ours"]]
    desk.edit(1, now=FIRST, feeds=[])
    with store.transaction(desk.engine) as session:
        feeds.remove(session, feed.id)


def test_which_feeds_are_asked_first(desk: Desk) -> None:
    """Those of the publication that were not asked just now; none that fails and is not due, or
    that is gone; and nobody else gets them meanwhile.
    """
    desk.add_plan()
    with store.transaction(desk.engine) as session:
        publication = session.get_one(store.Publication, desk.publication_id)

        def add(name: str, **values: Any) -> int:
            feed = feeds.add(session, publication, f"https://{name}.example/", now=START)
            for column, value in values.items():
                setattr(feed, column, value)
            session.flush()
            return feed.id

        stale = add("stale", due_at=FIRST + HOUR, checked_at=FIRST - HOUR)
        due = add("due", due_at=FIRST - HOUR, failures=3, checked_at=FIRST - DAY)
        add("fresh", due_at=FIRST + HOUR, checked_at=FIRST - timedelta(minutes=1))
        add("failing", due_at=FIRST + HOUR, failures=1, checked_at=FIRST - HOUR)
        add("gone", due_at=None, checked_at=FIRST - DAY)
        task = planning.take(session, now=FIRST)
        assert task is not None
        asked = planning.feeds_to_ask(session, task, now=FIRST, every=HOUR)
        assert [feed.id for feed in asked] == [stale, due]
        assert feeds.due(session, FIRST, every=HOUR) == []
        again = planning.feeds_to_ask(
            session, task, besides=[stale, due], now=FIRST + 2 * HOUR, every=HOUR, most=1
        )
        assert len(again) == 1


def test_after_a_restored_backup(desk: Desk) -> None:
    """Every plan is off until an operator's word, and begins anew then: what feeds bring again was
    perhaps sent since the backup.
    """
    desk.add_plan()
    desk.add_plan("daily, 12:00 UTC")
    desk.edit(2, now=START, is_on=False)
    with store.transaction(desk.engine) as session:
        assert [plan.id for plan in plans.hold_all(session, now=FIRST)] == [1]
    assert desk.work(SECOND) == []
    with store.transaction(desk.engine) as session:
        publication = session.get_one(store.Publication, desk.publication_id)
        feed = feeds.add(session, publication, "https://a.example/", now=START)
        for title, published in (("Sent", FIRST - HOUR), ("New", FIRST + HOUR)):
            article = store.Article(
                title=title,
                body="x",
                origin="feed",
                published_at=published,
                created_at=SECOND,
                updated_at=SECOND,
            )
            session.add(article)
            session.flush()
            session.add(
                store.FeedArticle(
                    feed_id=feed.id, guid=title, article_id=article.id, created_at=SECOND
                )
            )
    desk.edit(1, now=SECOND + HOUR, is_on=True)
    desk.work(SECOND + WEEK)
    assert desk.digests() == [["New"]]


def test_two_workers_at_the_same_moment(desk: Desk) -> None:
    """Of three plans with the same article, and as many workers, one has it; each time once."""
    for _ in range(3):
        desk.add_plan()
    desk.add("One", at=START)
    start = threading.Barrier(4)
    errors: list[BaseException] = []

    def work() -> None:
        engine = store.connect(desk.engine.url.render_as_string(hide_password=False))
        try:
            start.wait()
            Desk(engine, desk.publication_id).work(FIRST)
        except BaseException as error:
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert desk.digests() == [["One"]]
    assert {desk.plan(number).next_at for number in (1, 2, 3)} == {SECOND}


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_who_composes_waits_for_who_is_composing(desk: Desk) -> None:
    """What is new to one is not looked at before the other's digest is there; sign-ups go on."""
    desk.add("One", at=START)
    found: list[list[str]] = []

    def other() -> None:
        with store.transaction(desk.engine) as session:
            publication = session.get_one(store.Publication, desk.publication_id)
            chosen = choose.find(session, publication, choose.Wanted(only_new=True))
            found.append([each.title for each in chosen.articles])

    with store.transaction(desk.engine) as session:
        publication = session.get_one(store.Publication, desk.publication_id)
        compose.new(session, publication, article_ids=[1], now=START)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        _sign_up(desk)
    thread.join()
    assert found == [[]]


def _sign_up(desk: Desk) -> None:
    def insert(session: Session) -> None:
        subscriber = store.Subscriber(
            address="a@example.net", address_key="a@example.net", created_at=START
        )
        session.add(subscriber)
        session.flush()
        session.add(
            store.Subscription(
                publication_id=desk.publication_id,
                subscriber_id=subscriber.id,
                pending_since=START,
                created_at=START,
            )
        )

    with store.transaction(desk.engine) as session:
        session.connection().exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        insert(session)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_site_that_calls_everything_otherwise(desk: Desk) -> None:
    """Its old articles come with other ids and addresses: what is dated long ago is not mailed."""
    desk.add_plan()

    def look(at: datetime, *published: datetime, name: str) -> None:
        entries = tuple(
            Entry(
                f"{name}-{day:%m-%d}",
                ArticleInput(
                    title=f"{name} {day:%m-%d}",
                    body="x",
                    url=f"https://{name}.example/{day:%m-%d}",
                    published=day,
                    origin=ArticleOrigin.FEED,
                ),
            )
            for day in published
        )
        with store.transaction(desk.engine) as session:
            publication = session.get_one(store.Publication, desk.publication_id)
            for feed in feeds.all_of(session) or [
                feeds.add(session, publication, "https://a.example/", now=at)
            ]:
                reading = feeds.Answer(Reading(Channel("A", None, None), entries, 0))
                feeds.take(session, feed, reading, now=at, every=HOUR)

    look(START + HOUR, START, name="old")
    assert results(desk.work(FIRST)) == ["composed"]
    moved, news = FIRST + 10 * WEEK, FIRST + 10 * WEEK - DAY
    look(moved - WEEK, START, moved - WEEK, name="old")
    look(moved, START, news, name="new")
    desk.work(moved)
    assert desk.digests() == [["old 03-18"], [f"new {news:%m-%d}", f"old {moved - WEEK:%m-%d}"]]
