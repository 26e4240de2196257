"""The options that say what is in a digest; `digest new`, `digest edit` and `plan` share them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

import click
from sqlalchemy.orm import Session

from newsletter.cli.naming import ID
from newsletter.digests import choose, compose, feeds
from newsletter.digests.arrange import AUTO, NONE, Arrangement
from newsletter.errors import BadInput
from newsletter.store import Article, Publication

LAST = "last"
Command = TypeVar("Command", bound=Callable[..., None])

_Ids = tuple[int, ...]


def _ids(ctx: click.Context, param: click.Parameter, value: str | None) -> _Ids:
    """Articles by their numbers, in their order: 3,5,4."""
    parts = [part for part in re.split(r"[\s,]+", value or "") if part]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of articles such as 3,5,4", ctx, param)
    return tuple(ID(part, param, ctx) for part in parts)


def _sections(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, str], ...]
) -> list[tuple[str, _Ids]]:
    return [(heading, _ids(ctx, param, ids)) for heading, ids in value]


def _lead(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value in (AUTO, NONE):
        return value
    if not (value.isascii() and value.isdecimal()):
        raise click.BadParameter(f"{value!r} is no article's id, nor {AUTO} or {NONE}", ctx, param)
    return int(ID(value, param, ctx))


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | str | None:
    if value is None or value == LAST:
        return value
    try:
        return datetime.fromisoformat(value.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is neither {LAST!r} nor a day such as 2026-03-01", ctx, param
        ) from error


def words(command: Command) -> Command:
    """The options of what stands around the articles."""
    for name, text in reversed(
        (
            ("--intro", "Markdown that stands before the articles."),
            ("--outro", "Markdown that stands after them."),
        )
    ):
        command = click.option(name, metavar="TEXT", help=text)(command)
    return command


def arrangement(command: Command) -> Command:
    """The options of order and weight. As arguments: sections, lead, full, teaser."""
    options = (
        click.option(
            "--section",
            "sections",
            type=(str, str),
            callback=_sections,
            metavar="HEADING IDS",
            multiple=True,
            help="Put these articles under a heading, such as --section Recipes 4,7.",
        ),
        click.option(
            "--lead",
            callback=_lead,
            metavar="ID",
            help="The article that comes first and large; auto: the first one with a picture; "
            "none.",
        ),
        click.option("--full", callback=_ids, metavar="IDS", help="Show all of these articles."),
        click.option(
            "--teaser",
            callback=_ids,
            metavar="IDS",
            help="Show the summaries of these articles, and a link.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def filters(command: Command) -> Command:
    """The options that narrow what is taken. As arguments: tags, feeds, most, grouping."""
    options = (
        click.option(
            "--tag", "tags", metavar="TAG", multiple=True, help="Only articles with this tag."
        ),
        click.option(
            "--feed",
            "feeds",
            type=ID,
            metavar="ID",
            multiple=True,
            help="Only articles that this feed brought.",
        ),
        click.option(
            "--max",
            "most",
            type=click.IntRange(1),
            metavar="N",
            help=f"How many at most, the newest ({choose.MOST}).",
        ),
        click.option(
            "--group-by",
            "grouping",
            type=click.Choice([*get_args(choose.Grouping), NONE]),
            help="Make a section of each feed, or of each tag.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


since_option = click.option(
    "--since",
    callback=_since,
    metavar="last|DAY",
    help="What came in since the last digest, or since a day, and stood in no other one.",
)


@dataclass(frozen=True)
class Selection:
    """What is to be taken beside the articles that are named. As the options give it."""

    since: datetime | str | None = None
    tags: Sequence[str] = ()
    feeds: Sequence[int] = ()
    most: int | None = None
    grouping: str | None = None

    def __bool__(self) -> bool:
        return bool(self.since or self.tags or self.feeds or self.most)

    def find(
        self, session: Session, publication: Publication, *, besides: int | None = None
    ) -> choose.Chosen:
        """The articles. besides: the digest that they are for.

        Raises BadInput when there is none, NotFound for a feed that there is not.
        """
        if not self:
            return choose.Chosen([], 0)
        for number in self.feeds:
            feeds.find(session, number)
        since = self.since
        if since == LAST:
            since = choose.last_digest_at(session, publication, besides=besides)
        found = choose.find(
            session,
            publication,
            choose.Wanted(
                only_new=self.since is not None,
                since=since if isinstance(since, datetime) else None,
                tags=self.tags,
                feeds=self.feeds,
                most=self.most or choose.MOST,
            ),
            besides=besides,
        )
        if not found.articles:
            raise BadInput(
                "There is no such article, or none that is new. See: newsletter article list"
            )
        return found

    def sections(
        self, session: Session, publication: Publication, articles: Sequence[Article]
    ) -> list[tuple[str, list[int]]]:
        """The sections that --group-by makes of these articles."""
        if self.grouping is None or self.grouping == NONE:
            return []
        by: Any = self.grouping
        return choose.grouped(session, publication, articles, by, tags=self.tags)


length_option = click.option(
    "--length",
    type=click.Choice(get_args(compose.Length)),
    help="How much of each article: all of it, or its summary and a link. auto: all of a single "
    "article and of those without a url.",
)


def arranged(
    grouped: Sequence[tuple[str, Sequence[int]]],
    sections: Sequence[tuple[str, _Ids]],
    lead: int | str | None,
    full: _Ids,
    teaser: _Ids,
) -> Arrangement:
    """What the options say; a section that was named goes before one that is made."""
    named = {number for _, numbers in sections for number in numbers}
    made = [(heading, [n for n in numbers if n not in named]) for heading, numbers in grouped]
    return Arrangement(sections=[*sections, *made], lead=lead, full=full, teaser=teaser)
