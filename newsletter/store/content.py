"""Articles, and the digests that they are composed into."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from newsletter.errors import WrongState
from newsletter.store.base import Base, RowId, public_id
from newsletter.store.people import Publication, one_of


class DigestState(StrEnum):
    """draft -> approved -> sending <-> paused; sending <-> sent; all but sent -> cancelled."""

    DRAFT = "draft"
    APPROVED = "approved"
    SENDING = "sending"
    PAUSED = "paused"
    SENT = "sent"
    CANCELLED = "cancelled"


class ArticleOrigin(StrEnum):
    """Who writes an article: an operator in a file, or whoever runs the page or the feed."""

    FILE = "file"
    PAGE = "page"
    FEED = "feed"


class BodyFormat(StrEnum):
    """What an article's body is written in."""

    MARKDOWN = "markdown"
    HTML = "html"


class Article(Base):
    """Something to read. The same url is the same article."""

    __tablename__ = "article"
    __table_args__ = (one_of("origin", ArticleOrigin), one_of("body_format", BodyFormat))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    url: Mapped[str | None] = mapped_column(Text, unique=True)
    title: Mapped[str] = mapped_column(Text)
    # Beside a Markdown body it is Markdown; beside an HTML body it is plain text.
    summary: Mapped[str | None] = mapped_column(Text)
    # Markdown as it came, or HTML that was cleaned; both are cleaned (again) when they are shown.
    body: Mapped[str] = mapped_column(Text)
    body_format: Mapped[str] = mapped_column(
        String(8), default=BodyFormat.MARKDOWN, server_default=text("'markdown'")
    )
    author: Mapped[str | None] = mapped_column(Text)
    published_at: Mapped[datetime | None]
    # Minutes that the author's clock was ahead of UTC then; None when nobody said.
    published_offset: Mapped[int | None]
    image: Mapped[str | None] = mapped_column(Text)
    # In CSS pixels, as whoever offers the picture says; None when nobody did.
    image_width: Mapped[int | None]
    image_height: Mapped[int | None]
    image_alt: Mapped[str | None] = mapped_column(Text)
    image_credit: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    # The name of the site that it stands on, and its language as a BCP 47 tag.
    site: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(String(35))
    origin: Mapped[str] = mapped_column(
        String(8), default=ArticleOrigin.FILE, server_default=text("'file'")
    )
    # The feed whose changes it follows; which feeds have it, FeedArticle says.
    feed_id: Mapped[int | None] = mapped_column(ForeignKey("feed.id"), index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def published(self) -> datetime | None:
        """When it was published, by its author's clock."""
        if self.published_at is None:
            return None
        return self.published_at.astimezone(timezone(timedelta(minutes=self.published_offset or 0)))


class Digest(Base):
    """Articles composed into one mailing of one publication.

    `frozen` holds the content from approval on: neither an edited article nor a new template
    changes what was approved.
    """

    __tablename__ = "digest"
    __table_args__ = (
        Index("ix_digest_state", "state"),
        # No time of a plan has two digests, whoever composes them.
        UniqueConstraint("plan_id", "planned_for"),
        one_of("state", DigestState),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(20), unique=True, default=public_id)
    publication_id: Mapped[int] = mapped_column(ForeignKey("publication.id"), index=True)
    subject: Mapped[str] = mapped_column(Text)
    # None: made of what the digest says.
    preheader: Mapped[str | None] = mapped_column(Text)
    # Markdown before the articles and after them.
    intro: Mapped[str | None] = mapped_column(Text)
    outro: Mapped[str | None] = mapped_column(Text)
    # "auto", "full" or "teaser": how much of each article stands in the letter.
    length: Mapped[str] = mapped_column(String(8), default="auto")
    state: Mapped[str] = mapped_column(String(16), default=DigestState.DRAFT)
    # The shape is newsletter.digests.freeze.Frozen.
    frozen: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    # The plan that composed it, and which of its times; None when a person did, or it is gone.
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("plan.id"))
    planned_for: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    send_at: Mapped[datetime | None]
    # Everybody up to this subscription has a delivery row; None until queueing began.
    queued_up_to: Mapped[int | None] = mapped_column(RowId)
    queued_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    # Why it stands still, when not an operator paused it; it can quote the relay: hostile text.
    pause_reason: Mapped[str | None] = mapped_column(Text)

    publication: Mapped[Publication] = relationship()
    entries: Mapped[list[DigestArticle]] = relationship(
        order_by="DigestArticle.place", cascade="all, delete-orphan"
    )

    def _move(self, to: DigestState, *allowed: DigestState) -> None:
        if self.state not in allowed:
            wanted = " or ".join(allowed)
            raise WrongState(f"Digest {self.id} is {self.state}; this needs it to be {wanted}.")
        self.state = to

    def approve(self, frozen: dict[str, Any], now: datetime) -> None:
        """draft -> approved, with the content that will be sent."""
        self._move(DigestState.APPROVED, DigestState.DRAFT)
        self.frozen = frozen
        self.approved_at = now

    def start(self) -> None:
        """approved -> sending."""
        self._move(DigestState.SENDING, DigestState.APPROVED)

    def pause(self, reason: str | None = None) -> None:
        """sending -> paused: no further mail of it is handed over. None: an operator's word."""
        self._move(DigestState.PAUSED, DigestState.SENDING)
        self.pause_reason = reason

    def resume(self) -> None:
        """paused -> sending; what it was paused for is forgotten."""
        self._move(DigestState.SENDING, DigestState.PAUSED)
        self.pause_reason = None

    def retry(self) -> None:
        """sent -> sending: some of its mails are tried once more."""
        self._move(DigestState.SENDING, DigestState.SENT)
        self.sent_at = None

    def finish(self, now: datetime) -> None:
        """sending -> sent."""
        self._move(DigestState.SENT, DigestState.SENDING)
        self.sent_at = now

    def cancel(self) -> None:
        """Any state before sent -> cancelled."""
        self._move(
            DigestState.CANCELLED,
            DigestState.DRAFT,
            DigestState.APPROVED,
            DigestState.SENDING,
            DigestState.PAUSED,
        )


class DigestArticle(Base):
    """One article's place in one digest."""

    __tablename__ = "digest_article"
    __table_args__ = (UniqueConstraint("digest_id", "article_id"),)

    digest_id: Mapped[int] = mapped_column(ForeignKey("digest.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("article.id"), index=True)
    # The heading under which it stands, with its neighbours that say the same.
    section: Mapped[str | None] = mapped_column(Text)
    # "full" or "teaser"; None: as the digest's length says.
    length: Mapped[str | None] = mapped_column(String(8))
    is_lead: Mapped[bool] = mapped_column(default=False, server_default=false())

    article: Mapped[Article] = relationship()
