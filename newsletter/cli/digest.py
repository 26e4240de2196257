"""`newsletter digest`: articles composed into one mailing, looked at, approved."""

from __future__ import annotations

from typing import Any

import click

from newsletter import store
from newsletter.cli import fitness, installation, output
from newsletter.cli.check import check
from newsletter.cli.drafting import edit, new
from newsletter.cli.group import NounGroup
from newsletter.cli.naming import digest_argument, find, record
from newsletter.cli.preview import preview
from newsletter.cli.signing import signed
from newsletter.cli.testmail import test
from newsletter.digests import approve as approving
from newsletter.digests import compose
from newsletter.digests.check import NotFit
from newsletter.digests.content import Piece
from newsletter.sending import control
from newsletter.store.listing import digests
from newsletter.subscriptions import publications


@click.group(cls=NounGroup)
def digest() -> None:
    """Articles composed into one mailing: draft, approved, sent."""


digest.add_command(new)
digest.add_command(edit)
digest.add_command(check)
digest.add_command(preview)
digest.add_command(test)


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
            [record(each) for each in digests(session, wanted)],
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
        ids: list[int | None] = [entry.article_id for entry in found.entries]
        if len(ids) != len(content.pieces):  # an article was removed since the approval
            ids = [None] * len(content.pieces)
        pieces = [_piece(*each) for each in zip(ids, content.pieces, strict=True)]
        told = record(found) | {"preheader": content.preheader}
        archive = f"{here.settings.base_url}/{told['publication']}/archive/{found.public_id}"
        is_draft = found.state == store.DigestState.DRAFT
        ideas = compose.suggested_subjects(found, installation.now()) if is_draft else []
    told["archive_url"] = archive if told["state"] == store.DigestState.SENT else None
    if as_json:
        output.emit_json(told | {"suggested_subjects": ideas, "articles": pieces})
        return
    output.emit_record(told, as_json=False)
    if others := [each for each in ideas if each != told["subject"]]:
        click.echo("\nOther subjects that would do:")
        output.emit_lines(f"  {output.clean(each)}" for each in others)
    click.echo()
    columns = ["id", "section", "title", "length", "lead", "url"]
    output.emit_table(pieces, columns, as_json=False, nothing="No article.")


@digest.command()
@digest_argument
@fitness.force_option
@output.json_option
def approve(*, digest_id: int, forced: frozenset[str], as_json: bool) -> None:
    """Freeze a draft as it is now: neither articles nor templates change it any more.

    Its mails will carry the consent log's checkpoint of this moment, so that every mailbox is a
    witness of the log. What `digest check` calls an error stops it, with exit code 8. --json
    tells what `digest check --json` does, and the digest's state.

    \b
    newsletter digest approve 7
    newsletter digest approve 7 --force html-cut
    """
    with installation.opened() as here:
        checked = _approve(here, digest_id, forced, as_json=as_json)
    if as_json:
        output.emit_json(fitness.record(checked) | {"state": store.DigestState.APPROVED})
    else:
        click.echo(f"Digest {digest_id} is approved; send it with: newsletter send {digest_id}")


def _approve(
    here: installation.Installation, digest_id: int, forced: frozenset[str], *, as_json: bool
) -> fitness.Checked:
    checked = None
    note = signed(here)
    try:
        with store.transaction(here.engine) as session:
            base_url, now = here.settings.base_url, installation.now()
            found = find(session, digest_id)
            approving.approve(
                session,
                found,
                base_url=base_url,
                now=now,
                checkpoint=note,
                templates_folder=here.settings.templates_folder,
            )
            # As it was frozen; an error takes the approval back with it.
            checked = fitness.look_at(here, session, found)
            if not as_json:
                fitness.show(checked)
            checked.demand(forced)
    except NotFit:
        if as_json and checked is not None:
            output.emit_json(fitness.record(checked) | {"state": store.DigestState.DRAFT})
        raise
    return checked


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


def _piece(article_id: int | None, each: Piece) -> dict[str, Any]:
    return {
        "id": article_id,
        "section": each.section,
        "title": each.title,
        "url": each.url,
        "length": "full" if each.full else "teaser",
        "lead": each.is_lead,
    }
