"""What a worker does beside sending, so that nobody has to think of it.

Each minute: the ledger gets what could not be written at once, and the database file is cleaned of
the erased when that is still pending. Each day: what is kept no longer than the settings say is
erased, in short transactions between which mail goes on.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import structlog

from newsletter.sending import standing
from newsletter.store import traces
from newsletter.subscriptions import retention
from newsletter.worker.job import Job

log = structlog.get_logger()

_MINUTE = 60.0
_DAY = 86400.0


class Upkeep:
    """The upkeep of one process. Several processes may do it at once."""

    def __init__(self) -> None:
        self._looked_at = self._tidied_at = float("-inf")
        self._done = retention.Tally()
        self._is_tidying = False

    def go_on(self, job: Job, now: datetime, *, seconds: float) -> None:
        """Do what is due, at most one short piece. seconds: of a clock that only goes forward."""
        if seconds - self._tidied_at > _DAY:
            self._tidied_at = seconds
            self._is_tidying = True
        # On a log with a fault nobody is erased for age: it may be the ages that are wrong.
        if self._is_tidying and job.watch.fault is None:
            self._tidy(job, now)
        elif seconds - self._looked_at > _MINUTE:
            self._looked_at = seconds
            standing.write_ledger(job.engine, job.settings)
            self._clean(job)

    def _tidy(self, job: Job, now: datetime) -> None:
        rules = retention.Rules.of(job.settings)
        with job.write() as session:
            some = retention.piece(session, rules, hash_key=job.settings.hash_key_bytes, now=now)
        self._done += some
        if some:
            return
        if self._done:
            log.info("tidied", **asdict(self._done))
        self._is_tidying, self._done = False, retention.Tally()
        self._clean(job)

    def _clean(self, job: Job) -> None:
        if traces.pending(job.engine) is None:
            return
        with job.alone():
            if traces.clean(job.engine, patience=1):
                log.info("cleaned")
            else:
                log.info("cleaning_pending")
