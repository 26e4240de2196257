"""`newsletter article`: what there is to read, from files of Markdown and from the web."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.cli.naming import ID
from newsletter.digests import articles, markdown
from newsletter.errors import BadInput

if TYPE_CHECKING:
    from newsletter.config import Settings
    from newsletter.digests.articles import ArticleInput

# Addresses that a note names.
_SHOWN = 3
_FIELDS = (
    "id",
    "title",
    "url",
    "author",
    "published_at",
    "summary",
    "image",
    "image_width",
    "image_height",
    "image_alt",
    "image_credit",
    "tags",
    "site",
    "language",
    "origin",
    "feed_id",
    "body_format",
    "created_at",
    "updated_at",
)


@click.group(cls=NounGroup)
def article() -> None:
    """What there is to read: Markdown files, web pages, and what feeds bring."""


@article.command()
@click.argument("sources", metavar="FILE_OR_URL...", nargs=-1, required=True)
@output.json_option
def add(*, sources: tuple[str, ...], as_json: bool) -> None:
    """Add articles, or update those that have the same url. All of them, or with a fault none.

    A file is Markdown with a front matter between lines of --- (YAML) or +++ (TOML): title, and
    any of url, published, author, summary, image, image_width, image_height, image_alt,
    image_credit, tags, site, language. An https address is such a text, or a web page: that one
    becomes a teaser that links to it, out of what it says of itself. The id of each article ends
    its line.

    \b
    newsletter article add harvest.md notes/*.md https://example.org/2026/swifts
    newsletter digest new --publication field-notes --subject Harvest \\
        "$(newsletter article add harvest.md | awk '{print $NF}')"
    """
    with installation.opened() as here:
        read = [_read(source, here.settings) for source in sources]
        with store.transaction(here.engine) as session:
            now = installation.now()
            saved = [articles.save(session, each, now=now) for each in read]
    if as_json:
        output.emit_json(
            [{"id": each.id, "result": what, "title": each.title} for each, what in saved]
        )
        return
    for each, what in saved:
        _say_lost(each)
        click.echo(f"{what}: {output.clean(each.title)} {each.id}")


@article.command("list")
@output.json_option
def list_(*, as_json: bool) -> None:
    """List the articles, the newest first.

    \b
    newsletter article list
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        output.emit_table(
            (_record(each) for each in articles.all_of(session)),
            ["id", "title", "author", "published_at", "url"],
            as_json=as_json,
            nothing="There is no article yet: newsletter article add --help",
        )


@article.command()
@click.argument("article_id", metavar="ID", type=ID)
@output.json_option
def show(*, article_id: int, as_json: bool) -> None:
    """Show an article as it is kept, with its Markdown.

    \b
    newsletter article show 3
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        found = articles.find(session, article_id)
        if as_json:
            output.emit_json(_record(found) | {"body": found.body})
            return
        output.emit_record(_record(found), as_json=False)
        click.echo()
        click.echo(output.clean_lines(found.body))


@article.command()
@click.argument("article_id", metavar="ID", type=ID)
def remove(*, article_id: int) -> None:
    """Remove an article. A draft that has it must lose it first; what was sent stays as it is.

    \b
    newsletter article remove 3
    """
    with installation.opened() as here, store.transaction(here.engine) as session:
        articles.remove(session, article_id)
    click.echo(f"Removed the article {article_id}")


def _read(source: str, settings: Settings) -> ArticleInput:
    # RFC 3986 §3.1: the case of a scheme is no matter.
    if source.lower().startswith(("https://", "http://")):
        return _from_web(source, settings)
    return read_file(Path(source))


def read_file(path: Path) -> ArticleInput:
    """The article in a file of Markdown.

    Raises BadInput that names the file and what to mend in it, OSError when it cannot be read.
    """
    return _from_file(path.read_bytes(), str(path))


def _from_file(body: bytes, origin: str) -> ArticleInput:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{origin} is not UTF-8 text.") from error
    return articles.read(text, origin=origin)


def _from_web(url: str, settings: Settings) -> ArticleInput:
    from newsletter.digests import page  # noqa: PLC0415  # files need neither
    from newsletter.fetch import Reach, get  # noqa: PLC0415

    found = get(url, reach=Reach.of(settings))
    kind = found.content_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return page.read(found.body, found.content_type, url=found.url)
    if kind.endswith(("xml", "json")):
        raise BadInput(f"{url} is no page but {kind}; for a feed: newsletter feed add")
    return _from_file(found.body, url)


def _say_lost(each: store.Article) -> None:
    """That addresses in an article are relative to nothing: its links and pictures are left out."""
    if each.url is not None or each.body_format != store.BodyFormat.MARKDOWN:
        return
    lost = markdown.relative(each.body)
    if lost:
        some = ", ".join(lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
        click.echo(
            f"Note: {output.clean(each.title)}: left out, since the article has no url that these "
            f"are relative to: {output.clean(some)}. Give it one in its front matter.",
            err=True,
        )


def _record(each: store.Article) -> dict[str, Any]:
    return {name: getattr(each, name) for name in _FIELDS}
