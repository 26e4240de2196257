"""Articles that are being written: their files are taken in again whenever they change."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.article import read_file
from newsletter.cli.naming import find
from newsletter.digests import articles
from newsletter.digests.articles import ArticleInput
from newsletter.errors import BadInput, NewsletterError, WrongState
from newsletter.store import Article, DigestState

_EVERY = 0.5  # seconds between two looks at the files
_KINDS = (".md", ".markdown", ".txt")

_State = tuple[int, int] | None


class Rereading:
    """The files that articles of a draft came from.

    paths: files, and folders in which those are looked for that belong to the draft.

    Raises BadInput for a file that is none of the digest's articles or cannot be read as one,
    WrongState for a digest that is no draft any more.
    """

    def __init__(
        self, here: installation.Installation, digest_id: int, paths: Sequence[Path]
    ) -> None:
        self._here = here
        self._files: dict[Path, int] = {}
        with store.reading(here.engine) as session:
            digest = find(session, digest_id)
            if digest.state != DigestState.DRAFT:
                raise WrongState(f"Digest {digest_id} is {digest.state}: no file changes it.")
            rows = [entry.article for entry in digest.entries]
            for path in paths:
                self._add(path, rows, digest_id)
        self._seen = {path: _state(path) for path in self._files}

    def run(self, ended: threading.Event) -> None:
        """Look at the files until `ended`; what cannot be read as it is, is said."""
        while not ended.wait(_EVERY):
            self.look()

    def look(self) -> None:
        """Take in what has changed since the last look."""
        for path, number in self._files.items():
            state = _state(path)
            if state is None or state == self._seen[path]:
                continue
            self._seen[path] = state
            try:
                self._take_in(path, number)
            except (NewsletterError, OSError) as error:
                click.echo(f"Not taken in: {output.clean(str(error))}", err=True)

    def _take_in(self, path: Path, number: int) -> None:
        article = read_file(path)
        with store.transaction(self._here.engine) as session:
            has_changed = articles.rewrite(session, number, article, now=installation.now())
        if has_changed:
            click.echo(f"Taken in: {output.clean(str(path))} {number}", err=True)

    def _add(self, path: Path, rows: Sequence[Article], digest_id: int) -> None:
        is_named = not path.is_dir()
        for file in [path] if is_named else _files(path):
            try:
                row = _row_of(read_file(file), rows)
            except BadInput:
                if is_named:
                    raise
                continue
            if row is not None:
                self._files[file] = row.id
            elif is_named:
                raise BadInput(
                    f"{file} is no article of digest {digest_id}: newsletter article add takes "
                    "it in, and newsletter digest edit puts it there.",
                    "watch",
                )
        if not is_named and not any(path in file.parents for file in self._files):
            raise BadInput(f"{path} holds no article of digest {digest_id}.", "watch")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _KINDS)


def _row_of(article: ArticleInput, rows: Sequence[Article]) -> Article | None:
    """The row of a file's article: of its url; without one, the same, or of its title."""
    if article.url is not None:
        return next((row for row in rows if row.url == article.url), None)
    nameless = [row for row in rows if row.url is None]
    same = (row for row in nameless if not articles.changes(row, article))
    alike = (row for row in nameless if row.title == article.title)
    return next(same, None) or next(alike, None)


def _state(path: Path) -> _State:
    """What changes when the file does; None while it is not there, as when an editor saves."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
