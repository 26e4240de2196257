"""The checkpoints that were signed, held against the tree and against each other."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.consent import merkle, tree
from newsletter.consent.check import fault
from newsletter.consent.check.rebuilt import Rebuilt
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.keyring import Keyring
from newsletter.consent.note import open_note
from newsletter.errors import BadNote, ConsentLogError, InvalidProof
from newsletter.store import ConsentCheckpoint, Installation

_PIECE = 500


@dataclass
class Notes:
    """How signed notes are opened. keyring: None where the keys are not at hand.

    Then signatures are not looked at, and everything else is.
    """

    keyring: Keyring | None

    def __post_init__(self) -> None:
        self._verifiers = self.keyring.verifiers if self.keyring else []

    def open(self, note: object) -> Checkpoint:
        """The checkpoint of a note; raises BadNote unless one of the keys signed it."""
        if not isinstance(note, str):
            raise BadNote("it is no text")
        if self.keyring is None:
            return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
        return Checkpoint.parse(open_note(note, self._verifiers))

    def is_origin(self, origin: str, log: int) -> bool:
        """Whether the log of this number is called so."""
        if not self._verifiers:
            return True
        name = self._verifiers[-1].name
        return origin == (name if log == 1 else f"{name}/{log}")


class Chain:
    """The checkpoints of one log in their order, met one by one while its tree is built anew."""

    def __init__(
        self, session: Session, notes: Notes, *, log: int, after: Checkpoint | None = None
    ) -> None:
        self._log, self._notes = log, notes
        self._read = tree.reader(session, log)
        self._rows = _rows(session, log=log, after=after.size if after else 0)
        self._due = next(self._rows, None)
        # The newest that was found good.
        self.last = after
        self.count = 0

    def meet(self, rebuilt: Rebuilt, *, position: int) -> None:
        """Check the checkpoint over as many leaves as the tree has now, if one was signed.

        position: of the newest event, for the fault.
        """
        while self._due is not None and not self._is_ahead(self._due.size, rebuilt.size):
            self._check(self._due, rebuilt, position)
            self._due = next(self._rows, None)

    def finish(self, size: int) -> None:
        """After the last leaf: no checkpoint is over more leaves than there are."""
        if self._due is not None:
            raise fault.at(size, f"a checkpoint was signed over {self._due.size} events")

    @staticmethod
    def _is_ahead(size: object, rebuilt: int) -> bool:
        return not isinstance(size, int) or size > rebuilt

    def _check(self, row: Any, rebuilt: Rebuilt, position: int) -> None:
        what = f"the checkpoint over {row.size} events"
        if row.id != row.expected:
            raise fault.at(position, f"{what} is not where it belongs: one is missing or was moved")
        if row.size < rebuilt.size:
            raise fault.at(position, f"{what} is out of order")
        try:
            found = self._notes.open(row.note)
        except BadNote as error:
            raise fault.at(position, f"{what} is not ours: {error}") from error
        if found.size != row.size or not self._notes.is_origin(found.origin, self._log):
            raise fault.at(position, f"{what} was signed for another log or size")
        if not hmac.compare_digest(found.root, rebuilt.root()):
            raise fault.at(position, f"{what} was signed for another tree")
        if self.last is not None:
            self._check_extends(self.last, found, position)
        self.last = found
        self.count += 1

    def _check_extends(self, old: Checkpoint, new: Checkpoint, position: int) -> None:
        """The proof that the service itself would give for these two."""
        try:
            proof = merkle.stored_consistency(old.size, new.size, self._read)
            merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)
        except (InvalidProof, ConsentLogError) as error:
            raise fault.at(
                position,
                f"the checkpoint over {new.size} events does not extend the one over {old.size}",
            ) from error


def check_numbers(session: Session, logs: Sequence[int]) -> None:
    """No checkpoint is missing, and none is of a log that never was."""
    row = ConsentCheckpoint
    stray = session.scalar(select(row.id).where(row.log.not_in(logs)).limit(1))
    if stray is not None:
        raise ConsentLogError(f"checkpoint {stray}: there is no such log")
    count, newest = session.execute(select(func.count(), func.max(row.id))).one()
    if count != (newest or 0):
        raise ConsentLogError(f"checkpoint {newest}: there are only {count} of them")


def at_size(session: Session, notes: Notes, *, log: int, size: int) -> Checkpoint | None:
    """The signed checkpoint over exactly `size` leaves; None when there is no good one."""
    query = select(ConsentCheckpoint.note).where(
        ConsentCheckpoint.log == log, ConsentCheckpoint.size == size
    )
    try:
        found = notes.open(session.scalar(query))
    except BadNote:
        return None
    return found if found.size == size and notes.is_origin(found.origin, log) else None


class Kept:
    """The checkpoint that is kept outside of the database, which a restored one cannot undo."""

    def __init__(self, note: str | None, notes: Notes, here: Installation) -> None:
        self._note, self._notes, self._here = note, notes, here
        self._kept: Checkpoint | None = None
        if note is not None:
            try:
                self._kept = notes.open(note)
            except BadNote as error:
                raise ConsentLogError(
                    f"the checkpoint beside the signing key is not ours: {error}"
                ) from error
        self._is_todays = self._kept is not None and notes.is_origin(
            self._kept.origin, here.log_number
        )

    def check_before(self, session: Session, start: int) -> None:
        """Where the check begins behind the kept one: the stored tree has its root."""
        kept = self._kept
        if kept is not None and self._is_todays and 0 < kept.size <= start:
            self._check_root(kept, tree.root(session, kept.size), position=kept.size - 1)

    def meet(self, rebuilt: Rebuilt, *, position: int) -> None:
        """The tree has its root when it has its size."""
        kept = self._kept
        if kept is not None and self._is_todays and kept.size == rebuilt.size:
            self._check_root(kept, rebuilt.root(), position=position)

    def finish(self, session: Session, recoveries: dict[int, dict[str, Any]]) -> None:
        """The log has grown at least to it; one of an earlier log is named by the recovery."""
        kept, size = self._kept, self._here.log_size
        if kept is None:
            return
        if not self._is_todays:
            self._check_recovery(kept, recoveries)
            return
        if kept.size > size:
            raise fault.at(
                size,
                f"the log has {size} events, but {kept.size} were signed for: "
                "the database is older than the last checkpoint",
            )
        row = ConsentCheckpoint
        query = select(row.id).where(row.log == self._here.log_number, row.size == kept.size)
        if session.scalar(query) is None:
            raise fault.at(
                kept.size - 1,
                f"the checkpoint over {kept.size} events is missing in the database",
            )

    @staticmethod
    def _check_root(kept: Checkpoint, root: bytes, *, position: int) -> None:
        if not hmac.compare_digest(kept.root, root):
            raise fault.at(
                position,
                f"the first {kept.size} events are not those of the checkpoint beside the "
                "signing key",
            )

    def _check_recovery(self, kept: Checkpoint, recoveries: dict[int, dict[str, Any]]) -> None:
        for fields in recoveries.values():
            try:
                named = self._notes.open(fields.get("kept"))
            except BadNote:
                continue
            if named.origin == kept.origin and named.size >= kept.size:
                return
        raise fault.at(
            self._here.recovery_position or 0,
            f"the last checkpoint was signed for the log {kept.origin}, which no recovery ended",
        )


def _rows(session: Session, *, log: int, after: int) -> Iterator[Any]:
    """The rows of a log's checkpoints by number, each with the number that it should have."""
    row = ConsentCheckpoint
    earlier = session.scalar(
        select(func.count()).where((row.log < log) | ((row.log == log) & (row.size <= after)))
    )
    expected = (earlier or 0) + 1
    seen = 0
    while True:
        query = select(row.id, row.size, row.note).where(
            row.log == log, row.size > after, row.id > seen
        )
        piece = session.execute(query.order_by(row.id).limit(_PIECE)).all()
        for each in piece:
            yield _Row(each.id, each.size, each.note, expected)
            expected += 1
            seen = each.id
        if not piece:
            return


@dataclass(frozen=True)
class _Row:
    id: int
    size: int
    note: str
    expected: int
