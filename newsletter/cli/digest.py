"""`newsletter digest`: articles composed into one mailing, looked at, approved."""

from __future__ import annotations

from typing import Any, get_args

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.naming import digest_argument, find
from newsletter.cli.preview import preview
from newsletter.cli.signing import signed
from newsletter.cli.testmail import test
from newsletter.digests import approve as approving
from newsletter.digests import compose
from newsletter.sending import control
from newsletter.store.listing import digests
from newsletter.subscriptions import publications


@click.group(cls=NounGroup)
def digest() -> None:
    """Articles composed into one mailing: draft, approved, sent."""


digest.add_command(preview)
digest.add_command(test)


@digest.command()
@click.argument("article_ids", metavar="ARTICLE...", nargs=-1, required=True, type=int)
@click.option("--publication", "slug", required=True, metavar="SLUG", help="Whose readers get it.")
@click.option("--subject", required=True, metavar="TEXT", help="The subject of the mail.")
@click.option("--intro", metavar="TEXT", help="Markdown that stands before the articles.")
@click.option(
    "--length",
    type=click.Choice(get_args(compose.Length)),
    default="auto",
    show_default=True,
    help="How much of each article: all of it, or its summary and a link. auto: all of a single "
    "article and of those without a url.",
)
@output.json_option
def new(
    *,
    article_ids: tuple[int, ...],
    slug: str,
    subject: str,
    intro: str | None,
    length: str,
    as_json: bool,
) -> None:
    """Compose a draft of the articles with these ids, in this order. Its id is the last word.

    \b
    newsletter digest new --publication field-notes --subject 'The meadow in March' 3 5 4
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        made = compose.new(
            session,
            publications.find(session, slug),
            subject=subject,
            intro=intro,
            article_ids=article_ids,
            length=length,
            now=installation.now(),
        )
        record = _record(made)
    if as_json:
        output.emit_json(record)
    else:
        click.echo(f"Look at it: newsletter digest preview {made.id} --open")
        click.echo(f"Composed the draft {made.id}")


@digest.command("list")
@click.option("--publication", "slug", metavar="SLUG", help="Only of this publication.")
@output.json_option
def list_(*, slug: str | None, as_json: bool) -> None:
    """List the digests, the newest first.

    \b
    newsletter digest list --json
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        wanted = publications.find(session, slug).id if slug else None
        output.emit_table(
            [_record(each) for each in digests(session, wanted)],
            ["id", "publication", "subject", "state", "created_at", "send_at", "sent_at"],
            as_json=as_json,
            nothing="There is no digest yet: newsletter digest new --help",
        )


@digest.command()
@digest_argument
@output.json_option
def show(*, digest_id: int, as_json: bool) -> None:
    """Show a digest: its state, its times, its articles.

    \b
    newsletter digest show 7
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        found = find(session, digest_id)
        content = compose.content(session, found)
        titles = [{"title": each.title, "url": each.url} for each in content.pieces]
        record = _record(found)
        archive = f"{here.settings.base_url}/{record['publication']}/archive/{found.public_id}"
    record["archive_url"] = archive if record["state"] == store.DigestState.SENT else None
    if as_json:
        output.emit_json(record | {"articles": titles})
        return
    output.emit_record(record, as_json=False)
    click.echo()
    output.emit_table(titles, ["title", "url"], as_json=False, nothing="No article.")


@digest.command()
@digest_argument
def approve(*, digest_id: int) -> None:
    """Freeze a draft as it is now: neither articles nor templates change it any more.

    Its mails will carry the consent log's checkpoint of this moment, so that every mailbox is a
    witness of the log.

    \b
    newsletter digest approve 7
    """
    with installation.opened() as here:
        note = signed(here)
        with store.transaction(here.engine) as session:
            base_url, now = here.settings.base_url, installation.now()
            found = find(session, digest_id)
            approving.approve(session, found, base_url=base_url, now=now, checkpoint=note)
    click.echo(f"Digest {digest_id} is approved; send it with: newsletter send {digest_id}")


@digest.command()
@digest_argument
def cancel(*, digest_id: int) -> None:
    """End a digest for good. What was handed over stays handed over, the rest is skipped.

    \b
    newsletter digest cancel 7
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        skipped = control.cancel(session, find(session, digest_id), installation.now())
    click.echo(f"Digest {digest_id} is cancelled; mails skipped: {skipped}")


def _record(each: store.Digest) -> dict[str, Any]:
    return {
        "id": each.id,
        "publication": each.publication.slug,
        "subject": each.subject,
        "intro": each.intro,
        "length": each.length,
        "state": each.state,
        "created_at": each.created_at,
        "approved_at": each.approved_at,
        "send_at": each.send_at,
        "sent_at": each.sent_at,
    }
