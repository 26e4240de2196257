"""The outbox: every mail that we send is a row here first, the confirmation too."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from newsletter.store.base import Base, RowId, public_id
from newsletter.store.people import one_of


class LetterName(StrEnum):
    """The letters that we write. All but the digest are a person's own and never wait behind it."""

    CONFIRMATION = "confirmation"
    ALREADY_CONFIRMED = "already-confirmed"
    ACCESS = "access"
    WELCOME = "welcome"
    GOODBYE = "goodbye"
    DIGEST = "digest"
    TEST = "test"


class DeliveryState(StrEnum):
    """queued -> claimed -> armed -> accepted | deferred | failed; see newsletter.sending."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    ARMED = "armed"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNCERTAIN = "uncertain"


class Delivery(Base):
    """One letter on its way to one subscriber.

    Its states are changed only by the statements of newsletter.sending, which say the state and
    the epoch that they expect: a worker that lost its claim changes nothing.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        # The final arbiter: nobody gets a digest twice, whatever the code does.
        UniqueConstraint("digest_id", "subscriber_id"),
        # Claims go by it, in the order of its columns, and every count by state.
        Index("ix_delivery_digest_id_state", "digest_id", "state", "due_at", "id"),
        # Letters of a person's own are found without stepping over a million digests.
        Index(
            "ix_delivery_personal",
            "state",
            "due_at",
            sqlite_where=text("letter <> 'digest'"),
            postgresql_where=text("letter <> 'digest'"),
        ),
        one_of("state", DeliveryState),
        one_of("letter", LetterName),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    # Random: the Message-ID is made of it, and a confirmation link names it (its nonce).
    public_id: Mapped[str] = mapped_column(String(20), unique=True, default=public_id)
    letter: Mapped[str] = mapped_column(String(24))
    publication_id: Mapped[int] = mapped_column(ForeignKey("publication.id"), index=True)
    digest_id: Mapped[int | None] = mapped_column(ForeignKey("digest.id"))
    # Both None for a test mail, and after the subscriber was erased.
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"), index=True)
    subscription_id: Mapped[int | None] = mapped_column(ForeignKey("subscription.id"), index=True)
    # Where it goes, as it was when it was queued; None once erased.
    address: Mapped[str | None] = mapped_column(String(320))
    message_id: Mapped[str | None] = mapped_column(String(255))
    # What a test mail shows, since a draft has no content of its own yet; None for all others.
    frozen: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    state: Mapped[str] = mapped_column(String(16), default=DeliveryState.QUEUED)
    # Why it was skipped, failed or put off for policy: one word for counting (unsubscribed, ...).
    reason: Mapped[str | None] = mapped_column(String(32))
    # Raised by each claim; a statement with an older one changes nothing (fencing).
    epoch: Mapped[int] = mapped_column(default=0)
    # The worker that holds it, for as long as that worker's own lease.
    owner: Mapped[str | None] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    # Not to be tried before this moment.
    due_at: Mapped[datetime]
    # When an operator, or the relay's own way to know a copy, let it be tried once more.
    retried_at: Mapped[datetime | None]
    # SHA-256 of the mail as it was handed over.
    content_sha256: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    reply_code: Mapped[int | None]
    # What the relay said: hostile text, to be escaped wherever it is shown.
    reply_text: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class Worker(Base):
    """A process that sends, and the lease under which it holds rows.

    Rows whose owner has no lease any more, or no row here, are taken back.
    """

    __tablename__ = "worker"

    public_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    # Where the pid means something, and the clock of the lease: one boot of one machine.
    place: Mapped[str] = mapped_column(String(255), server_default=text("''"))
    started_at: Mapped[datetime]
    # By the wall clock, for people; nothing is decided by it.
    seen_at: Mapped[datetime]
    # The clock that `lease_until` is read on, and that clock's seconds; None: it holds nothing.
    lease_clock: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None]
    # None for one that runs, or was killed.
    ended_at: Mapped[datetime | None]
