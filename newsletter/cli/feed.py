"""`newsletter feed`: articles that come by themselves, from RSS, Atom and JSON feeds."""

from __future__ import annotations

from typing import Any

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.naming import ID
from newsletter.digests import feeds
from newsletter.subscriptions import publications
from newsletter.worker import feeding

_FIELDS = (
    "id",
    "title",
    "url",
    "site_url",
    "created_at",
    "checked_at",
    "changed_at",
    "due_at",
    "failures",
    "problem",
)


@click.group(cls=NounGroup)
def feed() -> None:
    """Articles that come by themselves: RSS, Atom and JSON feeds."""


@feed.command()
@click.argument("url")
@click.option("--publication", "slug", required=True, metavar="SLUG", help="Whom it is read for.")
@output.json_option
def add(*, url: str, slug: str, as_json: bool) -> None:
    """Read a feed from now on, and keep its articles at once. Its id is the last word.

    URL may be a page that names its feeds: the first of them is taken. What comes back is looked
    at every hour by the worker, or by `feed fetch`.

    \b
    newsletter feed add https://example.org/feed.xml --publication field-notes
    """
    url = url if "://" in url else f"https://{url}"
    with installation.opened() as here:
        with store.reading(here.engine) as session:
            publications.find(session, slug)
        found, answer = feeding.first(url, here.settings)
        with store.transaction(here.engine) as session:
            now = installation.now()
            made = feeds.add(session, publications.find(session, slug), found, now=now)
            tally = feeds.take(session, made, answer, now=now, every=here.feed_every)
            entries = answer.reading.entries if answer.reading else ()
            undated = sum(each.article.published is None for each in entries)
            numbers = {"entries": len(entries), "undated": undated}
            record = _record(made) | {"tally": tally.as_dict(), **numbers}
    if as_json:
        output.emit_json(record)
        return
    brought = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    if undated:
        brought += f", {undated} of them without a date"
    click.echo(f"{output.clean(made.title or made.url)}: {brought}; {_told(tally)}")
    if undated:
        click.echo(
            "Note: whether an entry without a date is new nobody knows: of those that are there "
            "already, plans and --since with a day choose none. Name their articles in newsletter "
            "digest new; newsletter article list shows them.",
            err=True,
        )
    click.echo(f"Added the feed {made.id}")


@feed.command()
@click.argument("feed_ids", metavar="[ID]...", nargs=-1, type=ID)
@click.option("--all", "is_all", is_flag=True, help="All feeds, also those that are not due yet.")
@output.json_option
@click.pass_context
def fetch(ctx: click.Context, *, feed_ids: tuple[int, ...], is_all: bool, as_json: bool) -> None:
    """Ask the feeds that are due, or those named, for what is new. Fails when one of them does.

    \b
    newsletter feed fetch
    newsletter feed fetch --all
    """
    with installation.opened() as here:

        def write() -> Any:
            return store.transaction(here.engine)

        with write() as session:
            if is_all:
                chosen = feeds.all_of(session)
            elif feed_ids:
                chosen = [feeds.find(session, each) for each in dict.fromkeys(feed_ids)]
            else:
                chosen = feeds.due(session, installation.now(), every=here.feed_every)
        records: list[dict[str, Any]] = []
        names = {each.id: each.title or each.url for each in chosen}
        for look in feeding.look_at(chosen, write, here.settings, installation.now):
            tally = look.tally.as_dict() if look.tally else None
            records.append({"id": look.feed_id, "tally": tally, "problem": look.problem or None})
            if not as_json:
                told = _told(look.tally) if look.tally else f"failed: {look.problem}"
                click.echo(output.clean(f"{look.feed_id} {names[look.feed_id]}: {told}"))
    if as_json:
        output.emit_json(sorted(records, key=lambda each: each["id"]))
    elif not records:
        click.echo("No feed is due: newsletter feed fetch --all asks them all.", err=True)
    if any(each["problem"] for each in records):
        ctx.exit(1)


@feed.command("list")
@click.option("--publication", "slug", metavar="SLUG", help="Only of this publication.")
@output.json_option
def list_(*, slug: str | None, as_json: bool) -> None:
    """List the feeds, with when they are asked next and what went wrong.

    \b
    newsletter feed list
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        wanted = publications.find(session, slug).id if slug else None
        output.emit_table(
            [_record(each) for each in feeds.all_of(session, wanted)],
            ["id", "publication", "title", "url", "changed_at", "due_at", "problem"],
            as_json=as_json,
            nothing="There is no feed yet: newsletter feed add --help",
        )


@feed.command()
@click.argument("feed_id", metavar="ID", type=ID)
def remove(*, feed_id: int) -> None:
    """Do not read a feed any more. The articles that it brought stay.

    \b
    newsletter feed remove 3
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        feeds.remove(session, feed_id)
    click.echo(f"Removed the feed {feed_id}")


def _record(each: store.Feed) -> dict[str, Any]:
    record = {name: getattr(each, name) for name in _FIELDS}
    return {"id": record.pop("id"), "publication": each.publication.slug, **record}


def _told(tally: feeds.Tally) -> str:
    """What a look brought, in words; what is nought is not named."""
    numbers = tally.as_dict()
    parts = [f"{number} {name}" for name, number in numbers.items() if number and name != "same"]
    return ", ".join(parts) or "nothing new"
