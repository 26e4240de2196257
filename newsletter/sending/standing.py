"""Is this the database that was here last? Asked before anything is served or sent.

Three files beside the signing key tell: the last checkpoint (how long the consent log was), the
ledger (who left or was erased) and the journal (which mails were taken to be sent). What one of
them knows and the database does not, was lost: the database is a restored backup, or another one.
"""

from __future__ import annotations

from pathlib import Path

import structlog
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.consent.ledger import Ledger
from newsletter.errors import LogFault
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
