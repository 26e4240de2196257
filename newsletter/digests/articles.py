"""The articles that are kept. The same url is the same article: adding it again updates it."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter.digests.reading import ArticleInput, read
from newsletter.errors import NotFound, WrongState
from newsletter.store import (
    Article,
    ArticleOrigin,
    Digest,
    DigestArticle,
    DigestState,
    FeedArticle,
)

__all__ = [
    "ArticleInput",
    "Saved",
    "all_of",
    "changes",
    "find",
    "read",
    "remove",
    "rewrite",
    "save",
    "write",
]

Saved = Literal["new", "updated", "same"]


def save(session: Session, article: ArticleInput, *, now: datetime) -> tuple[Article, Saved]:
    """Keep `article`, as an operator's word. The same url updates the article that has it.

    Without a url, only an article that is the same in everything counts as the same. From now on
    no feed changes it. The teaser that a page gives leaves the text that a feed brought, and what
    only the feed knows. Raises WrongState when it would take the place of what an operator wrote.
    """
    row = _known(session, article)
    if row is None:
        row = Article(created_at=now, updated_at=now)
        write(row, article)
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:
            # Somebody else added this url a moment ago.
            row = _known(session, article)
            if row is None:
                raise
        else:
            return row, "new"
    if article.origin == ArticleOrigin.PAGE and row.origin == ArticleOrigin.FILE:
        raise WrongState(
            f"Article {row.id} has this url already, with a text of its own: a page would take its "
            "place. Remove that article first, if you mean it."
        )
    row.feed_id = None
    if article.origin == ArticleOrigin.PAGE and row.body:
        article = _beside_a_text(row, article)
    if not write(row, article):
        return row, "same"
    row.updated_at = now
    session.flush()
    return row, "updated"


def _beside_a_text(row: Article, page: ArticleInput) -> ArticleInput:
    """`page` with the text that `row` has, and with all of which the page says nothing."""
    silent = [name for name, value in asdict(page).items() if value in (None, "", ())]
    kept: dict[str, Any] = {name: getattr(row, name) for name in silent}
    if "tags" in kept:
        kept["tags"] = tuple(kept["tags"])
    # The sizes and the words of a picture are those of that picture.
    if page.image is not None and page.image != row.image:
        for name in ("image_width", "image_height", "image_alt", "image_credit"):
            kept.pop(name, None)
    return replace(page, **kept)


def _known(session: Session, article: ArticleInput) -> Article | None:
    if article.url is not None:
        return session.scalar(select(Article).where(Article.url == article.url))
    wanted = select(Article).where(Article.url.is_(None), Article.title == article.title)
    rows = session.scalars(wanted.order_by(Article.id))
    return next((row for row in rows if not changes(row, article)), None)


def _values(article: ArticleInput) -> dict[str, Any]:
    values = asdict(article)
    published: datetime | None = values.pop("published")
    offset = published.utcoffset() if published else None
    values["published_at"] = published.astimezone(UTC) if published else None
    values["published_offset"] = None if offset is None else offset // timedelta(minutes=1)
    return {**values, "tags": list(article.tags)}


def changes(row: Article, article: ArticleInput) -> dict[str, Any]:
    """What `article` says otherwise than `row`, by the columns' names."""
    return {name: v for name, v in _values(article).items() if getattr(row, name) != v}


def write(row: Article, article: ArticleInput) -> bool:
    """Make `row` say what `article` does; whether anything changed."""
    differences = changes(row, article)
    for name, value in differences.items():
        setattr(row, name, value)
    return bool(differences)


def rewrite(session: Session, article_id: int, article: ArticleInput, *, now: datetime) -> bool:
    """Make the article of that number what its file says now; whether anything changed.

    Raises NotFound, or WrongState when another article has its url.
    """
    row = find(session, article_id)
    try:
        with session.begin_nested():
            if not write(row, article):
                return False
            row.feed_id, row.updated_at = None, now
    except IntegrityError as error:
        raise WrongState(f"Another article has the url {article.url} already.") from error
    return True


def find(session: Session, article_id: int) -> Article:
    """The article of that number. Raises NotFound."""
    row = session.get(Article, article_id)
    if row is None:
        raise NotFound(f"There is no article {article_id}: newsletter article list shows them.")
    return row


def all_of(session: Session) -> list[Article]:
    """All articles, the newest first."""
    return list(session.scalars(select(Article).order_by(Article.id.desc())))


def remove(session: Session, article_id: int) -> None:
    """Forget an article; no feed brings it back. Digests that were approved keep their copy of it.

    Raises WrongState while a draft still needs it, NotFound when there is none.
    """
    article = find(session, article_id)
    uses = select(DigestArticle.digest_id).where(DigestArticle.article_id == article.id)
    draft = session.scalar(
        select(Digest.id).where(Digest.id.in_(uses), Digest.state == DigestState.DRAFT)
    )
    if draft is not None:
        raise WrongState(
            f"Article {article.id} is part of the draft digest {draft}: name the others with "
            f"newsletter digest edit {draft} ARTICLE..., or cancel that one first."
        )
    session.execute(delete(DigestArticle).where(DigestArticle.article_id == article.id))
    # The row stays, or the feed would bring the article back.
    of_feeds = update(FeedArticle).where(FeedArticle.article_id == article.id)
    session.execute(of_feeds.values(article_id=None))
    session.delete(article)
    session.flush()
