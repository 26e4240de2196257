"""What all connections of one sending process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.config import Settings
from newsletter.sending import claim
from newsletter.sending.journal import Journal
from newsletter.sending.pace import Retries
from newsletter.sending.write import Origin
from newsletter.worker.relay import Relay
from newsletter.worker.watch import Watch


@dataclass(frozen=True)
class Scope:
    """What to send, beside people's own letters, which every sender takes first.

    digest_id: only this digest; None for all. digests: False for none at all.
    """

    digest_id: int | None = None
    digests: bool = True

    def sending(self, session: Session) -> list[int]:
        """The digests to claim from, the oldest first."""
        if not self.digests:
            return []
        found = claim.sending(session)
        return [n for n in found if self.digest_id is None or n == self.digest_id]


@dataclass(frozen=True)
class Job:
    """The database, the relay's and the consent log's health, and the settings of one sender.

    owner: the worker's public id, which its claims carry. clock: the time, aware. ended: whether
    to stop: what is in flight is finished, nothing new is begun. hurries: whether not even that.
    """

    engine: Engine
    settings: Settings
    owner: str
    scope: Scope
    relay: Relay
    watch: Watch
    clock: Callable[[], datetime]
    ended: Callable[[], bool]
    hurries: Callable[[], bool] = lambda: False
    _turn: AbstractContextManager[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # SQLite has one writer at a time. Threads that queue up here go on at once when it is
        # their turn; in SQLite's own queue they would sleep and look again.
        is_sqlite = self.engine.dialect.name == "sqlite"
        object.__setattr__(self, "_turn", Lock() if is_sqlite else nullcontext())

    def rests(self) -> bool:
        """Whether nothing new may be begun: at the end, or while nothing may be sent."""
        return self.ended() or self.watch.stands_still.is_set()

    @property
    def origin(self) -> Origin:
        """What the mails of this installation have in common."""
        return Origin.of(self.settings)

    @property
    def journal(self) -> Journal:
        """Where claims are written down outside of the database."""
        return Journal(Path(self.settings.consent_folder))

    @property
    def retries(self) -> Retries:
        """When a mail that was put off is tried again."""
        settings = self.settings
        return Retries(settings.retry_delay, settings.retry_delay_max, settings.retry_for)

    @property
    def lease(self) -> float:
        """Seconds for which this worker's rows are its own without a sign of life."""
        return self.settings.lease

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A short transaction."""
        with self._turn, store.transaction(self.engine) as session:
            yield session

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread of this process writes (SQLite); no transaction is open."""
        with self._turn:
            yield

    def read(self) -> AbstractContextManager[Session]:
        """A session that only reads."""
        return store.reading(self.engine)
