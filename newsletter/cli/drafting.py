"""`newsletter digest new` and `digest edit`: a draft is composed, and changed."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy.orm import Session

from newsletter import store
from newsletter.cli import composing, installation, output
from newsletter.cli.composing import Selection, arranged
from newsletter.cli.naming import ID, digest_argument, find, record
from newsletter.digests import articles, choose, compose
from newsletter.subscriptions import publications

_subject = click.option(
    "--subject", metavar="TEXT", help="The subject of the mail; without it, made of the titles."
)
_preheader = click.option(
    "--preheader",
    metavar="TEXT",
    help="The line that mail programs show beside the subject; without it, one is made.",
)


@click.command()
@click.argument("article_ids", metavar="[ARTICLE]...", nargs=-1, type=ID)
@click.option("--publication", "slug", required=True, metavar="SLUG", help="Whose readers get it.")
@_subject
@_preheader
@composing.words
@composing.length_option
@composing.arrangement
@composing.since_option
@composing.filters
@output.json_option
def new(*, article_ids: tuple[int, ...], slug: str, as_json: bool, **options: Any) -> None:
    """Compose a draft: of these articles in this order, or of what is new. Its id is the last word.

    --since, --tag, --feed and --max choose articles by themselves, the newest first, behind those
    that are named. The lead comes first, then what has no heading, then the sections in the order
    in which they are named.

    \b
    newsletter digest new --publication field-notes --subject 'The meadow in March' 3 5 4
    newsletter digest new --publication field-notes --since last --max 10 --lead auto
    newsletter digest new --publication field-notes --lead 3 3 5 \\
        --section 'From the kitchen' 4,7 --section 'Elsewhere' 8 --full 4
    """
    selection = _selection(options)
    if not (article_ids or selection or any(numbers for _, numbers in options["sections"])):
        raise click.UsageError("Name articles, or let them be chosen: --since last")
    with installation.opened() as here, store.transaction(here.engine) as session:
        publication = publications.find(session, slug)
        found = selection.find(session, publication)
        numbers = [*dict.fromkeys((*article_ids, *(each.id for each in found.articles)))]
        made = compose.new(
            session,
            publication,
            article_ids=numbers if selection else article_ids,
            subject=options["subject"],
            preheader=options["preheader"],
            intro=options["intro"],
            outro=options["outro"],
            length=options["length"] or "auto",
            arrangement=_arrangement(session, publication, selection, numbers, options),
            now=installation.now(),
        )
        told = _told(session, made, found.left)
    if as_json:
        output.emit_json(record(made))
        return
    _say(told)
    click.echo(f"Look at it: newsletter digest preview {made.id} --open")
    click.echo(f"Composed the draft {made.id}")


@click.command()
@digest_argument
@click.argument("article_ids", metavar="[ARTICLE]...", nargs=-1, type=ID)
@_subject
@_preheader
@composing.words
@composing.length_option
@composing.arrangement
@composing.since_option
@composing.filters
@output.json_option
def edit(*, digest_id: int, article_ids: tuple[int, ...], as_json: bool, **options: Any) -> None:
    """Change a draft; what is not named stays as it is.

    Articles that are named are all that it has from now on, in this order; those that --section
    names or --since, --tag and --feed choose come to those that it has. An empty heading takes
    articles out of their section, an empty text an intro or an outro away, and an empty subject or
    preheader is made of the articles again.

    \b
    newsletter digest edit 7 5 3 4 --subject 'The meadow in spring'
    newsletter digest edit 7 --section Recipes 4,9 --lead 5 --outro 'Until next week!'
    newsletter digest edit 7 --since last
    """
    selection = _selection(options)
    with installation.opened() as here, store.transaction(here.engine) as session:
        digest = find(session, digest_id)
        publication = digest.publication
        found = selection.find(session, publication, besides=digest.id)
        more = [each.id for each in found.articles]
        there = article_ids or tuple(entry.article_id for entry in digest.entries)
        arrangement = _arrangement(session, publication, selection, [*there, *more], options)
        given = {
            name: options[name] for name in ("subject", "preheader", "intro", "outro", "length")
        }
        if not (article_ids or more or arrangement) and set(given.values()) == {None}:
            raise click.UsageError("Name what to change, such as --subject.")
        compose.edit(
            session,
            digest,
            article_ids=article_ids or None,
            more=more,
            arrangement=arrangement,
            **given,
        )
        told = _told(session, digest, found.left)
    if as_json:
        output.emit_json(record(digest))
        return
    _say(told)
    click.echo(f"Changed the draft {digest_id}")


def _selection(options: dict[str, Any]) -> Selection:
    return Selection(
        **{name: options[name] for name in ("since", "tags", "feeds", "most", "grouping")}
    )


def _arrangement(
    session: Session,
    publication: store.Publication,
    selection: Selection,
    numbers: list[int],
    options: dict[str, Any],
) -> compose.Arrangement:
    grouped = []
    if selection.grouping:
        rows = [articles.find(session, number) for number in numbers]
        grouped = selection.sections(session, publication, rows)
    return arranged(
        grouped, options["sections"], options["lead"], options["full"], options["teaser"]
    )


def _told(session: Session, digest: store.Digest, left: int) -> list[str]:
    """What a person should know of the draft: its subject, and what may surprise."""
    lines = [
        f"Note: article {article} is in digest {other} too; some readers would get it twice."
        for article, other in sorted(choose.stood_before(session, digest).items())
    ]
    if left:
        lines.append(f"Note: {left} more would fit: --max takes more.")
    return [*lines, f"Subject: {output.clean(digest.subject)}"]


def _say(lines: list[str]) -> None:
    for line in lines:
        click.echo(line, err=line.startswith("Note:"))
