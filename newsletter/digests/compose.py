"""Composing: articles, a subject and an introduction become one digest, and what it will say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy.orm import Session

from newsletter.digests import articles, body, markdown
from newsletter.digests.content import Content, Piece
from newsletter.errors import BadInput
from newsletter.store import Article, Digest, DigestArticle, Publication

# How much of each article stands in the letter; "auto" gives the whole of a single article and of
# one that can be read nowhere else.
Length = Literal["auto", "full", "teaser"]
MAX_SUBJECT = 200
_PREHEADER = 140


def new(
    session: Session,
    publication: Publication,
    *,
    subject: str,
    intro: str | None,
    article_ids: Sequence[int],
    length: str = "auto",
    now: datetime,
) -> Digest:
    """A draft of a digest with these articles in this order.

    intro: Markdown that stands before the articles. length: one of `Length`.

    Raises BadInput with the field, NotFound for an article that does not exist.
    """
    subject = " ".join("".join(c if c.isprintable() else " " for c in subject).split())
    if not subject:
        raise BadInput("A digest needs a subject.", "subject")
    if len(subject) > MAX_SUBJECT:
        raise BadInput(f"The subject is longer than {MAX_SUBJECT} characters.", "subject")
    if length not in get_args(Length):
        raise BadInput(f"The length is one of {', '.join(get_args(Length))}.", "length")
    if len(set(article_ids)) != len(article_ids):
        raise BadInput("An article is named twice.", "articles")
    intro = (intro or "").strip() or None
    markdown.html(intro or "", base_url=None)
    digest = Digest(
        publication=publication, subject=subject, intro=intro, length=length, created_at=now
    )
    for place, number in enumerate(article_ids):
        article = articles.find(session, number)
        digest.entries.append(DigestArticle(place=place, article=article))
    session.add(digest)
    session.flush()
    return digest


def content(_session: Session, digest: Digest) -> Content:
    """What `digest` says: as it was approved, or for a draft as its articles are now."""
    if digest.frozen is not None:
        return Content.from_json(digest.frozen["content"])
    chosen = [entry.article for entry in digest.entries]
    return Content(
        subject=digest.subject,
        preheader=_preheader(digest, chosen),
        intro_html=markdown.html(digest.intro or "", base_url=None),
        intro_text=markdown.text(digest.intro or "", base_url=None),
        pieces=tuple(
            _piece(article, full=_is_full(article, digest.length, single=len(chosen) == 1))
            for article in chosen
        ),
        language=digest.publication.language,
    )


def _is_full(article: Article, length: str, *, single: bool) -> bool:
    if length == "auto":
        return single or article.url is None
    return length == "full"


def _preheader(digest: Digest, chosen: Sequence[Article]) -> str:
    line = markdown.opening(digest.intro or "", limit=_PREHEADER)
    return line or (body.opening(chosen[0], limit=_PREHEADER) if chosen else "")


def _piece(article: Article, *, full: bool) -> Piece:
    summary = body.summary(article)
    whole = body.whole(article) if full else body.Written("", "")
    # A text that has the picture in it does not need it once more above.
    is_shown = body.has_picture(whole, article.image)
    return Piece(
        title=article.title,
        url=article.url,
        author=article.author,
        published=article.published_at.date().isoformat() if article.published_at else None,
        summary_html=summary.html,
        summary_text=summary.text,
        body_html=whole.html,
        body_text=whole.text,
        image=None if is_shown else article.image,
        image_alt=article.image_alt or "",
        image_credit=article.image_credit,
        image_width=article.image_width,
        image_height=article.image_height,
        tags=tuple(article.tags),
        full=full,
    )
