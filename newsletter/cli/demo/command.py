"""The command `newsletter demo`: where it happens, what it says, and when it ends."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from newsletter import logs
from newsletter.cli import output
from newsletter.cli.demo.stage import Stage, raised, worker
from newsletter.cli.demo.walk import Walk
from newsletter.cli.group import foreseeable
from newsletter.worker import stop_on_signals


@click.command()
@click.option("--once", is_flag=True, help="End after the walk: 0 only if every step held.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Do it in DIR and leave it there: newsletter.toml, newsletter.db, consent/, "
    "receipt.json, mailbox/*.eml.",
)
@output.json_option
@click.pass_context
def demo(ctx: click.Context, *, once: bool, keep: Path | None, as_json: bool) -> None:
    """Show the whole journey on this machine: sign-up, confirmation, digest, leaving, proof.

    Makes a throw-away installation with a web app and a mailbox to look at, sends nothing to the
    world, and stays up until Ctrl-C. Each line of --json is {"step": ..., "ok": ..., "url": ...}.

    \b
    newsletter demo
    newsletter demo --once --keep /tmp/newsletter-demo
    """
    logs.configure_beside_a_person("info")
    tell = _Json() if as_json else _Words()
    with stop_on_signals() as stop, _place(keep) as folder, raised(folder) as stage:
        with worker(stage, digests=False) as check:
            held = _walk(Walk(stage, check, stop, tell.line), tell, stop)
        if held and not once and not stop.is_set():
            tell.up(stage)
            with worker(stage, digests=True) as check:
                while not stop.wait(1):
                    check()
    if not held:
        ctx.exit(1)


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    # SQLite may take its last files away while they are being removed.
    with tempfile.TemporaryDirectory(
        prefix="newsletter-demo-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _walk(walk: Walk, tell: _Words | _Json, stop: threading.Event) -> bool:
    """Do all steps, saying each; False at the first that does not hold, or when stopped."""
    for name, step in walk.steps():
        if stop.is_set():
            click.echo("Stopped.", err=True)
            return False
        try:
            words, url = step()
        except Exception as error:
            failure = foreseeable(error)
            tell.failed(name, failure.message if failure else repr(error), walk.home)
            if failure is None:
                raise
            return False
        tell.held(name, words, url)
    return True


class _Words:
    """What a person reads: a line for each step, with the address where it can be seen."""

    def held(self, _name: str, words: str, url: str) -> None:
        click.echo(f"{click.style('ok', fg='green', bold=True)}   {words}: {url}")

    def failed(self, name: str, words: str, url: str) -> None:
        mark = click.style("FAILED", fg="red", bold=True)
        click.echo(f"{mark} at the step {name}: {output.clean(words)} {url}")

    def line(self, text: str) -> None:
        click.echo(text)

    def up(self, stage: Stage) -> None:
        click.echo(
            f"""
Everything held, and stays up. Look around:

  the sign-up form, preferences, archive   {stage.base_url}/
  the mailbox: every mail that was sent    {stage.mailbox_url}/
  the website that the articles are from   {stage.site.url}/

Sign up yourself with any address: the mail comes into the mailbox. Or take the command line:

  newsletter --config {stage.folder / "newsletter.toml"} status

Ctrl-C ends it."""
        )


class _Json:
    """What a program reads: one JSON object a line for each step, and nothing else."""

    def held(self, name: str, _words: str, url: str) -> None:
        output.emit_json({"step": name, "ok": True, "url": url})

    def failed(self, name: str, words: str, url: str) -> None:
        output.emit_json({"step": name, "ok": False, "url": url, "error": words})

    def line(self, text: str) -> None:
        """Lines are for people."""

    def up(self, stage: Stage) -> None:
        """Programs know from the last step."""
