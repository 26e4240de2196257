"""Is this the database that was here last? Asked before anything is served or sent.

Three files beside the signing key tell: the last checkpoint (how long the consent log was), the
ledger (who left or was erased) and the journal (which mails were taken to be sent). What one of
them knows and the database does not, was lost: the database is a restored backup, or another one.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.consent import check as consent_check
from newsletter.consent.ledger import Ledger
from newsletter.errors import ConsentLogError, LogFault
from newsletter.sending.journal import Journal

log = structlog.get_logger()


def check(engine: Engine, settings: Settings) -> None:
    """Raises LogFault, with the cure, when the database lacks what happened in it already."""
    with store.reading(engine) as session:
        checkpoint.guard(session, Keyring.of(settings))
    check_files(engine, settings)


def check_files(engine: Engine, settings: Settings) -> None:
    """The same without a look at the consent log itself."""
    Ledger.of(settings).check(engine)
    Journal(Path(settings.consent_folder)).check(engine)


def write_ledger(engine: Engine, settings: Settings) -> None:
    """Bring the ledger up to date. When it cannot be written, that is logged and tried again."""
    try:
        Ledger.of(settings).catch_up(engine)
    except OSError as error:
        log.error("ledger_not_written", error=error.strerror)


def take_up(engine: Engine, settings: Settings) -> LogFault | None:
    """What whoever serves or sends does first: see that it may, and bring the ledger up to date.

    A fault is written into the database too, where the gate of each mail sees it. It is returned,
    not raised: leaving goes on whatever it is.
    """
    write_ledger(engine, settings)
    try:
        check(engine, settings)
    except LogFault as fault:
        with store.transaction(engine) as session:
            checkpoint.halt(session, str(fault))
        return fault
    return None


def verify(engine: Engine, settings: Settings, *, now: datetime) -> None:
    """Check the consent log (what is new in it; a short one as a whole) before mail goes out by it.

    A checkpoint that only the file beside the key has (a process ended between the two) is put
    back. Any other fault is written into the database, where it stops everybody.

    Raises LogFault with the first fault and its position.
    """
    keyring = Keyring.of(settings)
    try:
        _verify(engine, keyring)
    except ConsentLogError:
        _put_back(engine, keyring, now)
        try:
            _verify(engine, keyring)
        except ConsentLogError as error:
            with store.transaction(engine) as session:
                checkpoint.halt(session, str(error))
            raise LogFault(
                f"The consent log has a fault: {error}. Nobody is signed up and nothing is sent "
                "until this finds none: newsletter consent verify --full"
            ) from error


def _verify(engine: Engine, keyring: Keyring) -> None:
    with store.reading(engine) as session:
        report = consent_check.verify(session, keyring if keyring.is_complete else None)
    if keyring.is_complete:
        with store.transaction(engine) as session:
            consent_check.remember(session, report)


def _put_back(engine: Engine, keyring: Keyring, now: datetime) -> None:
    with suppress(LogFault), store.transaction(engine) as session:
        checkpoint.put_back(session, keyring, now=now)
