"""Whether a digest would look otherwise than a moment ago: a mark that changes with it.

It is asked for each second, so nothing is rendered for it: the rows that a digest is made of are
hashed, and the times of the files that it is rendered by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import inspect

from newsletter.resources import resource_dir
from newsletter.store import Base, Digest


def mark(digest: Digest, templates_folder: str | None) -> str:
    """16 hex digits.

    digest: just read, in its session. templates_folder: where the operator's own templates lie.
    """
    hashed = hashlib.sha256()
    for row in _rows(digest):
        hashed.update(_values(row).encode())
    folders = [resource_dir("templates") / "mail"]
    if templates_folder:
        folders.append(Path(templates_folder))
    for line in _files(folders):
        hashed.update(line.encode())
    return hashed.hexdigest()[:16]


def _rows(digest: Digest) -> Iterator[Base]:
    yield digest
    yield digest.publication
    for entry in digest.entries:
        yield entry
        yield entry.article


def _values(row: Base) -> str:
    columns = inspect(type(row)).column_attrs
    return repr([(column.key, getattr(row, column.key)) for column in columns])


def _files(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                found = path.stat()
            except OSError:  # an editor's file of a moment
                continue
            yield f"{path} {found.st_mtime_ns} {found.st_size}\n"
