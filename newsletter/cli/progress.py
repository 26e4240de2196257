"""How far a long job is: a bar on a terminal, now and then a plain line elsewhere.

Always on standard error: standard output belongs to the result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

# done, and the total as far as it is known (None: not yet).
Report = Callable[[int, int | None], None]

_SECONDS_BETWEEN_LINES = 5


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """A callable that is told how much is done of how much; `what` is the job in one word."""
    if sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        with _lines(what) as report:
            yield report


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    from rich import progress as rich_progress  # noqa: PLC0415  # only for a terminal
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield report


@contextmanager
def _lines(what: str) -> Iterator[Report]:
    said_at = time.monotonic()
    waiting: str | None = None

    def report(done: int, total: int | None) -> None:
        nonlocal said_at, waiting
        waiting = f"{what}: {done}" + (f" of {total}" if total is not None else "")
        if time.monotonic() - said_at >= _SECONDS_BETWEEN_LINES:
            click.echo(waiting, err=True)
            said_at, waiting = time.monotonic(), None

    yield report
    if waiting is not None:
        click.echo(waiting, err=True)
