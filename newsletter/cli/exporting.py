"""`newsletter subscriber export`: the people as CSV that no spreadsheet executes, or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.files import replaced
from newsletter.subscriptions import exporting, publications


@click.command()
@click.option(
    "--publication", "slug", metavar="SLUG", help="Only this publication; without it, all."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, readable by you only; without it, to standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of CSV.")
def export(*, slug: str | None, out: Path | None, as_json: bool) -> None:
    """Write every subscription as a line of CSV.

    A cell that a spreadsheet would take for a formula gets a ' in front (JSON lines do not).

    \b
    newsletter subscriber export --publication field-notes --out readers.csv
    newsletter subscriber export --json | jq -r .email
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        wanted = publications.find(session, slug) if slug else None
        with output.closed(exporting.rows(session, wanted)) as rows:
            if as_json:
                lines: Iterable[str] = (output.as_json_text(row) for row in rows)
            else:
                cells = ([exporting.cell(row[name]) for name in exporting.COLUMNS] for row in rows)
                lines = _csv_lines(exporting.COLUMNS, cells)
            _write(lines, out)


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        output.emit_lines(output.for_terminal(lines))
        return
    with replaced(out) as draft, draft.open("w", encoding="utf-8", newline="") as opened:
        opened.writelines(f"{line}\n" for line in lines)


def _csv_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="")
    for row in chain([head], rows):
        writer.writerow(row)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
