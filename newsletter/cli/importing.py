"""`newsletter subscriber import`: people from a CSV file, with where their consent came from.

Pieces of some hundred lines, each in a transaction of its own: a running service waits for a
moment at most, and an import that was broken off is simply started again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.progress import progress
from newsletter.cli.signing import check_log
from newsletter.errors import BadInput
from newsletter.subscriptions import importing, publications
from newsletter.subscriptions.importing import BadRow, Row, Tally

_BYTES_AT_ONCE = 1 << 20

# Seconds between two pieces, at most.
_REST = 0.12


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--publication", "slug", required=True, metavar="SLUG", help="What they come into.")
@click.option(
    "--status",
    required=True,
    type=click.Choice(["pending", "confirmed"]),
    help="confirmed: they proved to you that they want it. pending: they still have to confirm.",
)
@click.option(
    "--evidence",
    required=True,
    metavar="TEXT",
    help="Where their consent comes from; it goes into the consent log with each of them.",
)
@click.option(
    "--send-confirmation",
    is_flag=True,
    help="With --status pending: ask each of them by mail to confirm.",
)
@output.json_option
def import_(
    *, file: Path, slug: str, status: str, evidence: str, send_confirmation: bool, as_json: bool
) -> None:
    """Bring people in from a CSV file with a header.

    Columns: email, and any of name, language, confirmed_at (ISO 8601), ip, source. Bad lines are
    named on standard error and left out. Who is in already, left, was erased or blocked you stays
    as they are, so that the same file can be imported again.

    \b
    newsletter subscriber import people.csv --publication field-notes \\
        --status confirmed --evidence 'paper list of the 2025 fair, scans in the archive'
    """
    if send_confirmation and status != "pending":
        raise click.UsageError("--send-confirmation goes with --status pending only.")
    if not evidence.strip():
        raise click.UsageError("--evidence must say where their consent comes from.")

    lines = _count_lines(file)
    tally, invalid = Tally(), 0
    with installation.opened() as here, progress("importing") as report:
        check_log(here)
        with store.reading(here.engine) as session:
            publications.find(session, slug)  # an unknown one is told before all bad lines
        for rows, bad, number in _pieces(file):
            for each in bad:
                click.echo(f"line {each.number}: {output.clean(each.reason)}", err=True)
            invalid += len(bad)
            began = time.monotonic()
            tally.add(
                _take(here, slug, rows, status, evidence, send_confirmation=send_confirmation)
            )
            report(min(number, lines), lines)
            # SQLite has one writer at a time, and whoever asks again at once is the next: people
            # who sign up meanwhile look for their turn every tenth of a second.
            time.sleep(min(time.monotonic() - began, _REST))
    counts = {**asdict(tally), "invalid": invalid}
    if as_json:
        output.emit_json(counts)
    else:
        click.echo(", ".join(f"{name}: {count}" for name, count in counts.items()))


def _pieces(file: Path) -> Iterator[tuple[list[Row], list[BadRow], int]]:
    """Good rows, bad rows, and the number of the last line, piece by piece."""
    rows: list[Row] = []
    bad: list[BadRow] = []
    number = 0
    # What is not UTF-8 comes through as lone surrogates, and makes its line a bad one.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
        for each in importing.read(opened, now=installation.now()):
            number = each.number
            if isinstance(each, importing.Row):
                rows.append(each)
            else:
                bad.append(each)
            if len(rows) + len(bad) >= importing.PIECE:
                yield rows, bad, number
                rows, bad = [], []
    yield rows, bad, number


def _take(
    here: installation.Installation,
    slug: str,
    rows: list[Row],
    status: str,
    evidence: str,
    *,
    send_confirmation: bool,
) -> Tally:
    with store.transaction(here.engine) as session:
        return importing.take(
            session,
            publications.find(session, slug),
            rows,
            status="confirmed" if status == "confirmed" else "pending",
            source=evidence.strip(),
            hash_key=here.hash_key,
            now=installation.now(),
            keep=here.settings.client_address,
            send_confirmation=send_confirmation,
        )


def _count_lines(file: Path) -> int:
    """For the progress. Raises BadInput when the file cannot be meant as UTF-8."""
    lines, last = 0, b"\n"
    with file.open("rb") as opened:
        try:
            # A wrong byte further down is one bad line; UTF-16 is wrong from the first one on.
            opened.readline(_BYTES_AT_ONCE).decode()
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{file} is not UTF-8, from its first line on: save it as UTF-8. "
                "Nothing was imported."
            ) from error
        opened.seek(0)
        while piece := opened.read(_BYTES_AT_ONCE):
            lines += piece.count(b"\n")
            last = piece
    return lines + (not last.endswith(b"\n"))
