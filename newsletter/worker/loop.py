"""The sender: several connections to the relay, and the chores around them.

Each connection is a thread that claims, writes and hands over small batches, people's own letters
before digests; the thread that called `run` queues, watches over leases and schedules, and says
that the worker lives. Any number of processes can do this on one database: the claims keep them
apart. What goes wrong in one thread ends the whole, loudly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from newsletter.config import Settings
from newsletter.consent.keyring import Keyring
from newsletter.mail.transport import Transport
from newsletter.sending import claim, standing, status
from newsletter.sending.gate import halted
from newsletter.store import DigestState, public_id
from newsletter.worker import beat, chores
from newsletter.worker.connection import Connection
from newsletter.worker.job import Job, Scope
from newsletter.worker.relay import Relay
from newsletter.worker.upkeep import Upkeep
from newsletter.worker.watch import Watch

log = structlog.get_logger()

# What `newsletter status --json` prints: see newsletter.sending.status.of_digest.
Progress = Callable[[dict[str, Any]], None]

# How long a connection without work sleeps at most before somebody looks for work again.
_TICK = 0.5
_SHORTEST_ROUND = 0.02
_TIDY_EVERY = 1.0
# Who waits at a terminal is told after this many vain tries; a worker tries on.
_PATIENCE = 5


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sender:
    """Sends what is in the outbox of one installation.

    transport: makes one connection to the relay for each thread. clock: the time, aware.
    relay_delay: seconds until a relay that failed is tried again; they double.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        transport: Callable[[], Transport],
        *,
        clock: Callable[[], datetime] = _utc_now,
        relay_delay: float = 1.0,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._relay = Relay(relay_delay)
        self._ending = threading.Event()
        self._bell = threading.Condition()  # rung when there is work
        self._tick = threading.Event()  # set when a connection ran out of work
        self._error: BaseException | None = None
        self._renewed_at = self._tidied_at = float("-inf")
        self._upkeep = Upkeep()

    def run(
        self,
        stop: threading.Event,
        *,
        until_idle: bool = False,
        digest_id: int | None = None,
        wait: bool = False,
        digests: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Send until `stop` is set: what is in flight is finished then, the rest given back.

        until_idle: end by itself when nothing is queued or on its way any more; with `digest_id`,
            when that digest has only mails that the relay put off, and with `wait` not these.
        digest_id: of the digests send only this one. digests: False sends people's own letters
            and test mails only. progress: called now and then with the counts of `digest_id`.

        Raises RelayProblem when `until_idle` and the relay refuses us for good, or cannot be
        reached for about fifteen seconds; nobody was marked failed for it. Raises LogFault when
        `until_idle` and the consent log has a fault; otherwise it waits until that is mended. Any
        other error of a thread is raised as it is.
        """
        job = self._job(stop, Scope(digest_id, digests))
        self._ending.clear()
        standing.write_ledger(self._engine, self._settings)
        job.watch.look(job.read, job.write)
        if until_idle and job.watch.fault:
            raise job.watch.fault
        with job.write() as session:
            beat.begin(session, job.owner, job.clock())
        log.info("worker_started", worker=job.owner)
        threads = [
            threading.Thread(target=self._serve, args=(job,), name=f"connection-{number}")
            for number in range(self._settings.smtp_connections)
        ]
        try:
            for thread in threads:
                thread.start()
            self._oversee(job, until_idle=until_idle, wait=wait, progress=progress)
        finally:
            self._ending.set()
            self._ring()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._say_ended(job)
        if self._error is not None:
            raise self._error

    def _say_ended(self, job: Job) -> None:
        """Whatever ended it: `newsletter status` must not count on it any more."""
        try:
            with job.write() as session:
                beat.end(session, job.owner, job.clock())
        except SQLAlchemyError:
            # It may be what ended us, and that is what must be told; a silent row tells in time.
            log.warning("end_not_noted", worker=job.owner)
        else:
            log.info("worker_ended", worker=job.owner)

    def _job(self, stop: threading.Event, scope: Scope) -> Job:
        """What this run and its connections share."""
        return Job(
            engine=self._engine,
            settings=self._settings,
            owner=public_id(),
            scope=scope,
            relay=self._relay,
            watch=Watch(
                Keyring.of(self._settings),
                self._settings.checkpoint_every,
                lambda: standing.check_files(self._engine, self._settings),
                lambda now: standing.verify(self._engine, self._settings, now=now),
            ),
            clock=self._clock,
            ended=lambda: stop.is_set() or self._ending.is_set(),
        )

    def _oversee(
        self, job: Job, *, until_idle: bool, wait: bool, progress: Progress | None
    ) -> None:
        """The calling thread's part: chores, and noticing that all is done."""
        while not job.ended():
            began = time.monotonic()
            more = self._round(job)
            took = time.monotonic() - began
            if not until_idle:
                self._upkeep.go_on(job, job.clock(), seconds=time.monotonic())
            else:
                self._check_relay()
                if job.watch.fault:
                    raise job.watch.fault
                if not more and self._is_idle(job, wait=wait):
                    chores.tidy(job.write, job.clock())
                    self._report(job, progress)
                    return
            self._report(job, progress)
            if more:
                # SQLite has one writer at a time, and whoever asks again at once is the next:
                # people who sign up, and their letters, need the half of the time.
                self._ending.wait(min(max(took, _SHORTEST_ROUND), _TICK))
            else:
                self._tick.wait(_TICK)
                self._tick.clear()
                self._ending.wait(_SHORTEST_ROUND)

    def _round(self, job: Job) -> bool:
        """The chores that are due; True when there is more to queue at once."""
        seconds = time.monotonic()
        now = job.clock()
        if seconds - self._renewed_at > beat.EVERY.total_seconds():
            with job.write() as session:
                beat.renew(session, job.owner, now)
            self._renewed_at = seconds
        is_time_to_tidy = seconds - self._tidied_at > _TIDY_EVERY
        if is_time_to_tidy:
            job.watch.look(job.read, job.write)
            self._tidied_at = seconds
        if job.watch.stands_still.is_set():
            return False
        job.watch.sign_on_schedule(job.write, now, seconds=seconds)
        if is_time_to_tidy:
            chores.tidy(job.write, now)
            if job.scope.digests and job.scope.digest_id is None:
                chores.begin_scheduled(job.write, now, lambda: job.watch.sign(job.write, now))
        more = job.scope.digests and chores.queue_piece(job.write, now, job.scope.digest_id)
        with job.read() as session:
            if claim.waiting(session, job.scope.sending(session)):
                self._ring()
        return more

    def _is_idle(self, job: Job, *, wait: bool) -> bool:
        with job.read() as session:
            if job.scope.digest_id is None or session.scalar(select(halted())):
                return not claim.busy(session, job.scope.sending(session))
            found = status.of_digest(session, job.scope.digest_id)
        if found["state"] != DigestState.SENDING:
            return True  # paused or cancelled meanwhile: nothing of it will move
        still_open = {"queued", "claimed", "armed"} | ({"deferred"} if wait else set())
        return not any(found["counts"][state] for state in still_open)

    def _check_relay(self) -> None:
        problem = self._relay.problem
        if problem and (problem.permanent or self._relay.problems >= _PATIENCE):
            raise problem

    def _report(self, job: Job, progress: Progress | None) -> None:
        if progress is not None and job.scope.digest_id is not None:
            with job.read() as session:
                found = status.of_digest(session, job.scope.digest_id)
            progress(found)

    def _serve(self, job: Job) -> None:
        """One connection's thread."""
        try:
            connection = Connection(job, self._transport())
            try:
                while not job.ended():
                    seconds = self._relay.wait()
                    if seconds:
                        self._ending.wait(min(seconds, _TICK))
                    elif not connection.batch():
                        # A relay hangs up on a silent connection sooner or later; do it first.
                        connection.close()
                        self._rest()
            finally:
                connection.close()
        except BaseException as error:  # raised again by run()
            self._error = self._error or error
            self._ending.set()
            self._tick.set()

    def _rest(self) -> None:
        """Sleep until there is work."""
        self._tick.set()
        with self._bell:
            if not self._ending.is_set():
                self._bell.wait(_TICK * 10)

    def _ring(self) -> None:
        with self._bell:
            self._bell.notify_all()
