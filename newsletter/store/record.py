"""The rows of the consent log and of its tree, and the installation that keeps them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from newsletter.store.base import Base, RowId
from newsletter.store.people import SubscriptionState, one_of


class LedgerKind(StrEnum):
    """What a restored backup must not undo."""

    ERASED = "erased"
    WITHDRAWN = "withdrawn"
    # "This was not me."
    BLOCKED = "blocked"


class Installation(Base):
    """One row: who this installation is, and how long its consent log is.

    Taking the next position locks this row until the transaction ends, so that positions have no
    gap and no fork, whoever writes.
    """

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    public_id: Mapped[str] = mapped_column(String(20))
    log_size: Mapped[int] = mapped_column(RowId, default=0)
    # Opens the events that are about no living row, such as erasures. 32 random bytes.
    log_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    # HMAC under the hash_key setting: a wrong key is noticed before it forgets who is blocked.
    hash_key_check: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    # Which tree the events are leaves of: a recovery begins the next one.
    log_number: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    # Of the event that began this tree (its leaf 0); None for the first tree.
    recovery_position: Mapped[int | None] = mapped_column(RowId)
    # Why sign-up and sending stand still; None: they do not.
    log_fault: Mapped[str | None] = mapped_column(Text)
    # So many events were good when the log was last verified up to a signed checkpoint.
    verified_size: Mapped[int] = mapped_column(RowId, default=0, server_default=text("0"))
    # When somebody was erased last of whom SQLite's file may still hold traces; None: it does not.
    uncleaned_since: Mapped[datetime | None]


class ConsentEvent(Base):
    """What someone declared or withdrew. Position and commitment never change.

    Erasure takes all the rest away: the log stays whole, and nothing in it tells any more who was
    meant.
    """

    __tablename__ = "consent_event"
    __table_args__ = (
        # The newest state of a subscription, for the gate of each mail.
        Index("ix_consent_event_subscription_id", "subscription_id", "position"),
        one_of("state", SubscriptionState),
    )

    # From 0, without gaps: the index of the leaf in the Merkle tree.
    position: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    commitment: Mapped[bytes] = mapped_column(LargeBinary(32))
    # The canonical bytes (see newsletter.consent.event); None once erased.
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"), index=True)
    subscription_id: Mapped[int | None] = mapped_column(ForeignKey("subscription.id"))
    # What the event made of the subscription (newsletter.consent.fold); None: it left it as it was.
    state: Mapped[str | None] = mapped_column(String(16))


class ConsentTile(Base):
    """A piece of the stored tree: up to 256 hashes, as C2SP's tlog-tiles cuts them.

    Level k holds the nodes that stand over 256**k leaves each; the newest tile of a level is the
    only one that is not full.
    """

    __tablename__ = "consent_tile"

    log: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    # 32 bytes each, one after the other.
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class ConsentCheckpoint(Base):
    """A checkpoint that was signed: a C2SP signed note over the tree's first `size` leaves."""

    __tablename__ = "consent_checkpoint"
    __table_args__ = (UniqueConstraint("log", "size"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    log: Mapped[int]
    size: Mapped[int] = mapped_column(RowId)
    note: Mapped[str] = mapped_column(Text)
    signed_at: Mapped[datetime]


class LedgerEntry(Base):
    """An erasure or a withdrawal, on its way to the file that a restored backup does not undo."""

    __tablename__ = "ledger_entry"
    __table_args__ = (one_of("kind", LedgerKind),)

    # Microseconds of its time, or more: see newsletter.consent.ledger.
    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    mailbox_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    # The slug; None: all publications.
    publication: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]
