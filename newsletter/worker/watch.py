"""The consent log as a sending process sees it: watched each second, signed on a schedule.

When the database is not the one that was signed for (a backup was put back, rows were changed), or
does not know of what the ledger and the journal tell (looked at when the process starts), nothing
at all is sent: what it says of the mails may be old too. When a verification found a fault, digests
and welcomes wait, as the gate of each mail says; a person's other letters go on, among them the one
that lets them erase their data. Either way the process lives on, since it may be the one that also
serves the pages, and goes on by itself once the log is mended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter.config import Settings
from newsletter.consent import checkpoint
from newsletter.consent.keyring import Keyring
from newsletter.errors import ConfigError, LogFault, NewsletterError
from newsletter.sending import standing

log = structlog.get_logger()

Open = Callable[[], AbstractContextManager[Session]]


class Watch:
    """What one process knows of the log. every: seconds between two checkpoints of a growing log.

    check_files: raises LogFault when the database is older than the ledger or the journal.
    verify: raises LogFault when the log does not verify; asked before each signature.

    `stands_still` is set while nothing may be sent; `fault` says what is wrong, None for nothing.
    """

    def __init__(
        self,
        keyring: Keyring,
        every: float,
        check_files: Callable[[], None] = lambda: None,
        verify: Callable[[datetime], None] = lambda _now: None,
    ) -> None:
        self._keyring = keyring
        self._check_files = check_files
        self._verify = verify
        self._is_behind = True  # until the first look says otherwise
        self._every = every
        self._signed_at = float("-inf")
        self.stands_still = threading.Event()
        self.fault: NewsletterError | None = None

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> Watch:
        """What a process with these settings knows of the log in this database."""
        return cls(
            Keyring.of(settings),
            settings.checkpoint_every,
            lambda: standing.check_files(engine, settings),
            lambda now: standing.verify(engine, settings, now=now),
        )

    def look(self, read: Open, write: Open) -> None:
        """See how the log is; a database that is not the one signed for is halted."""
        other = self._fault(read, checkpoint.compare) or self._behind()
        fault = other or self._fault(read, checkpoint.guard)
        if other:
            self.stands_still.set()
        else:
            self.stands_still.clear()
        if fault and self.fault is None:
            log.error("log_fault", fault=str(fault))
            if isinstance(other, LogFault):
                # Other machines send by this database too, and have not what it is held against.
                with write() as session:
                    checkpoint.halt(session, str(other))
        elif self.fault and fault is None:
            log.info("log_mended")
        self.fault = fault

    def sign_on_schedule(self, write: Open, now: datetime, *, seconds: float) -> None:
        """Sign the log when it is time to. seconds: of a clock that only goes forward."""
        if seconds - self._signed_at > self._every:
            self.sign(write, now)
            self._signed_at = seconds

    def sign(self, write: Open, now: datetime) -> None:
        """Verify the log, and sign it if it has grown; a machine without the key only verifies."""
        if self.fault:
            return
        try:
            self._verify(now)
            if not self._keyring.is_complete:
                return
            with write() as session:
                checkpoint.sign(session, self._keyring, now=now)
        except LogFault as fault:
            with write() as session:
                checkpoint.halt(session, str(fault))
            self.look(write, write)
        except (ConfigError, OSError) as error:
            log.error("not_signed", error=str(error))

    def _behind(self) -> NewsletterError | None:
        """What the files say. Not asked again once they agree: a running process adds to them."""
        if self._is_behind:
            try:
                self._check_files()
            except LogFault as fault:
                return fault
            self._is_behind = False
        return None

    def _fault(
        self, read: Open, check: Callable[[Session, Keyring], None]
    ) -> NewsletterError | None:
        try:
            with read() as session:
                check(session, self._keyring)
        except (LogFault, ConfigError) as error:
            return error
        return None
