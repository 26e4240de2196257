"""`newsletter digest preview`: a digest as a reader would get it, on paper or in a browser."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.naming import digest_argument, find
from newsletter.cli.rereading import Rereading
from newsletter.consent import checkpoint
from newsletter.digests import check
from newsletter.digests import preview as story
from newsletter.digests.check import Built
from newsletter.sending import specimen
from newsletter.sending.origin import Origin
from newsletter.web import make_server, run_until_stopped
from newsletter.web.preview import address_of, create_app

_HOST = "127.0.0.1"


@click.command()
@digest_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write digest.html, digest.txt and digest.eml into this folder.",
)
@click.option(
    "--open",
    "serves",
    is_flag=True,
    help="Show it in the browser, with switches, until Ctrl-C; it is shown anew when it changes.",
)
@click.option(
    "--watch",
    "watched",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="With --open: take in the draft's articles again when these Markdown files change, as "
    "article add does. A folder means all files in it.",
)
def preview(*, digest_id: int, out: Path | None, serves: bool, watched: Sequence[Path]) -> None:
    """Show a digest as its readers will see it; a draft as it is now. Nothing is sent.

    Without an option the text part is printed. --open serves it on this machine alone, at an
    address that nobody can guess: light and dark, on a phone and a desktop, with pictures blocked,
    in each theme, as any reader, as text, source and headers, and with what digest check finds.

    \b
    newsletter digest preview 7
    newsletter digest preview 7 --open --watch articles/
    newsletter digest preview 7 --out /tmp/seven
    """
    if watched and not serves:
        raise click.UsageError("--watch goes with --open.")
    with installation.opened() as here:
        raw = _mail(here, digest_id)
        if out is not None:
            click.echo(f"Written: {_write(out, raw)}")
        if serves:
            _serve(here, digest_id, watched)
        elif out is None:
            built = check.read(raw)
            click.echo(f"Subject: {output.clean(built.subject)}\n")
            click.echo(output.clean_lines(built.text))


def _mail(here: installation.Installation, digest_id: int) -> bytes:
    with store.reading(here.engine) as session:
        digest = find(session, digest_id)
        frozen = story.frozen(
            session,
            digest,
            base_url=here.settings.base_url,
            checkpoint=checkpoint.newest(session),
            templates_folder=here.settings.templates_folder,
        )
        return specimen.mail(digest, frozen, Origin.of(here.settings), at=installation.now())


def _write(folder: Path, raw: bytes) -> Path:
    built: Built = check.read(raw)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "digest.html"
    page.write_text(built.html, encoding="utf-8")
    (folder / "digest.txt").write_text(built.text, encoding="utf-8")
    (folder / "digest.eml").write_bytes(raw)
    return page


def _serve(here: installation.Installation, digest_id: int, watched: Sequence[Path]) -> None:
    rereading = Rereading(here, digest_id, watched) if watched else None
    app = create_app(here.settings, here.engine, digest_id)
    server = make_server(app, _HOST, 0, threads=4)
    address = address_of(app, server.url)
    click.echo(f"Digest {digest_id} is shown here alone, until Ctrl-C: {address}", err=True)
    with _beside(rereading):
        # A browser in the terminal would keep the server from answering it.
        threading.Thread(target=_open, args=(address,), daemon=True, name="browser").start()
        run_until_stopped(server)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        click.echo("No browser here; open the address yourself.", err=True)


@contextmanager
def _beside(rereading: Rereading | None) -> Iterator[None]:
    """Let the files be looked at while the block runs."""
    if rereading is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=rereading.run, args=(ended,), name="rereading")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
