"""A digest's mails: encoded once for all its readers, and filled in for each.

A reader's mail is what the frozen letter, the publication as it is now and the row say. A row
that is tried again gives the same bytes, unless the publication was changed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from newsletter.mail.fields import date_value
from newsletter.mail.frozen import FrozenLetter, greeting
from newsletter.mail.message import (
    Headers,
    build,
    feedback_id_of,
    is_ascii,
    list_id_of,
    wire_address,
)
from newsletter.mail.skeleton import Skeleton
from newsletter.sending.origin import Origin


class Sender(NamedTuple):
    """Of a digest and its publication, what stands in the headers of its mails."""

    digest: str
    slug: str
    title: str
    from_name: str
    from_address: str
    reply_to: str | None
    unsubscribe_mailto: str | None
    language: str


@dataclass(frozen=True, slots=True)
class Reader:
    """One row of the digest. address: as it was written; to: as it goes over the wire.

    unsubscribe, preferences: the public ids that these links name. delivery: the row's.
    """

    name: str | None
    address: str
    to: str
    delivery: str
    message_id: str
    created_at: datetime
    unsubscribe: str
    preferences: str


class Edition:
    """One digest as `sender` sends it.

    frozen: as Digest.frozen holds it.

    envelope_sender: where bounces go. smtputf8: one of our own addresses needs SMTPUTF8.

    Raises BadInput when no mail can be made of it.
    """

    def __init__(self, frozen: Mapping[str, Any], sender: Sender, origin: Origin) -> None:
        self.sender = sender
        self._links = origin.links
        self._origin = origin
        self._letter = FrozenLetter(frozen)
        # The digest's own language, also in the greeting: it is one letter.
        self._language = self._letter.language or sender.language
        self._headers = self._shared_headers()
        self._skeleton = (
            Skeleton(self._letter, self._headers) if self._letter.text is not None else None
        )
        self.envelope_sender = wire_address(origin.envelope_sender or sender.from_address)
        self.smtputf8 = not is_ascii(self.envelope_sender, sender.from_address, sender.reply_to)
        self._date = (datetime.min.replace(tzinfo=UTC), "")

    def raw(self, reader: Reader) -> bytes:
        """The reader's mail, unsigned.

        Raises BadInput when it cannot be written, LetterError when the templates of a digest that
        is rendered for each reader cannot do it.
        """
        at = reader.created_at
        unsubscribe_url = self._links.url("unsubscribe", reader.unsubscribe, at=at)
        values = {
            "name": reader.name or "",
            "greeting": greeting(reader.name, self._language),
            "address": reader.address,
            "unsubscribe_url": unsubscribe_url,
            "preferences_url": self._links.url("preferences", reader.preferences, at=at),
        }
        if self._skeleton is None:
            headers = replace(
                self._headers,
                to_address=reader.to,
                message_id=reader.message_id,
                date=at,
                list_unsubscribe_url=unsubscribe_url,
                idempotency=self._origin.idempotency(reader.delivery),
            )
            return build(self._letter.fill(values), headers)
        return self._skeleton.fill(
            to_address=reader.to,
            date=self._date_of(at),
            message_id=reader.message_id,
            unsubscribe_url=unsubscribe_url,
            key=reader.delivery,
            values=values,
        )

    def _date_of(self, at: datetime) -> str:
        """The same for all rows that were queued together, and so remembered."""
        if self._date[0] != at:
            self._date = (at, date_value(at))
        return self._date[1]

    def _shared_headers(self) -> Headers:
        """Those of a mail to nobody."""
        sender, host = self.sender, self._origin.host
        return Headers(
            from_name=sender.from_name,
            from_address=sender.from_address,
            reply_to=sender.reply_to,
            to_address="reader@example.org",
            message_id="<1@example.org>",
            date=datetime(2000, 1, 1, tzinfo=UTC),
            list_id=list_id_of(sender.slug, host),
            list_title=sender.title,
            list_unsubscribe_url=f"{self._links.base_url}/unsubscribe/1",
            list_unsubscribe_mailto=sender.unsubscribe_mailto,
            feedback_id=feedback_id_of(
                sender.digest, sender.slug, host, self._origin.feedback_sender_id
            ),
            idempotency=self._origin.idempotency("1"),
            checkpoint=self._letter.checkpoint,
            language=self._language,
            series=self._letter.series,
        )
