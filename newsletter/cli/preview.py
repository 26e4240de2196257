"""`newsletter digest preview`: a digest as an invented reader would get it."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.naming import digest_argument, find
from newsletter.consent import checkpoint
from newsletter.digests import preview as story
from newsletter.mail.letters import Letter
from newsletter.mail.message import Headers, build, list_id_of


@click.command()
@digest_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write digest.html, digest.txt and digest.eml into this folder.",
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def preview(*, digest_id: int, out: Path | None, show: bool) -> None:
    """Show a digest as its readers will see it; a draft as it is now. Nothing is sent.

    Without an option the text part is printed.

    \b
    newsletter digest preview 7
    newsletter digest preview 7 --out /tmp/seven --open
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        digest = find(session, digest_id)
        base_url = here.settings.base_url
        letter = story.letter(
            session,
            digest,
            base_url=base_url,
            templates_folder=here.settings.templates_folder,
        )
        note = digest.frozen.get("checkpoint") if digest.frozen else checkpoint.newest(session)
        raw = build(letter, _headers(digest, base_url, note))
    if out is None and not show:
        click.echo(f"Subject: {output.clean(letter.subject)}\n")
        click.echo(output.clean_lines(letter.text))
        return
    folder = out or Path(tempfile.mkdtemp(prefix="newsletter-preview-"))
    page = _write(folder, letter, raw)
    click.echo(f"Written: {page}")
    if show and not webbrowser.open(page.resolve().as_uri()):
        click.echo(f"No browser here; open {page} yourself.", err=True)


def _write(folder: Path, letter: Letter, raw: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "digest.html"
    page.write_text(letter.html, encoding="utf-8")
    (folder / "digest.txt").write_text(letter.text, encoding="utf-8")
    (folder / "digest.eml").write_bytes(raw)
    return page


def _headers(digest: store.Digest, base_url: str, note: str | None) -> Headers:
    """The headers that the mail to the invented reader would have."""
    publication = digest.publication
    host = urlsplit(base_url).hostname or ""
    return Headers(
        from_name=publication.from_name,
        from_address=publication.from_address,
        reply_to=publication.reply_to,
        to_address=story.ADDRESS,
        message_id=f"<preview.{digest.public_id}@{publication.from_address.rpartition('@')[2]}>",
        date=installation.now(),
        list_id=list_id_of(publication.slug, host),
        list_title=publication.title,
        list_unsubscribe_url=f"{base_url}/unsubscribe/preview",
        list_unsubscribe_mailto=publication.unsubscribe_mailto,
        auto_submitted=False,
        checkpoint=note,
        language=publication.language,
    )
