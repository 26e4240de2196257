"""Feeds that are read for a publication, and which articles each of them brought."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from newsletter.store.base import Base, RowId
from newsletter.store.content import Article
from newsletter.store.people import Publication


class Feed(Base):
    """An RSS, Atom or JSON feed that is read for one publication."""

    __tablename__ = "feed"
    __table_args__ = (UniqueConstraint("publication_id", "url"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    publication_id: Mapped[int] = mapped_column(ForeignKey("publication.id"))
    url: Mapped[str] = mapped_column(Text)
    # What the feed says of itself: hostile text. None until it was read once.
    title: Mapped[str | None] = mapped_column(Text)
    site_url: Mapped[str | None] = mapped_column(Text)
    # The validators of the last answer (RFC 9110 §8.8), sent back as they came.
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    # When it is asked next; None when its server said that it is gone for good.
    due_at: Mapped[datetime | None] = mapped_column(index=True)
    checked_at: Mapped[datetime | None]
    # When it last brought something new or something changed.
    changed_at: Mapped[datetime | None]
    # In a row; the reason of the last one may quote the server: hostile text.
    failures: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    publication: Mapped[Publication] = relationship()
    entries: Mapped[list[FeedArticle]] = relationship(cascade="all, delete-orphan")


class FeedArticle(Base):
    """One article's place in one feed, under the id that the feed gives it.

    Several feeds may bring one article. The row stays when an operator removes the article, so that
    the feed does not bring it back: `article_id` is None then.
    """

    __tablename__ = "feed_article"

    feed_id: Mapped[int] = mapped_column(ForeignKey("feed.id"), primary_key=True)
    guid: Mapped[str] = mapped_column(String(300), primary_key=True)
    article_id: Mapped[int | None] = mapped_column(ForeignKey("article.id"), index=True)
    # When this feed first had it.
    created_at: Mapped[datetime]

    article: Mapped[Article | None] = relationship()
