"""A person's own letters, and test mails: written one by one, each from its templates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from newsletter.errors import BadInput
from newsletter.links import Links
from newsletter.mail import letters as templates
from newsletter.mail.frozen import FrozenLetter, greeting
from newsletter.mail.letters import Letter
from newsletter.mail.message import Headers, build, is_ascii, list_id_of, wire_address
from newsletter.sending.origin import Origin
from newsletter.store import Delivery, LetterName, Publication, Subscriber, Subscription
from newsletter.store.letters import message_id

# Answers to what a person just did (RFC 3834 §5). A test mail is a bulk mail, not an answer.
_AUTOMATIC = set(LetterName) - {LetterName.DIGEST, LetterName.TEST}


@dataclass(frozen=True)
class _Row:
    """A delivery and whom it is about; nobody for a test mail."""

    delivery: Delivery
    publication: Publication
    subscriber: Subscriber | None
    subscription: Subscription | None


class OwnLetter:
    """The mail of one row that is no digest's."""

    def __init__(self, row: _Row, origin: Origin) -> None:
        self._row = row
        self._origin = origin

    @property
    def envelope_sender(self) -> str:
        """Where bounces go. Raises BadInput when that is no address."""
        publication = self._row.publication
        return wire_address(self._origin.envelope_sender or publication.from_address)

    @property
    def smtputf8(self) -> bool:
        """Whether one of our own addresses needs SMTPUTF8."""
        publication = self._row.publication
        return not is_ascii(self.envelope_sender, publication.from_address, publication.reply_to)

    def raw(self) -> bytes:
        """The mail, unsigned.

        Raises BadInput or LetterError when there is none to be made of the row.
        """
        row, origin = self._row, self._origin
        name = LetterName(row.delivery.letter)
        checkpoint = None
        if name == LetterName.TEST:
            if row.delivery.frozen is None:
                raise BadInput("The test mail has no content.", "digest")
            approved = FrozenLetter(row.delivery.frozen)
            language = approved.language or row.publication.language
            letter = _test_letter(row, approved, language, origin.links)
            checkpoint = approved.checkpoint
        else:
            letter, language = _own_letter(row, name, origin)
        return build(letter, _headers(row, name, language, origin, checkpoint))


def letters(session: Session, ids: Iterable[int], origin: Origin) -> dict[int, OwnLetter]:
    """The letters of the rows with these ids, as these are in the database now."""
    query = (
        select(Delivery, Publication, Subscriber, Subscription)
        .join(Publication, Publication.id == Delivery.publication_id)
        .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .outerjoin(Subscription, Subscription.id == Delivery.subscription_id)
        .where(Delivery.id.in_(list(ids)))
        .options(undefer(Delivery.frozen))
        # The claim was a statement of its own: what the session remembers of a row is older.
        .execution_options(populate_existing=True)
    )
    rows = [_Row(*found) for found in session.execute(query)]
    return {row.delivery.id: OwnLetter(row, origin) for row in rows}


def _test_letter(row: _Row, approved: FrozenLetter, language: str, links: Links) -> Letter:
    """The digest as a reader without a name would get it, and a subject that says what it is."""
    letter = approved.fill(
        {
            "name": "",
            "greeting": greeting(None, language),
            "address": row.delivery.address or "",
            "unsubscribe_url": _unsubscribe_url(row, links),
            "preferences_url": _preferences_url(row, links),
        }
    )
    return replace(letter, subject=f"[Test] {letter.subject}")


def _own_letter(row: _Row, name: LetterName, origin: Origin) -> tuple[Letter, str]:
    if row.subscriber is None:
        raise BadInput("The delivery has no subscriber.", "subscriber")
    # What a visitor typed has no place in a mail that may go to somebody else.
    shown_name = None if name == LetterName.CONFIRMATION else row.subscriber.name
    values = {
        "publication": row.publication.in_letters(origin.links.base_url),
        "reader": {"name": shown_name, "address": row.delivery.address},
        "links": _links(row, name, origin.links),
        "good_for_days": origin.confirm_days,
        "good_for_minutes": origin.access_minutes,
    }
    language = row.subscriber.language
    return templates.render(name, language, values, origin.templates_folder), language


def _links(row: _Row, name: LetterName, links: Links) -> dict[str, str]:
    """The links of a personal letter: only what that letter is for."""
    home = row.publication.home_url(links.base_url)
    found = {"home_url": home, "archive_url": f"{home}archive/"}
    if name == LetterName.CONFIRMATION:
        delivery = row.delivery
        found["confirm_url"] = links.url("confirm", delivery.public_id, at=delivery.created_at)
    elif name == LetterName.ACCESS:
        found["access_url"] = _person_url("access", row, links)
        found["unsubscribe_url"] = _unsubscribe_url(row, links)
    elif name in (LetterName.WELCOME, LetterName.ALREADY_CONFIRMED):
        found["unsubscribe_url"] = _unsubscribe_url(row, links)
        found["preferences_url"] = _preferences_url(row, links)
    return found


def _headers(
    row: _Row, name: LetterName, language: str, origin: Origin, checkpoint: str | None
) -> Headers:
    delivery, publication = row.delivery, row.publication
    # A letter about a subscription can end it by its header (RFC 2369 §3.2, RFC 8058 §3.1).
    can_leave = row.subscription is not None or name == LetterName.TEST
    return Headers(
        from_name=publication.from_name,
        from_address=publication.from_address,
        reply_to=publication.reply_to,
        to_address=delivery.address or "",
        message_id=delivery.message_id or message_id(delivery.public_id, publication),
        date=delivery.created_at,
        list_id=list_id_of(publication.slug, origin.host),
        list_title=publication.title,
        list_unsubscribe_url=_unsubscribe_url(row, origin.links) if can_leave else None,
        list_unsubscribe_mailto=publication.unsubscribe_mailto if can_leave else None,
        idempotency=origin.idempotency(delivery.public_id),
        auto_submitted=name in _AUTOMATIC,
        checkpoint=checkpoint,
        language=language,
    )


def _unsubscribe_url(row: _Row, links: Links) -> str:
    # A test mail's links are signed like real ones and name nobody: whoever follows them sees the
    # page that an erased reader would see.
    subscription, delivery = row.subscription, row.delivery
    name = subscription.public_id if subscription else delivery.public_id
    return links.url("unsubscribe", name, at=delivery.created_at)


def _preferences_url(row: _Row, links: Links) -> str:
    return _person_url("preferences", row, links)


def _person_url(purpose: Any, row: _Row, links: Links) -> str:
    name = row.subscriber.public_id if row.subscriber else row.delivery.public_id
    return links.url(purpose, name, at=row.delivery.created_at)
