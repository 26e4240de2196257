"""What was claimed last, kept in a file outside of the database, before any mail is handed over.

A database that was put back from a backup believes that the mails which left since then are still
to be sent. Each claim raises its row's epoch, and epochs never fall: a row that is missing, or has
a lower epoch than the journal says, gives an older database away. One line for each batch: the
number of the consent log, the row and its epoch.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from newsletter.errors import LogFault
from newsletter.sending.claim import Claim
from newsletter.store import Delivery, Installation, reading

FILE = "journal"
_LOCK = ".journal.lock"
# Lines are written in the order of the claims but for those of threads that overtake each other,
# so that the last ones tell all.
_KEPT = 500
_TOO_LONG = 64 * 1024


class Journal:
    """The file in `folder`. Any number of processes and threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def note(self, claims: Sequence[Claim], *, log: int) -> None:
        """Write down one of the claims of a batch, which were committed together.

        On the disk when this returns; only then may the batch be handed over. log: the number of
        the consent log (installation.log_number).

        Raises OSError when it cannot be written.
        """
        newest = max(claims, key=lambda claim: claim.id)
        line = f"{log} {newest.id} {newest.epoch}\n".encode()
        with self._locked():
            number = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _write(number, line)
                os.fsync(number)
                is_long = os.fstat(number).st_size > _TOO_LONG
            finally:
                os.close(number)
            if is_long:
                self._keep(self._lines()[-_KEPT:])

    def check(self, engine: Engine) -> None:
        """Raises LogFault, with the cure, when the database is older than a claim."""
        # The file first: what others add to it now is newer than what the session will see.
        lines = self._lines()
        with reading(engine) as session:
            today = session.scalar(select(Installation.log_number)) or 1
            wanted: dict[int, int] = {}
            for log, row, epoch in lines:
                if log == today:
                    wanted[row] = max(epoch, wanted.get(row, 0))
            found = _epochs(session, list(wanted))
        is_older = any(log > today for log, _row, _epoch in lines)
        if is_older or any(found.get(row, -1) < epoch for row, epoch in wanted.items()):
            raise LogFault(
                "Mails were sent that the database knows nothing of: it is older than they are. "
                "Put the newer database back; or, if there is none, run: newsletter recover"
            )

    def _lines(self) -> list[tuple[int, int, int]]:
        """(log, row, epoch) of each whole line; what a crash tore was followed by no mail."""
        try:
            text = self.file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return []
        found = []
        for line in text.split("\n")[:-1]:
            words = line.split(" ")
            if len(words) == 3 and all(word.isdecimal() for word in words):
                found.append((int(words[0]), int(words[1]), int(words[2])))
        return found

    def _keep(self, lines: Sequence[tuple[int, int, int]]) -> None:
        draft = self.file.with_name(f".{FILE}.{os.getpid()}")
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write(number, "".join(f"{log} {row} {e}\n" for log, row, e in lines).encode())
            os.fsync(number)
        finally:
            os.close(number)
        draft.replace(self.file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The file for this thread alone. Of its own: the journal's is replaced now and then."""
        folder = self.file.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)


def _write(number: int, text: bytes) -> None:
    """All of it, or nothing: a disk that is nearly full takes a part, and says so without error."""
    size = os.fstat(number).st_size
    if os.write(number, text) < len(text):
        os.ftruncate(number, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _epochs(session: Session, rows: Sequence[int]) -> dict[int, int]:
    """The epochs of those deliveries that there are."""
    found: dict[int, int] = {}
    for start in range(0, len(rows), _KEPT):
        some = rows[start : start + _KEPT]
        query = select(Delivery.id, Delivery.epoch).where(Delivery.id.in_(some))
        found |= {row.id: row.epoch for row in session.execute(query)}
    return found
