"""The sender: the loop that hands mails over, and the chores around it.

One thread hands over, on several connections (newsletter.worker.handover); the thread that called
`run` queues, watches over leases and schedules, and says that the worker lives. Any number of
processes can do this on one database: the claims keep them apart. What goes wrong in one thread
ends the whole, loudly; a database that is away for a while is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from newsletter.config import Settings
from newsletter.mail import dkim_key
from newsletter.mail.dkim import Signer
from newsletter.mail.pool import Pool
from newsletter.mail.signing import Signers
from newsletter.sending import claim, queue, standing, status
from newsletter.sending.gate import halted
from newsletter.sending.memory import collect_seldom
from newsletter.sending.pace import Pace
from newsletter.store import Digest, DigestState, public_id
from newsletter.store.clock import since_boot
from newsletter.store.engine import durable
from newsletter.worker import beat, bounced, chores, patience
from newsletter.worker.handover import Handover
from newsletter.worker.job import Job, Scope
from newsletter.worker.relay import Relay
from newsletter.worker.stopping import Stop
from newsletter.worker.supply import Supply
from newsletter.worker.upkeep import Upkeep
from newsletter.worker.watch import Watch

log = structlog.get_logger()

# What `newsletter status --json` prints: see newsletter.sending.status.of_digest.
Progress = Callable[[dict[str, Any]], None]

# Seconds between two looks of the overseer, at most and at least.
_TICK = 0.5
_SHORTEST_ROUND = 0.02
_TIDY_EVERY = 1.0
_TIDY_FOR = 1.0
# Who waits at a terminal is told after this many vain tries; a worker tries on.
_PATIENCE = 5
# Counting may take a twentieth of the time, however many rows there are.
_REPORT_SHARE = 20
# Seconds that one round of the loop may take: a database that is waited for.
_LONGEST_ROUND = 60.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sender:
    """Sends what is in the outbox of one installation.

    pool: makes the connections to the relay. clock: the time, aware. relay_delay: seconds until a
    relay that failed is tried again; they double.

    Raises ConfigError when the database does not keep what it was told (synchronous), or a DKIM
    key is missing.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        pool: Callable[[], Pool],
        *,
        clock: Callable[[], datetime] = _utc_now,
        relay_delay: float = 1.0,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._relay = Relay(relay_delay)
        self._pace = Pace(settings.mails_per_second or None, settings.domain_rates)
        keys = dkim_key.active(settings)
        self._signer = Signer(keys, bodies="relaxed") if keys else None
        self._ending = threading.Event()
        self._tick = threading.Event()  # set when the overseer should look at once
        self._error: BaseException | None = None
        self._renewed_at = self._tidied_at = self._reported_at = float("-inf")
        self._report_took = 0.0
        self._tally: status.Tally | None = None
        self._upkeep = Upkeep()
        durable(engine)

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
        self._tally = status.Tally(digest_id) if digest_id is not None else None
        self._ending.clear()
        standing.write_ledger(self._engine, self._settings)
        job.watch.look(job.read, job.write)
        if until_idle and job.watch.fault:
            raise job.watch.fault
        with job.write() as session:
            beat.begin(session, job.owner, job.clock(), lease_seconds=job.lease)
        log.info("worker_started", worker=job.owner)
        signers = Signers(self._signer, self._settings.signers) if self._signer else None
        handover = self._handover(job, signers)
        collect_seldom()
        thread = threading.Thread(target=self._hand_over, args=(handover,), name="handover")
        try:
            thread.start()
            self._oversee(job, handover, until_idle=until_idle, wait=wait, progress=progress)
        finally:
            self._ending.set()
            handover.wake()
            if thread.ident is not None:
                thread.join()
            handover.close()
            if signers is not None:
                signers.close()
            self._say_ended(job)
        if self._error is not None:
            raise self._error

    def _handover(self, job: Job, signers: Signers | None) -> Handover:
        low = 2 * self._settings.smtp_connections

        def supply(wake: Callable[[], None]) -> Supply:
            return Supply(job, self._pace, signers, low=low, wake=wake)

        return Handover(job, self._pool, self._pace, supply, out_of_work=self._tick.set)

    def _hand_over(self, handover: Handover) -> None:
        """The thread that hands mails over."""
        try:
            handover.run()
        except BaseException as error:  # raised again by run()
            self._error = error
        finally:
            self._ending.set()
            self._tick.set()

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
            watch=Watch.of(self._engine, self._settings),
            clock=self._clock,
            ended=lambda: stop.is_set() or self._ending.is_set(),
            hurries=lambda: isinstance(stop, Stop) and stop.at_once.is_set(),
        )

    def _oversee(
        self,
        job: Job,
        handover: Handover,
        *,
        until_idle: bool,
        wait: bool,
        progress: Progress | None,
    ) -> None:
        """The calling thread's part: chores, and noticing that all is done."""
        failures = 0
        while not job.ended():
            began = time.monotonic()
            try:
                more = self._round(job, handover)
                if until_idle:
                    self._check_relay()
                    if job.watch.fault:
                        raise job.watch.fault
                    if not more and handover.is_idle and self._is_idle(job, wait=wait):
                        while self._tidy(job, handover):
                            pass
                        self._report(job, progress, at_once=True)
                        return
                else:
                    self._upkeep.go_on(job, job.clock(), seconds=time.monotonic())
                self._report(job, progress)
                failures = 0
            except DBAPIError as error:
                if not patience.passes(error):
                    raise
                pause = patience.PAUSES[min(failures, len(patience.PAUSES) - 1)]
                failures += 1
                log.warning("database_waits", error=type(error.orig).__name__)
                self._ending.wait(pause)
                continue
            if more:
                # SQLite has one writer at a time, and whoever asks again at once is the next:
                # people who sign up, and the mails on their way, need the half of the time.
                took = time.monotonic() - began
                self._ending.wait(min(max(took, _SHORTEST_ROUND), _TICK))
            else:
                self._tick.wait(_SHORTEST_ROUND if until_idle and handover.is_idle else _TICK)
                self._tick.clear()

    def _round(self, job: Job, handover: Handover) -> bool:
        """The chores that are due; True when there is more to do at once."""
        seconds = time.monotonic()
        self._live(job, handover, seconds)
        is_time_to_tidy = seconds - self._tidied_at > _TIDY_EVERY
        if is_time_to_tidy:
            job.watch.look(job.read, job.write)
            self._tidied_at = seconds
        if job.watch.stands_still.is_set():
            return False
        job.watch.sign_on_schedule(job.write, job.clock(), seconds=seconds)
        is_untidy = is_time_to_tidy and self._tidy(job, handover)
        if is_time_to_tidy and job.scope.digests and job.scope.digest_id is None:
            sign = partial(job.watch.sign, job.write, job.clock())
            chores.begin_scheduled(job.write, job.clock(), sign)
        more = job.scope.digests and chores.queue_piece(job.write, job.clock(), job.scope.digest_id)
        if handover.is_idle:
            with job.read() as session:
                if claim.waiting(session, job.scope.sending(session), job.clock()):
                    handover.ring()
        return more or is_untidy

    def _live(self, job: Job, handover: Handover, seconds: float) -> None:
        """Renew the lease, unless the loop hangs: others are to have its rows then."""
        is_due = seconds - self._renewed_at > beat.every(job.lease)
        if is_due and since_boot() - handover.moved_at < max(job.lease, _LONGEST_ROUND):
            with job.write() as session:
                beat.renew(session, job.owner, job.clock(), lease_seconds=job.lease)
                self._pace.share(max(1, beat.alive(session)))
            self._renewed_at = seconds

    def _tidy(self, job: Job, handover: Handover) -> bool:
        """Tidy up, for a second or so; True when there is more to do."""
        more = bounced.end_some(job, min(_TIDY_FOR, job.lease / 3))
        # Nothing that took long may stand between the sign of life and taking back dead ones' rows.
        self._live(job, handover, time.monotonic())
        chores.tidy(job.write, job.clock())
        if job.settings.idempotency_header:
            chores.send_uncertain_again(job)
        if more:
            self._tidied_at = float("-inf")
        return more

    def _is_idle(self, job: Job, *, wait: bool) -> bool:
        with job.read() as session:
            sending = job.scope.sending(session)
            # Another process may be making its first rows: no other sees these before the commit.
            if queue.is_unfinished(session, sending):
                return False
            if job.scope.digest_id is None or session.scalar(select(halted())):
                return not claim.busy(session, sending)
            state = session.scalar(select(Digest.state).where(Digest.id == job.scope.digest_id))
            # Of one that was paused or cancelled meanwhile nothing will move.
            return state != DigestState.SENDING or not claim.left(
                session, job.scope.digest_id, put_off=wait
            )

    def _check_relay(self) -> None:
        problem = self._relay.problem
        if problem and (problem.permanent or self._relay.problems >= _PATIENCE):
            raise problem

    def _report(self, job: Job, progress: Progress | None, *, at_once: bool = False) -> None:
        if progress is None or self._tally is None:
            return
        began = time.monotonic()
        if not at_once and began - self._reported_at < _REPORT_SHARE * self._report_took:
            return
        with job.read() as session:
            found = self._tally.of(session)
        progress(found)
        self._reported_at = time.monotonic()
        self._report_took = self._reported_at - began
