"""One consent event: its fields, its canonical bytes, and the commitment over them.

The bytes are JSON with sorted ASCII keys, no blanks, and only strings, whole numbers, booleans and
lists of them: for these, the same as RFC 8785. The commitment is HMAC-SHA256 over the bytes under a
key that HKDF (RFC 5869) derives from the subscriber's own random key and the event's id. Whoever
has the key can check the bytes; without it, the commitment tells nothing, not even to somebody who
guesses the address. Erasing a person destroys the key and the bytes, and nothing else changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from newsletter.consent.wording import Wording

SCHEMA = "newsletter.consent/1"


class EventType(StrEnum):
    """What happened. The state that follows is in newsletter.consent.fold."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    IMPORTED = "imported"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    PREFERENCES = "preferences"
    ERASED = "erased"
    RECOVERED = "recovered"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Who acted, through what, and what can be shown for it. None: not known or not applicable."""

    actor: Literal["subscriber", "operator", "relay", "service"]
    channel: Literal[
        "form", "link", "one-click", "preferences", "command", "import", "bounce", "schedule"
    ]
    # The address as the person typed it.
    entered: str | None = None
    box_ticked: bool | None = None
    wording: Wording | None = None
    form_url: str | None = None
    language: str | None = None
    # As the client_address setting says: full, truncated, or None.
    client_address: str | None = None
    user_agent: str | None = None
    # What the person agreed to in an earlier event that this one belongs to: see log.declaration.
    declared: dict[str, Any] | None = None
    # Of the mail whose link was followed, or that was sent on this request.
    message_id: str | None = None
    mail_sha256: str | None = None
    # Of an import: the state that the person was imported with, and where the consent came from.
    status: str | None = None
    source: str | None = None
    note: str | None = None

    def fields(self) -> dict[str, Any]:
        """What of it stands in an event; what is None is left out."""
        values: dict[str, Any] = {
            "actor": self.actor,
            "channel": self.channel,
            "address_as_entered": self.entered,
            "box_ticked": self.box_ticked,
            "form_url": self.form_url,
            "language": self.language,
            "client_address": self.client_address,
            "user_agent": self.user_agent,
            "message_id": self.message_id,
            "mail_sha256": self.mail_sha256,
            "status": self.status,
            "source": self.source,
            "note": self.note,
        }
        if self.declared is not None:
            values |= self.declared
        if self.wording is not None:
            values |= {
                "wording": self.wording.text,
                "wording_version": self.wording.version,
                "privacy_url": self.wording.privacy_url,
                "privacy_version": self.wording.privacy_version,
            }
        return {name: value for name, value in values.items() if value is not None}


def canonical(fields: dict[str, Any]) -> bytes:
    """The bytes of an event; the same fields give the same bytes, for ever."""
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def event_key(subject_key: bytes, event_id: str) -> bytes:
    """The 32-byte key that opens one event: giving it away opens that event and no other."""
    info = b"newsletter.consent.event\0" + event_id.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(subject_key)


def commitment(subject_key: bytes, event_id: str, body: bytes) -> bytes:
    """The 32 bytes that go into the log for an event; they hold nothing about a person."""
    return hmac.new(event_key(subject_key, event_id), body, hashlib.sha256).digest()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, such as 2026-03-01T12:00:00.000000Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
