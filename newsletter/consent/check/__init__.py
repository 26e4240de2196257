"""Checking the log: that nothing of it was changed, left out, added or moved, and what follows.

A full check begins at the first event. It holds each event against its commitment, each clear
column against the event, each stored hash of the tree against the commitments, each signed
checkpoint against the tree and the one before it, and the state tables against the whole. The
check that is done by default begins behind the last checkpoint that was found good.

What this proves: the clear events are the ones that were committed to, in that order and before
those checkpoints, none is missing, and the tables say what the log says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from newsletter.consent.check import events, fault, former, signed, states
from newsletter.consent.check.closures import Closures
from newsletter.consent.check.rebuilt import Rebuilt
from newsletter.consent.keyring import Keyring
from newsletter.errors import ConsentLogError
from newsletter.store import ConsentEvent, ConsentTile, Installation

__all__ = ["WHOLE_UP_TO", "Report", "remember", "verify"]

# A log of so many events is always checked from the first one: it takes a second.
WHOLE_UP_TO = 20_000

_PIECE = 1000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was checked and found good."""

    # In the log, and those of them that were erased.
    events: int = 0
    erased: int = 0
    # The position that the check began at.
    start: int = 0
    # The signed checkpoints that were met, and the size of the newest that is known good.
    checkpoints: int = 0
    signed: int = 0
    # How many subscriptions are in each state.
    states: dict[str, int] = field(default_factory=dict)
    # What the installation was halted for when the check began.
    halted: str | None = None

    @property
    def full(self) -> bool:
        """Whether everything was checked, from the first event."""
        return self.start == 0


def verify(
    session: Session,
    keyring: Keyring | None = None,
    *,
    full: bool = False,
    whole_up_to: int = WHOLE_UP_TO,
    progress: Progress | None = None,
) -> Report:
    """Check the log against itself, its checkpoints and the state tables.

    session: one that reads a single snapshot, and has read nothing yet.
    keyring: the keys and the last checkpoint; None where they are not at hand. Then signatures
        are not checked, and the check is a full one.
    full: begin at the first event, not behind the last checkpoint that was found good.
    whole_up_to: a log of at most so many events is checked in full anyway.
    progress: called with (events checked, events to check) now and then.

    Raises ConsentLogError with the first fault and its position; ConfigError when the keys cannot
    be read.
    """
    # Before the snapshot: a checkpoint that is signed meanwhile is not one that the log lacks.
    kept_note = keyring.last_checkpoint() if keyring else None
    here = session.get(Installation, 1, populate_existing=True)
    if here is None:
        raise ConsentLogError("The database has no installation in it.")
    notes = signed.Notes(keyring)
    kept = signed.Kept(kept_note, notes, here)
    size = here.log_size
    before = None
    if not full and keyring is not None and size > whole_up_to and here.verified_size:
        before = signed.at_size(session, notes, log=here.log_number, size=here.verified_size)
    start = before.size if before else 0
    closures = Closures(session, start=start, size=size)
    chain = signed.Chain(session, notes, log=here.log_number, after=before)
    if before:
        rebuilt = Rebuilt.resume(session, log=here.log_number, size=start, root=before.root)
        kept.check_before(session, start)
        closures.check_before_start()
    else:
        rebuilt = _begin(session, here)
    for row in events.rows(session, start=start, size=size):
        events.check(row, closures, here.log_key)
        if row.position != here.recovery_position:
            rebuilt.add(row.commitment, position=row.position)
        chain.meet(rebuilt, position=row.position)
        kept.meet(rebuilt, position=row.position)
        if progress and (row.position + 1) % _PIECE == 0:
            progress(row.position + 1 - start, size - start)
    events.check_end(session, size)
    rebuilt.finish()
    chain.finish(size)
    met = chain.count
    if before:
        states.check_subscriptions(session)
    else:
        met += _check_whole(session, here, notes, closures)
    kept.finish(session, closures.recoveries)
    _check_known(session, here, notes)
    states.check(session)
    if progress:
        progress(size - start, size - start)
    return Report(
        events=size,
        erased=_erased(session),
        start=start,
        checkpoints=met,
        signed=chain.last.size if chain.last and keyring else 0,
        states=states.counts(session),
        halted=here.log_fault,
    )


def remember(session: Session, report: Report) -> None:
    """Let the next check begin where this one ended, and end a halt if this one was full."""
    session.execute(
        update(Installation)
        .values(verified_size=report.signed)
        .execution_options(synchronize_session=False)
    )
    if report.full and report.halted is not None:
        # Only for what was known when the check began: a newer fault needs a newer check.
        session.execute(
            update(Installation)
            .where(Installation.log_fault == report.halted)
            .values(log_fault=None)
            .execution_options(synchronize_session=False)
        )
    session.expire_all()


def _begin(session: Session, here: Installation) -> Rebuilt:
    """The tree before the first event; a later log's first leaf is the recovery that began it."""
    rebuilt = Rebuilt(session, log=here.log_number)
    if here.recovery_position is not None:
        query = select(ConsentEvent.commitment).where(
            ConsentEvent.position == here.recovery_position
        )
        commitment = session.scalar(query)
        rebuilt.add(commitment or b"", position=here.recovery_position)
    return rebuilt


def _check_whole(
    session: Session, here: Installation, notes: signed.Notes, closures: Closures
) -> int:
    """What only a full check looks at; returns how many checkpoints of former logs it met."""
    newest = max(closures.recoveries, default=None)
    # In the order of their recoveries; a number is missing when a recovery itself was lost.
    logs = [1, *(int(fields.get("log", 0)) for _, fields in sorted(closures.recoveries.items()))]
    if here.log_number != logs[-1] or here.recovery_position != newest:
        raise fault.at(
            here.recovery_position or 0, "the installation and the log differ about recoveries"
        )
    stray = select(ConsentTile.log).where(ConsentTile.log.not_in(logs))
    if (log := session.scalar(stray.limit(1))) is not None:
        raise ConsentLogError(f"there are hashes of a log {log}, which never was")
    signed.check_numbers(session, logs)
    return former.check(session, notes, closures.recoveries)


def _check_known(session: Session, here: Installation, notes: signed.Notes) -> None:
    """The next check may begin where the last one ended: at a checkpoint."""
    known = here.verified_size
    if known and not signed.at_size(session, notes, log=here.log_number, size=known):
        raise fault.at(known - 1, "so many events were never verified: no checkpoint is over them")


def _erased(session: Session) -> int:
    query = select(func.count()).where(
        ConsentEvent.subscriber_id.is_(None), ConsentEvent.body.is_(None)
    )
    return session.scalar(query) or 0
