"""One connection to the relay: claims some rows, writes the mails, hands them over one by one.

For each mail: offer it (no transaction open), arm its row, write the dot, settle its row. Whatever
goes wrong before the arming is committed closes the connection without the dot.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from newsletter.errors import BadInput
from newsletter.mail.transport import Refused, RelayProblem, Reply, Transport, TryLater, Unknown
from newsletter.sending import claim, gate, settle, write
from newsletter.sending.claim import Claim
from newsletter.sending.settle import Verdict
from newsletter.sending.write import Mail, Unwritable
from newsletter.store import DeliveryState, Installation, LetterName
from newsletter.worker.job import Job

log = structlog.get_logger()

# Few enough that a person's own letter never waits long behind them.
BATCH = 20
# Seconds between the tries to settle a row; after the last one the error ends the worker.
_SETTLE_AGAIN = (0.2, 1.0)

_T = TypeVar("_T")


class Connection:
    """One thread's share of the work; `transport` is its own."""

    def __init__(self, job: Job, transport: Transport) -> None:
        self._job = job
        self._transport = transport
        self._origin = job.origin
        self._retries = job.retries
        self._held: dict[int, Claim] = {}  # claimed, and neither armed nor settled yet
        self._held_since = job.clock()

    def batch(self) -> bool:
        """Claim some rows and send them; False when there was nothing to claim.

        At its end no row is left claimed: what was not handed over is queued again.
        """
        self._claim()
        if not self._held:
            return False
        try:
            self._send()
        except BaseException:
            # No dot may follow, whatever it was.
            self._transport.abandon()
            raise
        finally:
            self._give_back()
        return True

    def close(self) -> None:
        """Say goodbye to the relay; the next batch connects anew."""
        self._transport.close()

    def _claim(self) -> None:
        job, now = self._job, self._job.clock()
        if job.rests():
            return
        with job.read() as session:
            digests = job.scope.sending(session)
            if not claim.waiting(session, digests):
                return
        with job.write() as session:
            found = claim.personal(session, job.owner, limit=BATCH, now=now, lease=job.lease)
            for number in digests:
                if found:
                    break
                found = claim.digest(
                    session, number, job.owner, limit=BATCH, now=now, lease=job.lease
                )
        self._held = {held.id: held for held in found}
        self._held_since = now

    def _give_back(self) -> None:
        claims, self._held = list(self._held.values()), {}
        if claims:
            with self._job.write() as session:
                claim.give_back(session, claims)

    def _send(self) -> None:
        with self._job.read() as session:
            mails, unwritable = write.mails(session, self._held.values(), self._origin)
            closed = _closed(session, mails)
            log_number = session.scalar(select(Installation.log_number)) or 1
        # Before anything of it leaves: an older database would take these mails for unsent.
        self._job.journal.note(list(self._held.values()), log=log_number)
        for row in unwritable:
            self._unwritable(row)
        for mail in mails:
            if self._job.rests():
                return
            self._renew()
            go_on = self._look(mail) if mail.claim.id in closed else self._hand_over(mail)
            if not go_on:
                return

    def _renew(self) -> None:
        """Hold the rest of the batch for longer when the relay is slow."""
        now = self._job.clock()
        if now - self._held_since > self._job.lease / 2:
            with self._job.write() as session:
                claim.renew(session, self._held.values(), now=now, lease=self._job.lease)
            self._held_since = now

    def _look(self, mail: Mail) -> bool:
        """Let a mail go that must not be handed over; False when the batch is to be left."""
        with self._job.write() as session:
            verdict = settle.look(session, mail, now=self._job.clock())
        return self._went(mail, verdict)

    def _hand_over(self, mail: Mail) -> bool:
        """One mail, from MAIL FROM to its settled row; False when the batch is to be left."""
        try:
            self._transport.offer(mail.sender, mail.recipient, mail.raw)
        except RelayProblem as problem:
            self._relay_failed(problem)
            return False
        except (TryLater, Refused) as error:
            self._not_accepted(mail, error)
            return True
        except BadInput as error:
            self._unwritable(Unwritable(mail.claim, error))
            return True
        self._job.relay.worked()
        # From here the relay waits for the dot.
        if self._job.rests():
            self._transport.abandon()
            return False
        with self._job.write() as session:
            verdict = settle.arm(session, mail, now=self._job.clock(), lease=self._job.lease)
        if verdict is not Verdict.ARMED:
            self._transport.abandon()
            return self._went(mail, verdict)
        del self._held[mail.claim.id]
        self._finish(mail)
        return True

    def _finish(self, mail: Mail) -> None:
        """The dot, and what the relay says to it."""
        number = mail.claim.id
        try:
            reply = self._transport.finish()
        except Unknown:
            self._record(lambda session, now: settle.uncertain(session, mail.claim, now=now))
            log.warning("uncertain", delivery=number)
        except (TryLater, Refused) as error:
            self._not_accepted(mail, error)
        else:
            ours = self._record(
                lambda session, now: settle.accepted(session, mail.claim, reply, now=now)
            )
            if ours:
                log.debug("accepted", delivery=number)
            else:
                log.warning("claim_lost", delivery=number)

    def _not_accepted(self, mail: Mail, error: TryLater | Refused) -> None:
        """A reply, or a broken line before the dot: this recipient only."""
        self._held.pop(mail.claim.id, None)
        reply = error.reply
        if reply is not None:
            self._job.relay.worked()
        state: DeliveryState | None
        if isinstance(error, Refused):
            self._failed(mail.claim, reply, settle.REFUSED)
            state = DeliveryState.FAILED
        else:
            state = self._record(
                lambda session, now: settle.deferred(
                    session,
                    mail,
                    reply,
                    retries=self._retries,
                    chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
                    now=now,
                )
            )
        code = reply.code if reply else None
        log.info(state or "claim_lost", delivery=mail.claim.id, stage=error.stage, code=code)

    def _unwritable(self, row: Unwritable) -> None:
        self._held.pop(row.claim.id, None)
        self._failed(row.claim, None, settle.UNWRITABLE)
        # The error's text can hold an address; its kind and the field that it names cannot.
        field = getattr(row.error, "field", "")
        log.error("unwritable", delivery=row.claim.id, error=type(row.error).__name__, field=field)

    def _failed(self, held: Claim, reply: Reply | None, reason: str) -> None:
        self._record(
            lambda session, now: settle.failed(session, held, reply, reason=reason, now=now)
        )

    def _went(self, mail: Mail, verdict: Verdict) -> bool:
        """Note a mail that was not handed over; False when its digest is paused."""
        self._held.pop(mail.claim.id, None)
        log.info("claim_lost" if verdict is Verdict.LOST else verdict, delivery=mail.claim.id)
        return verdict is not Verdict.WAITS

    def _relay_failed(self, problem: RelayProblem) -> None:
        delay = self._job.relay.failed(problem)
        if delay is not None:
            code = problem.reply.code if problem.reply else None
            log.error("relay_problem", stage=problem.stage, code=code, next_try_in=delay)

    def _record(self, change: Callable[[Session, datetime], _T]) -> _T:
        """Settle a row. Tried again when the database fails: what the relay said is known only
        here, and a mail whose answer is lost becomes uncertain.
        """
        for pause in _SETTLE_AGAIN:
            try:
                with self._job.write() as session:
                    return change(session, self._job.clock())
            except OperationalError:
                time.sleep(pause)
        with self._job.write() as session:
            return change(session, self._job.clock())


def _closed(session: Session, mails: list[Mail]) -> set[int]:
    by_letter: dict[LetterName, list[int]] = {}
    for mail in mails:
        by_letter.setdefault(mail.letter, []).append(mail.claim.id)
    found: set[int] = set()
    for letter, numbers in by_letter.items():
        found |= gate.closed(session, letter, numbers)
    return found
