"""Files that are there as a whole or not at all, and that only their owner can read."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def reserve(file: Path) -> None:
    """Make an empty file of mode 600, unless there is a file already.

    SQLite gives its -wal and -shm files the mode of the database.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


@contextmanager
def replaced(file: Path, last_look: Callable[[], None] | None = None) -> Iterator[Path]:
    """An empty file to write to, which takes the place of `file` when the block ends well.

    It lies beside `file`, so that the last step is a rename within one file system, and it is on
    the disk before it has the name: a power cut leaves the old file or the new one.

    last_look: called before the rename; what it raises leaves everything as it was.
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        reserve(draft)
    except OSError as error:
        # The draft's name says nothing to anybody; what is wrong is the folder, or a long name.
        place = file if error.errno == errno.ENAMETOOLONG else file.parent
        raise OSError(error.errno, error.strerror, str(place)) from error
    try:
        yield draft
        _flush(draft)
        if last_look is not None:
            last_look()
        draft.replace(file)
        _flush(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
