"""What all mails of an installation have in common."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from newsletter.config import Settings
from newsletter.links import Links


@dataclass(frozen=True)
class Origin:
    """What an installation's mails have in common.

    links: makes the signed links. hash_key: names mailboxes in the suppressions.
    envelope_sender: where bounces go; None for each publication's From address.
    confirm_days, access_minutes: how long these links are good for, as the letters say it.
    idempotency_header: the field by which the relay knows a mail again, if it does.
    feedback_sender_id: the last part of Feedback-ID; None for one made of the host's name.
    templates_folder: where the operator's own templates lie, if there are any.
    """

    links: Links
    hash_key: bytes
    envelope_sender: str | None = None
    confirm_days: float = 7
    access_minutes: float = 60
    idempotency_header: str | None = None
    feedback_sender_id: str | None = None
    templates_folder: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Origin:
        """What the mails of the installation with these settings have in common."""
        return cls(
            Links(settings.base_url, tuple(settings.all_secret_keys)),
            settings.hash_key_bytes,
            settings.envelope_sender,
            confirm_days=settings.confirm_days,
            access_minutes=settings.access_minutes,
            idempotency_header=settings.idempotency_header,
            feedback_sender_id=settings.feedback_sender_id,
            templates_folder=settings.templates_folder,
        )

    @property
    def host(self) -> str:
        """The name of the installation's host; lists are named below it."""
        return urlsplit(self.links.base_url).hostname or ""

    def idempotency(self, public_id: str) -> tuple[str, str] | None:
        """The field by which the relay knows the delivery called `public_id`, and its value."""
        return (self.idempotency_header, public_id) if self.idempotency_header else None
