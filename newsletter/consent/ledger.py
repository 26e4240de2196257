"""What a restored backup must not undo, kept in a file beside the signing key.

Each erasure, withdrawal and block is a row of `ledger_entry`, written in the transaction of the
change itself, and a line of the file `ledger`, on the disk before the person is answered. A line
has the entry's number, its kind, the mailbox under the installation's hash key in hex, the
publication's slug or "-" for all, and the time: nothing in it tells who was meant.

The file is only appended to. A database that lacks one of its lines is older than the file: that
is how a restored backup is noticed, and newsletter recover applies what is missing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session

from newsletter.config import Settings
from newsletter.errors import LogFault
from newsletter.store import Installation, LedgerEntry, LedgerKind, reading

FILE = "ledger"
_PIECE = 500
# Longer than any line: a slug has at most 64 characters, a hash 64 hex digits.
_TAIL = 1024
_WORDS = 5


@dataclass(frozen=True)
class Entry:
    """One line. publication: its slug; None for all of them."""

    id: int
    kind: LedgerKind
    mailbox_hash: bytes
    publication: str | None
    at: datetime

    @property
    def line(self) -> str:
        """The entry as it stands in the file, with its line break."""
        slug = self.publication or "-"
        return f"{self.id} {self.kind} {self.mailbox_hash.hex()} {slug} {self.at.isoformat()}\n"

    @classmethod
    def parse(cls, line: str) -> Entry:
        """The entry of such a line; raises ValueError when it is none."""
        words = line.split(" ")
        if len(words) != _WORDS:
            raise ValueError("not five words")
        number, kind, mailbox_hash, slug, at = words
        return cls(
            int(number),
            LedgerKind(kind),
            bytes.fromhex(mailbox_hash),
            None if slug == "-" else slug,
            datetime.fromisoformat(at),
        )


def note(
    session: Session,
    kind: LedgerKind,
    mailbox_hash: bytes,
    *,
    publication: str | None = None,
    now: datetime,
) -> None:
    """Put an entry into the ledger, in the transaction of what it says; Ledger.catch_up writes it.

    publication: the slug; None for all.
    """
    # As appending an event does: entries are committed in the order of their numbers, so that a
    # file that was caught up lacks none of the numbers before its last one.
    session.execute(select(Installation.id).with_for_update())
    newest = session.scalar(select(func.max(LedgerEntry.id))) or 0
    # Microseconds, not 1, 2, 3: a restored database would give the numbers of the lines that it
    # lacks to other entries.
    number = max(newest + 1, int(now.timestamp() * 1_000_000))
    keep(session, [Entry(number, kind, mailbox_hash, publication, now)])


def keep(session: Session, entries: list[Entry]) -> None:
    """Put these entries into the database's ledger, under the numbers that they have."""
    rows = [
        {
            "id": each.id,
            "kind": each.kind,
            "mailbox_hash": each.mailbox_hash,
            "publication": each.publication,
            "at": each.at,
        }
        for each in entries
    ]
    if rows:
        session.execute(insert(LedgerEntry), rows)


class Ledger:
    """The file in `folder`. Any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    @classmethod
    def of(cls, settings: Settings) -> Ledger:
        """The ledger that the settings name."""
        return cls(Path(settings.consent_folder))

    def catch_up(self, engine: Engine) -> int:
        """Append what the database has beyond the file's last line; how many lines that were.

        On the disk when this returns. Call it after the commit and before the answer, and at the
        start of whatever serves or sends. Raises OSError when the file cannot be written: the
        entries stay in the database, and the next call writes them.
        """
        with reading(engine) as session:
            newest = session.scalar(select(func.max(LedgerEntry.id)))
        if newest is None:
            return 0
        with self._opened() as number:
            last = _mend(number)
            written = 0
            with reading(engine) as session:
                query = select(LedgerEntry).where(LedgerEntry.id > last).order_by(LedgerEntry.id)
                rows = session.scalars(query.execution_options(yield_per=_PIECE))
                for piece in rows.partitions():
                    lines = "".join(_entry(row).line for row in piece)
                    _write(number, lines.encode())
                    written += len(piece)
            if written:
                os.fsync(number)
        return written

    def entries(self, end: int | None = None) -> Iterator[Entry]:
        """Every line; a last one that a crash tore is left out, since nobody was told of it.

        end: only what stands before this byte of the file.

        Raises LogFault for a line that cannot be read.
        """
        try:
            opened = self.file.open(encoding="ascii", errors="replace", newline="\n")
        except FileNotFoundError:
            return
        with opened:
            at = 0
            for count, line in enumerate(opened, 1):
                at += len(line)
                if not line.endswith("\n") or (end is not None and at > end):
                    return
                try:
                    yield Entry.parse(line[:-1])
                except ValueError as error:
                    raise LogFault(
                        f"{self.file}, line {count}: it cannot be read. Put the file back from its "
                        "backup; newsletter serve adds what is missing at its end."
                    ) from error

    def missing(self, session: Session, end: int | None = None) -> Iterator[Entry]:
        """The lines (before byte `end`) that the database knows nothing of, in their order."""
        lines = self.entries(end)
        while piece := list(islice(lines, _PIECE)):
            numbers = [each.id for each in piece]
            known = set(session.scalars(select(LedgerEntry.id).where(LedgerEntry.id.in_(numbers))))
            yield from (each for each in piece if each.id not in known)

    def check(self, engine: Engine) -> None:
        """Raises LogFault, with the cure, when the database lacks a line of the file."""
        # The file first: what others add to it now is newer than what the session will see.
        end = self.file.stat().st_size if self.file.exists() else 0
        with reading(engine) as session:
            first = next(self.missing(session, end), None)
        if first is not None:
            raise LogFault(
                f"The database does not know of what was {first.kind} at {first.at.isoformat()}: "
                "it is older than the ledger. Put the newer database back; or, if there is none, "
                "run: newsletter recover"
            )

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, for this process alone until the block ends."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.file.exists()
        number = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            if is_new:
                _sync_folder(self.file.parent)
            yield number
        finally:
            os.close(number)


def _mend(number: int) -> int:
    """Cut off a torn last line; the number of the entry that is last then, 0 for none."""
    size = os.fstat(number).st_size
    tail = os.pread(number, _TAIL, max(0, size - _TAIL))
    whole, _, torn = tail.rpartition(b"\n")
    if torn:
        os.ftruncate(number, size - len(torn))
    last = whole.rpartition(b"\n")[2]
    digits = last.partition(b" ")[0]
    return int(digits) if digits.isdigit() else 0


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _entry(row: LedgerEntry) -> Entry:
    return Entry(row.id, LedgerKind(row.kind), row.mailbox_hash, row.publication, row.at)
