"""The rows of the consent log, and the installation that keeps it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from newsletter.store.base import Base, RowId


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


class ConsentEvent(Base):
    """What someone declared or withdrew. Position and commitment never change.

    Erasure takes `body` and `subscriber_id` away and leaves the rest: the log stays whole, and
    nothing in it tells any more who was meant.
    """

    __tablename__ = "consent_event"

    # From 0, without gaps: the index of the leaf in the Merkle tree.
    position: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    commitment: Mapped[bytes] = mapped_column(LargeBinary(32))
    # The canonical bytes (see newsletter.consent.event); None once erased.
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"), index=True)
