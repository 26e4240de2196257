"""Publications, the people who read them, and who must not be mailed."""

from __future__ import annotations

import secrets
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
from sqlalchemy.orm import Mapped, mapped_column, relationship

from newsletter.errors import WrongState
from newsletter.store.base import Base, RowId, public_id


class SubscriptionState(StrEnum):
    """pending -> confirmed -> unsubscribed | bounced | complained; each of these can ask again."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


class SuppressionReason(StrEnum):
    """Why a mailbox must not be mailed; who may end it differs by reason (see subscriptions)."""

    ERASED = "erased"
    BLOCKED = "blocked"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The database refuses a state that the code does not know."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Publication(Base):
    """What people subscribe to: its name, sender, consent wording, privacy policy and look."""

    __tablename__ = "publication"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    from_name: Mapped[str] = mapped_column(String(200))
    from_address: Mapped[str] = mapped_column(String(320))
    reply_to: Mapped[str | None] = mapped_column(String(320))
    # The mailto part of List-Unsubscribe (RFC 2369 §3.2); None leaves only the https one.
    unsubscribe_mailto: Mapped[str | None] = mapped_column(String(320))
    postal_address: Mapped[str] = mapped_column(Text)
    privacy_url: Mapped[str] = mapped_column(Text)
    privacy_version: Mapped[str] = mapped_column(String(64))
    # None: the standard wording, in the reader's language. Its [bracketed] words link the policy.
    consent_wording: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(16), default="en")
    accent_color: Mapped[str] = mapped_column(String(7), default="#1f5f4a")
    # What these name is newsletter.mail.look's; None: the theme chooses.
    theme: Mapped[str] = mapped_column(String(32), default="plain", server_default=text("'plain'"))
    heading_font: Mapped[str | None] = mapped_column(String(32))
    text_font: Mapped[str | None] = mapped_column(String(32))
    # A picture in place of the name, with its size in CSS pixels; without alt it reads as the name.
    logo_url: Mapped[str | None] = mapped_column(Text)
    logo_alt: Mapped[str | None] = mapped_column(String(200))
    logo_width: Mapped[int | None]
    logo_height: Mapped[int | None]
    sends_welcome: Mapped[bool] = mapped_column(default=True)
    sends_goodbye: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]

    def home_url(self, base_url: str) -> str:
        """Its sign-up page; base_url: the installation's, without a slash."""
        return f"{base_url}/{self.slug}/"

    def in_letters(self, base_url: str) -> dict[str, str]:
        """What a letter says about its publication, as plain values."""
        return {
            "title": self.title,
            "from_name": self.from_name,
            "postal_address": self.postal_address,
            "privacy_url": self.privacy_url,
            "accent_color": self.accent_color,
            "theme": self.theme,
            "heading_font": self.heading_font or "",
            "text_font": self.text_font or "",
            "logo_url": self.logo_url or "",
            "logo_alt": self.logo_alt or "",
            "logo_width": str(self.logo_width or ""),
            "logo_height": str(self.logo_height or ""),
            "home_url": self.home_url(base_url),
            "language": self.language,
        }


class Subscriber(Base):
    """A person's address, once. `key` opens this person's consent events; erasure destroys it."""

    __tablename__ = "subscriber"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(20), unique=True, default=public_id)
    address: Mapped[str] = mapped_column(String(320))
    address_key: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[str | None] = mapped_column(String(200))
    language: Mapped[str] = mapped_column(String(16), default="en")
    # Exactly 32 bytes: HMAC pads shorter keys with zeros, and then two keys could open one event.
    key: Mapped[bytes] = mapped_column(LargeBinary(32), default=lambda: secrets.token_bytes(32))
    created_at: Mapped[datetime]

    subscriptions: Mapped[list[Subscription]] = relationship(back_populates="subscriber")


class Subscription(Base):
    """One subscriber to one publication. Only the methods change the state.

    The story that calls one of them records the consent event in the same transaction.
    """

    __tablename__ = "subscription"
    __table_args__ = (
        UniqueConstraint("publication_id", "subscriber_id"),
        Index("ix_subscription_publication_id_state", "publication_id", "state", "id"),
        one_of("state", SubscriptionState),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(20), unique=True, default=public_id)
    publication_id: Mapped[int] = mapped_column(ForeignKey("publication.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default=SubscriptionState.PENDING)
    # Confirmation mails from before this moment no longer count: an old link cannot undo a leave.
    pending_since: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    # Of the one reminder that a pending subscription may get; None: none was sent.
    reminded_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    publication: Mapped[Publication] = relationship()
    subscriber: Mapped[Subscriber] = relationship(back_populates="subscriptions")

    def ask_again(self, now: datetime) -> None:
        """Ended -> pending: the person signs up anew. Pending and confirmed stay as they are."""
        if self.state in (SubscriptionState.PENDING, SubscriptionState.CONFIRMED):
            return
        self.state = SubscriptionState.PENDING
        self.pending_since = now
        self.ended_at = None

    def confirm(self, now: datetime) -> None:
        """pending -> confirmed."""
        if self.state != SubscriptionState.PENDING:
            raise WrongState("Only a pending subscription can be confirmed.")
        self.state = SubscriptionState.CONFIRMED
        self.confirmed_at = now

    def end(self, state: SubscriptionState, now: datetime) -> None:
        """pending or confirmed -> unsubscribed, bounced or complained."""
        if self.state not in (SubscriptionState.PENDING, SubscriptionState.CONFIRMED):
            raise WrongState("The subscription has ended already.")
        if state in (SubscriptionState.PENDING, SubscriptionState.CONFIRMED):
            raise ValueError(f"{state} ends nothing")
        self.state = state
        self.ended_at = now


class Suppression(Base):
    """A mailbox that must not be mailed, under the installation's hash key, with its reason."""

    __tablename__ = "suppression"
    __table_args__ = (
        UniqueConstraint("mailbox_hash", "reason"),
        one_of("reason", SuppressionReason),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    mailbox_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    reason: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]


class LetterQuota(Base):
    """How often one mailbox was sent one kind of letter, whatever route asked for it."""

    __tablename__ = "letter_quota"

    mailbox_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    letter: Mapped[str] = mapped_column(String(32), primary_key=True)
    sent: Mapped[int]
    last_at: Mapped[datetime]
