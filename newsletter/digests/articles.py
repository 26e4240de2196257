"""The articles that are kept. The same url is the same article: adding it again updates it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from newsletter.digests.reading import ArticleInput, read
from newsletter.errors import NotFound, WrongState
from newsletter.store import Article, Digest, DigestArticle, DigestState

__all__ = ["ArticleInput", "Saved", "all_of", "find", "read", "remove", "save"]

Saved = Literal["new", "updated", "same"]


def save(session: Session, article: ArticleInput, *, now: datetime) -> tuple[Article, Saved]:
    """Keep `article`. The same url updates the article that has it.

    Without a url, only an article that is the same in everything counts as the same.
    """
    row = _known(session, article)
    if row is None:
        row = Article(created_at=now, updated_at=now)
        _write(row, article)
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
    if not _write(row, article):
        return row, "same"
    row.updated_at = now
    session.flush()
    return row, "updated"


def _known(session: Session, article: ArticleInput) -> Article | None:
    if article.url is not None:
        return session.scalar(select(Article).where(Article.url == article.url))
    wanted = select(Article).where(Article.url.is_(None), Article.title == article.title)
    rows = session.scalars(wanted.order_by(Article.id))
    return next((row for row in rows if not _changes(row, article)), None)


def _values(article: ArticleInput) -> dict[str, Any]:
    values = asdict(article)
    published = values.pop("published")
    return {**values, "published_at": published, "tags": list(article.tags)}


def _changes(row: Article, article: ArticleInput) -> dict[str, Any]:
    return {name: v for name, v in _values(article).items() if getattr(row, name) != v}


def _write(row: Article, article: ArticleInput) -> bool:
    changes = _changes(row, article)
    for name, value in changes.items():
        setattr(row, name, value)
    return bool(changes)


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
    """Forget an article. Digests that were approved keep their frozen copy of it.

    Raises WrongState while a draft still needs it, NotFound when there is none.
    """
    article = find(session, article_id)
    uses = select(DigestArticle.digest_id).where(DigestArticle.article_id == article.id)
    draft = session.scalar(
        select(Digest.id).where(Digest.id.in_(uses), Digest.state == DigestState.DRAFT)
    )
    if draft is not None:
        raise WrongState(
            f"Article {article.id} is part of the draft digest {draft}: cancel that one first."
        )
    session.execute(delete(DigestArticle).where(DigestArticle.article_id == article.id))
    session.delete(article)
    session.flush()
