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
from newsletter.consent.checkpoint_format import Checkpoint
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
    before = None
    if not full and keyring is not None and here.log_size > whole_up_to and here.verified_size:
        before = signed.at_size(session, notes, log=here.log_number, size=here.verified_size)
    check = _Check(session, here, notes, kept_note, before)
    check.walk(progress)
    return check.finish()


class _Check:
    """One check, from behind the checkpoint `before`; from the first event without one."""

    def __init__(
        self,
        session: Session,
        here: Installation,
        notes: signed.Notes,
        kept_note: str | None,
        before: Checkpoint | None,
    ) -> None:
        self.session, self.here, self.notes, self.before = session, here, notes, before
        self.start = before.size if before else 0
        self.kept = signed.Kept(kept_note, notes, here)
        self.closures = Closures(session, start=self.start, size=here.log_size)
        self.chain = signed.Chain(session, notes, log=here.log_number, after=before)
        self.rebuilt = self._resumed(before) if before else self._begun()

    def walk(self, progress: Progress | None) -> None:
        """Each event, each leaf, and each checkpoint as soon as the tree has its size."""
        start, size, began_by = self.start, self.here.log_size, self.here.recovery_position
        for row in events.rows(self.session, start=start, size=size):
            events.check(row, self.closures, self.here.log_key)
            if row.position != began_by:
                self.rebuilt.add(row.commitment, position=row.position)
            self.chain.meet(self.rebuilt, position=row.position)
            self.kept.meet(self.rebuilt, position=row.position)
            if progress and (row.position + 1) % _PIECE == 0:
                progress(row.position + 1 - start, size - start)
        if progress:
            progress(size - start, size - start)

    def finish(self) -> Report:
        """After the last event: nothing is beyond it, and the tables say what the log says."""
        session, here = self.session, self.here
        checkpoints = self.chain.count
        events.check_end(session, here.log_size)
        self.rebuilt.finish()
        self.chain.finish(here.log_size)
        if self.before:
            states.check_subscriptions(session)
        else:
            checkpoints += self._check_whole()
        self.kept.finish(session, self.closures.recoveries)
        self._check_known()
        states.check(session)
        newest = self.chain.last if self.notes.keyring else None
        return Report(
            events=here.log_size,
            erased=_erased(session),
            start=self.start,
            checkpoints=checkpoints,
            signed=newest.size if newest else 0,
            states=states.counts(session),
            halted=here.log_fault,
        )

    def _resumed(self, before: Checkpoint) -> Rebuilt:
        log = self.here.log_number
        rebuilt = Rebuilt.resume(self.session, log=log, size=before.size, root=before.root)
        self.kept.check_before(self.session, before.size)
        self.closures.check_before_start()
        return rebuilt

    def _begun(self) -> Rebuilt:
        """The tree before the first event; a later log's first leaf is what began it."""
        rebuilt = Rebuilt(self.session, log=self.here.log_number)
        position = self.here.recovery_position
        if position is not None:
            query = select(ConsentEvent.commitment).where(ConsentEvent.position == position)
            rebuilt.add(self.session.scalar(query) or b"", position=position)
        return rebuilt

    def _check_whole(self) -> int:
        """What only a full check looks at; returns how many checkpoints of former logs it met."""
        session, here, recoveries = self.session, self.here, self.closures.recoveries
        newest = max(recoveries, default=None)
        # In the order of their recoveries; a number is missing when a recovery itself was lost.
        logs = [1, *(int(fields.get("log", 0)) for _, fields in sorted(recoveries.items()))]
        if here.log_number != logs[-1] or here.recovery_position != newest:
            raise fault.at(
                here.recovery_position or 0, "the installation and the log differ about recoveries"
            )
        stray = select(ConsentTile.log).where(ConsentTile.log.not_in(logs))
        if (log := session.scalar(stray.limit(1))) is not None:
            raise ConsentLogError(f"there are hashes of a log {log}, which never was")
        signed.check_numbers(session, logs)
        return former.check(session, self.notes, recoveries)

    def _check_known(self) -> None:
        """The next check may begin where the last one ended: at a checkpoint."""
        known, log = self.here.verified_size, self.here.log_number
        if known and not signed.at_size(self.session, self.notes, log=log, size=known):
            raise fault.at(
                known - 1, "so many events were never verified: no checkpoint is over them"
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


def _erased(session: Session) -> int:
    query = select(func.count()).where(
        ConsentEvent.subscriber_id.is_(None), ConsentEvent.body.is_(None)
    )
    return session.scalar(query) or 0
