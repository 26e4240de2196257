"""Where the picture of a sending is shown: live on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from newsletter.cli import installation, output, picture
from newsletter.cli.picture import Look

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

# Is given what there is to see, as often as somebody looked.
Show = Callable[[Sequence[Look]], None]
# What a line calls a digest.
Name = Callable[[Look], str]

_SECONDS_BETWEEN_LINES = 5.0
_BAR_WIDTH = 32
_COLORS = {
    "accepted": "green",
    "deferred": "yellow",
    "failed": "red",
    "uncertain": "magenta",
}


@contextmanager
def on_standard_error(name: Name) -> Iterator[Show]:
    """For a command whose result goes to standard output. name: what a line calls a digest."""
    if sys.stderr.isatty():
        with _live(is_error=True) as show:
            yield show
        return
    with _every_so_often(lambda look: _say(look, name, is_error=True)) as show:
        yield show


@contextmanager
def on_standard_output(name: Name, *, as_json: bool) -> Iterator[Show]:
    """For a command whose result is the picture. as_json: as lines of JSON, also on a terminal."""
    if sys.stdout.isatty() and not as_json:
        with _live(is_error=False) as show:
            yield show
        return
    say = _print_json if as_json else lambda look: _say(look, name, is_error=False)
    with _every_so_often(say, first_after=0) as show:
        yield show


def _say(look: Look, name: Name, *, is_error: bool) -> None:
    click.echo(picture.line(look, name(look)), err=is_error)


def _print_json(look: Look) -> None:
    output.emit_json(look.record(installation.now()))


@contextmanager
def _every_so_often(
    say: Callable[[Look], None], *, first_after: float = _SECONDS_BETWEEN_LINES
) -> Iterator[Show]:
    """Each digest is said anew after some seconds, when its state changes, and at the end."""
    said: dict[int, Look] = {}
    said_at: dict[int, float] = {}
    newest: dict[int, Look] = {}
    began = time.monotonic()

    def tell(number: int, look: Look) -> None:
        say(look)
        said[number], said_at[number] = look, time.monotonic()

    def show(looks: Sequence[Look]) -> None:
        for look in looks:
            number = look.number
            newest[number] = look
            before = said.get(number)
            is_other = before is not None and before.found["state"] != look.found["state"]
            waited = time.monotonic() - said_at.get(number, began)
            if is_other or waited >= (_SECONDS_BETWEEN_LINES if before else first_after):
                tell(number, look)

    try:
        yield show
    finally:
        for number, look in newest.items():
            if look is not said.get(number):
                tell(number, look)


@contextmanager
def _live(*, is_error: bool) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415  # only for a terminal
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(stderr=is_error), auto_refresh=False) as live:
        yield lambda looks: live.update(_drawn(looks), refresh=True)


def _drawn(looks: Sequence[Look]) -> Group:
    from rich.console import Group  # noqa: PLC0415  # only for a terminal

    return Group(*(_one(look) for look in looks))


def _one(look: Look) -> Table:
    """A bar with its figures, and below it the counts and what an operator may have to act on."""
    from rich.progress_bar import ProgressBar  # noqa: PLC0415  # only for a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    head = Table.grid(padding=(0, 1, 0, 0))
    bar = ProgressBar(total=max(look.total, 1), completed=look.done, width=_BAR_WIDTH)
    head.add_row(f"Digest {look.number}", bar, Text(_figures(look)))
    drawn = Table.grid()
    drawn.add_row(head)
    counts = Text("  ")
    for name, number in look.counts.items():
        counts.append(f"{name} {number:,}  ", style=_COLORS.get(name, ""))
    drawn.add_row(counts)
    for remark in picture.remarks(look):
        drawn.add_row(Text(f"  {remark}", style="bold"))
    return drawn


def _figures(look: Look) -> str:
    share = look.done / look.total if look.total else 1.0
    # Never 100 % before the last one is out.
    parts = [f"{look.done:,} of {look.total:,}", f"{int(100 * share)} %"]
    if not look.is_sending:
        return "  ".join([*parts, str(look.found["state"])])
    if look.rate is not None:
        parts.append(picture.speed(look.rate))
    if (left := look.seconds_left) is not None:
        parts.append(f"{picture.duration(left)} left")
    return "  ".join(parts)
