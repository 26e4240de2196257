"""The rounds of the sending loop, as the database sees them: one transaction each.

A round settles what the relay answered and arms the mails of which only the dot is missing. On
PostgreSQL it is written by a thread of its own, so that the relay is talked to while the database
takes its time; the next one begins when it is done. On SQLite a second thread costs more than it
saves: the two would wait for each other at every row (measured).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from newsletter import failpoints
from newsletter.mail.transport import Offer
from newsletter.sending import claim, settle
from newsletter.sending.claim import Claim
from newsletter.sending.settle import Verdict
from newsletter.store.clock import since_boot
from newsletter.worker import answers
from newsletter.worker.answers import Answer
from newsletter.worker.job import Job


@dataclass(slots=True, eq=False)
class Round:
    """What one transaction is about.

    offered: mails to arm. answers: what came of others. doubtful: claims that were perhaps armed,
    and surely got no dot. began: on the clock of newsletter.store.clock.
    """

    offered: list[Offer]
    answers: list[Answer]
    doubtful: list[Claim]
    began: float = field(default_factory=since_boot)


def _done(write: Callable[[Round], list[Verdict]], a_round: Round) -> Future[list[Verdict]]:
    future: Future[list[Verdict]] = Future()
    try:
        future.set_result(write(a_round))
    except Exception as error:  # told by Rounds.end, as another thread's would be
        future.set_exception(error)
    return future


class Rounds:
    """Writes one round at a time. For one thread. done: called in another one after each."""

    def __init__(self, job: Job, done: Callable[[], None]) -> None:
        self._job = job
        self._done = done
        self._thread = ThreadPoolExecutor(1, "rounds")
        self._round: Round | None = None
        self._future: Future[list[Verdict]] | None = None

    @property
    def is_writing(self) -> bool:
        """Whether a round was begun and not ended."""
        return self._future is not None

    @property
    def is_written(self) -> bool:
        """Whether the round that was begun can be ended without waiting."""
        return self._future is not None and self._future.done()

    def begin(self, a_round: Round) -> None:
        """Write a round; its end must be asked for before the next one."""
        self._round = a_round
        if self._job.engine.dialect.name == "sqlite":
            self._future = _done(self.write, a_round)
        else:
            self._future = self._thread.submit(self.write, a_round)
            self._future.add_done_callback(lambda _future: self._done())

    def end(self) -> tuple[Round, list[Verdict] | Exception]:
        """Wait for the round that was begun: the verdicts on its offered mails, or the error.

        After an error nobody knows whether it was committed.
        """
        assert self._round is not None and self._future is not None  # noqa: S101
        ended, future = self._round, self._future
        self._round = self._future = None
        error = future.exception()
        if error is None:
            return ended, future.result()
        if not isinstance(error, Exception):
            raise error
        return ended, error

    def write(self, a_round: Round) -> list[Verdict]:
        """Write a round in this thread. Raises DBAPIError."""
        job, now = self._job, self._job.clock()
        mails = [offer.key for offer in a_round.offered]
        with job.write() as session:
            if a_round.doubtful:
                claim.disarm(session, a_round.doubtful)
            answers.record(session, a_round.answers, retries=job.retries, now=now)
            verdicts = settle.arm(session, mails, now=now)
            failpoints.reached("arming")
        failpoints.reached("armed")
        return verdicts

    def close(self) -> None:
        """End the thread; a round that is being written is waited for."""
        self._thread.shutdown()
