"""What comes in and what is composed by itself: feeds are read, plans are carried out.

Each minute, in a thread of its own, since servers of strangers are slow and mail must not wait for
them. Any number of processes can do this on one database: a feed and a plan are somebody's for a
while, and a plan's time has one digest whatever happens. While the consent log has a fault nothing
is composed: the database may be an old one, and what it takes for new may have been sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.config import Settings
from newsletter.consent import checkpoint
from newsletter.digests import check, planning
from newsletter.digests.planning import Done, Task
from newsletter.sending import specimen
from newsletter.sending.origin import Origin
from newsletter.store import Digest, Plan
from newsletter.worker import feeding, patience
from newsletter.worker.watch import Watch

log = structlog.get_logger()

_EVERY = 60.0  # seconds between two looks at what is due
# Feeds that are begun together: whoever ends the process waits for no more than these.
_FEEDS = 4


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Report:
    """What came of a plan's time. looks: the feeds that were asked for it.

    problem: why a digest that was to go straight out is left as a draft; None when it is not.
    """

    done: Done
    looks: list[feeding.Look] = field(default_factory=list)
    problem: str | None = None


class Newsroom:
    """Reads the feeds and carries out the plans of one installation. clock: the time, aware."""

    def __init__(
        self, engine: Engine, settings: Settings, *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._watch = Watch.of(engine, settings)
        # Taken, and not finished because the database was away.
        self._task: Task | None = None

    def run(self, ended: threading.Event) -> None:
        """Do what is due, each minute, until `ended`; a database that is away is waited for."""
        while not ended.is_set():
            try:
                self.go_round(ended.is_set)
            except DBAPIError as error:
                if not patience.passes(error):
                    raise
                log.warning("database_waits", error=type(error.orig).__name__)
            ended.wait(_EVERY)

    def go_round(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Do all that is due now: plans, whose readers wait, and then feeds."""
        self._watch.look(self._read, self._write)
        if self._watch.fault:
            return
        while not ended():
            self._task = self._task or self._take()
            if self._task is None or not self._is_carried_out(self._task, ended):
                break
            self._task = None
        self._read_feeds(ended)
        if ended() and self._task is not None:
            with self._write() as session:
                planning.give_back(session, self._task)

    def carry_out(self, task: Task, ended: Callable[[], bool] = lambda: False) -> Report | None:
        """Read the feeds of a plan, and compose what is new.

        None when `ended` came before, or the consent log proved to have a fault.
        """
        looks = self._ask_feeds(task, ended)
        self._sign(task)
        if ended() or self._watch.fault:
            return None
        report = self._compose(task, looks)
        _tell(task, report)
        return report

    def _is_carried_out(self, task: Task, ended: Callable[[], bool]) -> bool:
        """Whether it is finished, well or badly; what went wrong is tried again in an hour."""
        try:
            return self.carry_out(task, ended) is not None
        except Exception as error:
            if isinstance(error, DBAPIError) and not isinstance(error, (DataError, IntegrityError)):
                raise
            # A template or an article that is broken must not end the process that sends mail.
            log.exception("plan_failed", plan=task.plan_id)
            with self._write() as session:
                problem = str(error) or type(error).__name__
                planning.failed(session, task, problem, now=self._clock())
            return True

    def _read_feeds(self, ended: Callable[[], bool]) -> None:
        asked: set[int] = set()
        while not ended():
            looks = feeding.look_at_due(self._write, self._settings, self._clock, most=_FEEDS)
            numbers = {look.feed_id for look in looks}
            if not numbers or numbers & asked:
                return
            asked |= numbers

    def _take(self) -> Task | None:
        with self._write() as session:
            return planning.take(session, now=self._clock())

    def _ask_feeds(self, task: Task, ended: Callable[[], bool]) -> list[feeding.Look]:
        every = timedelta(seconds=self._settings.feed_every)
        looks: list[feeding.Look] = []
        while not ended():
            asked = [look.feed_id for look in looks]
            with self._write() as session:
                now = self._clock()
                some = planning.feeds_to_ask(
                    session, task, besides=asked, most=_FEEDS, now=now, every=every
                )
            if not some:
                break
            found = feeding.look_at(some, self._write, self._settings, self._clock)
            looks += feeding.told(found)
        return looks

    def _sign(self, task: Task) -> None:
        """Sign the consent log before a digest goes straight out: its mails carry the note."""
        with self._read() as session:
            plan = session.get(Plan, task.plan_id)
            sends = plan is not None and plan.sends
        if sends:
            self._watch.sign(self._write, self._clock())

    def _compose(self, task: Task, looks: list[feeding.Look]) -> Report:
        problem = None
        with self._write() as session:
            now = self._clock()
            done = planning.carry_out(session, task, now=now)
            if done.digest is not None and session.get_one(Plan, task.plan_id).sends:
                problem = planning.send_out(
                    session,
                    done.digest,
                    base_url=self._settings.base_url,
                    checkpoint=checkpoint.newest(session),
                    templates_folder=self._settings.templates_folder,
                    demand=self._demand,
                    now=now,
                )
        return Report(done, looks, problem)

    def _demand(self, digest: Digest) -> None:
        """The gate, with nobody there who could let an error pass; raises NotFit."""
        frozen: Any = digest.frozen
        raw = specimen.mail(digest, frozen, Origin.of(self._settings))
        facts = check.Facts.of(digest, self._settings.base_url)
        check.demand(digest.id, check.check(check.read(raw), facts))

    def _write(self) -> AbstractContextManager[Session]:
        return store.transaction(self._engine)

    def _read(self) -> AbstractContextManager[Session]:
        return store.reading(self._engine)


@contextmanager
def beside(newsroom: Newsroom, stop: threading.Event) -> Iterator[None]:
    """Let `newsroom` work while the block runs.

    What ends it, but for the block's end, sets `stop`, and is raised when the block has ended.
    """
    ended = threading.Event()
    ended_by: list[BaseException] = []

    def work() -> None:
        try:
            newsroom.run(ended)
        except BaseException as error:  # raised again below
            ended_by.append(error)
            stop.set()

    thread = threading.Thread(target=work, name="newsroom")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if ended_by:
        raise ended_by[0]


def _tell(task: Task, report: Report) -> None:
    done = report.done
    if done.digest is None:
        log.info("plan_done", plan=task.plan_id, result=done.result, new=done.found)
        return
    log.info("plan_done", plan=task.plan_id, digest=done.digest.id, state=done.digest.state)
    if report.problem is not None:
        # Why, the plan says: the words may quote an article.
        log.error("digest_not_approved", plan=task.plan_id, digest=done.digest.id)
