"""What looks like a place to be filled in, and stands so in the articles: nobody is to fill it in.

An article about templates shows it as code, and the summary that is made of it has no code marks.
What a feed or a page brings is the site's own words, which an operator cannot mend.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from newsletter.digests import markdown, rawhtml
from newsletter.errors import BadInput
from newsletter.store import Article, ArticleOrigin, BodyFormat

CODE = frozenset({"code", "kbd", "pre", "samp"})
UNFILLED = re.compile(
    r"\{\{.{0,200}?\}\}|\{%.{0,200}?%\}|<%.{0,200}?%>"  # Jinja, Liquid, Handlebars; ERB
    r"|\*\|[A-Z0-9_:]{1,60}\|\*"  # Mailchimp
    r"|%%[A-Za-z_]{1,60}%%|%recipient\.\w{1,60}%|\$\{[A-Za-z_.]{1,60}\}"
    r"|%\([a-z_]{1,60}\)[sd]"  # gettext
    r"|\bslot[0-9a-f]{32}\b"  # our own
)


@dataclass(frozen=True)
class Quoted:
    """Places that are meant to be read. code: they stand as code in an article of ours. foreign:
    they came so from a site. Both as `plain` writes them.
    """

    code: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()


def plain(place: str) -> str:
    """A place in one line, with single blanks."""
    return " ".join(place.split())


def of(articles: Iterable[Article], around: Iterable[str] = ()) -> Quoted:
    """What stands in these articles, and in `around`: the Markdown before them and after them.

    What stands there outside of code as well was forgotten, and is not quoted.
    """
    code: set[str] = set()
    words: set[str] = set()
    foreign: set[str] = set()
    for article in articles:
        if article.origin in (ArticleOrigin.FEED, ArticleOrigin.PAGE):
            foreign.update(_in(_said(article)))
        if _may_have_one(article):
            for source in _sources(article):
                code.update(_in(_texts(source, code=True)))
                words.update(_in(_texts(source, code=False)))
    for each in around:
        if UNFILLED.search(each):
            words.update(_in(_texts(markdown.html(each, base_url=None), code=False)))
    return Quoted(frozenset(code - words), frozenset(foreign))


def _may_have_one(article: Article) -> bool:
    # In HTML its signs may be written as references.
    told = f"{article.body} {article.summary or ''}"
    return any(each in told for each in ("{", "%", "|", "slot", "&#", "&l"))


def _in(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        # In one line, as a summary is.
        yield from (plain(found[0]) for found in UNFILLED.finditer(plain(text)))


def _said(article: Article) -> Iterator[str]:
    told = (article.title, article.summary, article.author, article.image_alt, article.image_credit)
    yield from filter(None, (*told, article.url, article.image, *article.tags))
    yield html.unescape(article.body)
    yield rawhtml.words(article.body)


def _sources(article: Article) -> list[str]:
    if article.body_format == BodyFormat.HTML:
        return [article.body]
    try:
        sources = (article.body, article.summary or "")
        return [markdown.html(each, base_url=article.url) for each in sources]
    except BadInput:
        return []


def _texts(source: str, *, code: bool) -> Iterator[str]:
    """The texts of `source` that are code, or those that are not."""
    depth = 0
    for kind, value, _ in rawhtml.split(source):
        if kind == "text":
            if code == bool(depth):
                yield value
        elif value in CODE:
            depth += 1 if kind == "open" else -1
