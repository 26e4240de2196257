"""What an article says, whichever format its body is in: as HTML for the letter, and as text."""

from __future__ import annotations

import html
from dataclasses import dataclass

from newsletter.digests import markdown, markup, plaintext
from newsletter.digests import summary as summaries
from newsletter.store import Article, BodyFormat


@dataclass(frozen=True)
class Written:
    """The same twice. html: cleaned, safe as it is. text: wrapped, links numbered. Or both ""."""

    html: str
    text: str


def whole(article: Article) -> Written:
    """All that `article` says; its summary when it is a summary and nothing else.

    Raises BadInput for a body that cannot be shown, which is one that nobody checked.
    """
    if article.body_format == BodyFormat.HTML:
        written = Written(markup.html(article.body), markup.text(article.body))
    else:
        written = Written(
            markdown.html(article.body, base_url=article.url),
            markdown.text(article.body, base_url=article.url),
        )
    return written if written.html else summary(article)


def summary(article: Article) -> Written:
    """Its summary, or for want of one its first sentences. Raises BadInput as `whole` does."""
    if article.summary and article.body_format == BodyFormat.MARKDOWN:
        return Written(
            markdown.html(article.summary, base_url=article.url),
            markdown.text(article.summary, base_url=article.url),
        )
    line = article.summary or opening(article, limit=summaries.LENGTH)
    return Written(f"<p>{html.escape(line)}</p>" if line else "", plaintext.wrap(line))


def opening(article: Article, *, limit: int) -> str:
    """How it begins (its summary, if it has one), in one line of at most `limit` characters.

    Raises BadInput as `whole` does.
    """
    if article.body_format == BodyFormat.MARKDOWN:
        return markdown.opening(article.summary or article.body, limit=limit)
    if article.summary:
        return summaries.cut(article.summary, limit=limit)
    return markup.opening(article.body, limit=limit)
