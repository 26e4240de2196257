"""Plans: digests that are composed again and again, at times that a schedule says."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Column, ForeignKey, String, Table, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from newsletter.store.base import Base, RowId
from newsletter.store.feeds import Feed
from newsletter.store.people import Publication

plan_feed = Table(
    "plan_feed",
    Base.metadata,
    Column("plan_id", RowId, ForeignKey("plan.id"), primary_key=True),
    Column("feed_id", RowId, ForeignKey("feed.id"), primary_key=True, index=True),
)


class Plan(Base):
    """What is composed of a publication's new articles, and when.

    Each time has one digest at most: the unique key of digest.plan_id and digest.planned_for.
    """

    __tablename__ = "plan"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    publication_id: Mapped[int] = mapped_column(ForeignKey("publication.id"), index=True)
    # As newsletter.digests.schedule.Schedule writes itself.
    schedule: Mapped[str] = mapped_column(Text)
    # The next time, or one that was missed; None while the plan is off.
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    # Somebody reads the feeds for it until then at most; others leave it alone.
    taken_until: Mapped[datetime | None]
    # What came in, or was published by a feed, before this is not new.
    begins_at: Mapped[datetime]
    # With fewer new articles nothing is composed; of more, the newest are taken.
    fewest: Mapped[int]
    most: Mapped[int]
    # Only articles with one of these tags; with none here, all.
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    length: Mapped[str] = mapped_column(String(8))
    has_lead: Mapped[bool]
    # "feed" or "tag": what the sections are made of; None for no sections.
    sections: Mapped[str | None] = mapped_column(String(8))
    # With {date}, {lead}, {number} or {count} in it; None for one out of the articles.
    subject: Mapped[str | None] = mapped_column(Text)
    intro: Mapped[str | None] = mapped_column(Text)
    outro: Mapped[str | None] = mapped_column(Text)
    # Straight out; otherwise it leaves a draft for approval.
    sends: Mapped[bool]
    created_at: Mapped[datetime]
    # What became of the last time, for the operator.
    done_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(Text)

    publication: Mapped[Publication] = relationship()
    # Only articles of these; with none here, all.
    feeds: Mapped[list[Feed]] = relationship(secondary=plan_feed, order_by=Feed.id)
