"""`newsletter backup`: a copy that is whole, taken while the service runs.

Copying the file of a SQLite database misses what lies in its WAL; this does not. The copy appears
under its name only when it is complete, and only its owner can read it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess  # pg_dump is the only tool that makes what pg_restore reads
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from newsletter.cli import installation, output
from newsletter.cli.files import replaced
from newsletter.cli.progress import Report, progress
from newsletter.errors import NewsletterError

if TYPE_CHECKING:
    from sqlalchemy import URL

_PAGES_AT_ONCE = 2000


class NoBackup(NewsletterError):
    """The copy was not made; says why. What was there before is untouched."""


# The schema is not checked: a backup is what one makes before migrating.
@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@output.json_option
def backup(*, file: Path, force: bool, as_json: bool) -> None:
    """Copy the database to FILE while the service runs.

    SQLite: FILE is a database like the original; to restore it, stop the service, put it in the
    original's place, remove that one's -wal and -shm files, and run newsletter recover.
    PostgreSQL: FILE is for pg_restore. It holds people's addresses: keep it as well as the
    database. newsletter.toml and the folder of the signing key are not in it.

    \b
    newsletter backup "/var/backups/newsletter-$(date +%F).db"
    """
    settings = installation.load_settings().settings
    source = installation.sqlite_file(settings)
    _refuse(file, source, force=force)
    with replaced(file, last_look=lambda: _refuse(file, source, force=force)) as draft:
        if source is None:
            _dump_postgresql(settings.database_url, draft)
        else:
            with progress("copying pages") as report:
                copy_sqlite(source, draft, report)
    size = file.stat().st_size
    if as_json:
        output.emit_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{size} bytes in {file}")


def _refuse(file: Path, source: Path | None, *, force: bool) -> None:
    if source is not None and not source.exists():
        raise NoBackup(f"There is no database at {source}.")
    if not file.exists():
        return
    if source is not None and file.samefile(source):
        raise NoBackup(f"{file} is the database itself.")
    if not force:
        raise NoBackup(f"{file} exists; --force replaces it.")


def copy_sqlite(source: Path, target: Path, report: Report) -> None:
    """Copy the live database `source` over the empty file `target`.

    One read transaction holds the same moment from the first page to the last: writers go on, and
    without it each of their commits would start the copying anew.
    """
    with closing(sqlite3.connect(source, isolation_level=None, timeout=30)) as original:
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(target)) as copy:
            original.backup(
                copy,
                pages=_PAGES_AT_ONCE,
                progress=lambda _status, left, total: report(total - left, total),
            )
            # A file that is whole by itself; the service turns the WAL on again.
            copy.execute("PRAGMA journal_mode=DELETE")
            if _holds_traces(copy):
                copy.execute("VACUUM")
                copy.execute("UPDATE installation SET uncleaned_since = NULL")
                copy.commit()
            fault = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        original.execute("ROLLBACK")
    if fault != "ok":
        raise NoBackup(f"The copy is damaged, and so probably is the database: {fault}")


def _holds_traces(copy: sqlite3.Connection) -> bool:
    """Whether people were erased whose traces the original's free pages, and these, may hold."""
    try:
        found = copy.execute("SELECT uncleaned_since FROM installation").fetchone()
    except sqlite3.OperationalError:
        return False  # of an older version, or of none
    return found is not None and found[0] is not None


def _dump_postgresql(database_url: str, target: Path) -> None:
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # SQLite needs none of it

    program = shutil.which("pg_dump")
    if program is None:
        raise NoBackup("pg_dump is not installed: it comes with the PostgreSQL client programs.")
    url = make_url(database_url)
    command = [program, "--format=custom", "--no-password", f"--file={target}"]
    result = subprocess.run(  # noqa: S603  # no shell; the program's own path
        [*command, f"--dbname={_without_password(url)}"],
        env={**os.environ, **({"PGPASSWORD": url.password} if url.password else {})},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        raise NoBackup(f"pg_dump failed: {result.stderr.strip()}")


def _without_password(url: URL) -> str:
    """The URL as libpq reads it; the password goes by the environment, `ps` shows arguments."""
    plain = url.set(drivername="postgresql", password=None)
    return plain.render_as_string(hide_password=False)
