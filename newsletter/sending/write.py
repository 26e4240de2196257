"""From claimed rows to mails: every mail as the bytes that will be handed over.

The same row gives the same bytes on each try: its date is the row's, its links are signed as of
that date, its Message-ID and boundary come from its public id. Receivers that know a mail by
these can tell a second copy, and the SHA-256 in the record is that of every copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput, NewsletterError
from newsletter.links import Links
from newsletter.mail import frozen, letters
from newsletter.mail.letters import Letter
from newsletter.mail.message import Headers, build, list_id_of, wire_address
from newsletter.sending.claim import Claim
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
)
from newsletter.store.letters import message_id

# Answers to what a person just did (RFC 3834 §5). A digest is a bulk mail, not an answer.
_AUTOMATIC = set(LetterName) - {LetterName.DIGEST, LetterName.TEST}

# The reason of a row that an operator wants sent again although the first try may have arrived;
# with the second one even when the mail is not the same any more.
RETRY_UNCERTAIN = "retry-uncertain"
RETRY_CHANGED = "retry-changed"
# Why a row failed that no mail can be made of.
UNWRITABLE = "unwritable"
CHANGED = "changed"


@dataclass(frozen=True)
class Origin:
    """What an installation's mails have in common.

    links: makes the signed links. hash_key: names mailboxes in the suppressions.
    envelope_sender: where bounces go; None for each publication's From address.
    confirm_days, access_minutes: how long these links are good for, as the letters say it.
    idempotency_header: the field by which the relay knows a mail again, if it does.
    feedback_sender_id: the last part of Feedback-ID; None for one made of the host's name.
    """

    links: Links
    hash_key: bytes
    envelope_sender: str | None = None
    confirm_days: float = 7
    access_minutes: float = 60
    idempotency_header: str | None = None
    feedback_sender_id: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Mail:
    """One mail, ready to be signed and offered, and what its row needs at the last look.

    sender, recipient: for the envelope; their domains in A-labels. domain: the recipient's, lower
    case. smtputf8: the relay must know SMTPUTF8 (RFC 6531 §3.4), for an address that is not ASCII.
    raw: without signatures as it is written; whoever signs puts the signed bytes in its place.
    mailbox_hash: 32 bytes, for the suppressions. attempts, created_at, retried_at: the row's, for
    pacing. doubt: an earlier try may have arrived. recorded: the SHA-256 that these bytes must
    have because of that, None when any will do (see `same_as_recorded`).
    """

    claim: Claim
    letter: LetterName
    digest_id: int | None
    sender: str
    recipient: str
    domain: str
    smtputf8: bool
    raw: bytes
    mailbox_hash: bytes
    attempts: int
    created_at: datetime
    retried_at: datetime | None
    doubt: bool
    recorded: bytes | None

    @property
    def sha256(self) -> bytes:
        """The hash of the mail's bytes as they are now, for the record."""
        return hashlib.sha256(self.raw).digest()


@dataclass(frozen=True)
class Unwritable:
    """A row that no mail can be made of, our error that says why, and one word for the row."""

    claim: Claim
    error: NewsletterError
    reason: str = UNWRITABLE


def same_as_recorded(mail: Mail) -> bool:
    """Whether a mail, signed, may go out although an earlier try of it may have arrived.

    True for all that were never in doubt. A mail in doubt must be, byte for byte, the one that
    was handed over, so that a receiver who has it knows the second copy; unless the operator said
    that a changed one will do.
    """
    return mail.recorded is None or mail.sha256 == mail.recorded


def changed(mail: Mail) -> Unwritable:
    """What becomes of a mail in doubt that could not be made again as it was."""
    text = "The mail would differ from the one that may have arrived already."
    return Unwritable(mail.claim, BadInput(text), CHANGED)


class Writer:
    """Writes the mails of one installation; keep it, since it remembers digests.

    For one thread.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def mails(
        self, session: Session, claims: Iterable[Claim]
    ) -> tuple[list[Mail], list[Unwritable]]:
        """The mails of the rows that are still claimed, in the order of `claims`; unsigned.

        One row that cannot be written does not keep the others back. Rows that were skipped or
        lost since they were claimed are left out.
        """
        return _mails(session, claims, self._origin)

    def again_with_older_keys(self, session: Session, mail: Mail) -> list[Mail]:
        """`mail` with its links signed by each older secret key, the newest of these first.

        Unsigned, as from `mails`; for a mail that is not `same_as_recorded`.
        """
        links = self._origin.links
        candidates = []
        for count in range(len(links.keys) - 1, 0, -1):
            older = replace(self._origin, links=replace(links, keys=links.keys[:count]))
            candidates += _mails(session, [mail.claim], older)[0]
        return candidates


def mails(
    session: Session, claims: Iterable[Claim], origin: Origin
) -> tuple[list[Mail], list[Unwritable]]:
    """As Writer.mails, by a Writer that is used once."""
    return Writer(origin).mails(session, claims)


@dataclass(frozen=True)
class _Row:
    delivery: Delivery
    publication: Publication
    subscriber: Subscriber | None
    subscription: Subscription | None


def _mails(
    session: Session, claims: Iterable[Claim], origin: Origin
) -> tuple[list[Mail], list[Unwritable]]:
    wanted = {claim.id: claim for claim in claims}
    query = (
        select(Delivery, Publication, Subscriber, Subscription)
        .join(Publication, Publication.id == Delivery.publication_id)
        .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .outerjoin(Subscription, Subscription.id == Delivery.subscription_id)
        .where(Delivery.id.in_(wanted), Delivery.state == DeliveryState.CLAIMED)
        .options(undefer(Delivery.frozen))
        # The claim was a statement of its own: what the session remembers of a row is older.
        .execution_options(populate_existing=True)
    )
    rows = [_Row(*found) for found in session.execute(query)]
    rows = [row for row in rows if row.delivery.epoch == wanted[row.delivery.id].epoch]
    contents = _contents(session, {row.delivery.digest_id for row in rows})
    written: dict[int, Mail] = {}
    unwritable = []
    for row in rows:
        claim = wanted[row.delivery.id]
        try:
            written[claim.id] = _mail(row, claim, contents, origin)
        except NewsletterError as error:
            unwritable.append(Unwritable(claim, error))
    return [written[number] for number in wanted if number in written], unwritable


def _contents(session: Session, digest_ids: set[int | None]) -> dict[int, Mapping[str, Any]]:
    """The frozen content of the digests; it does not change from approval on."""
    query = select(Digest.id, Digest.frozen).where(Digest.id.in_(digest_ids - {None}))
    return {number: content for number, content in session.execute(query) if content}


def _mail(
    row: _Row, claim: Claim, contents: Mapping[int, Mapping[str, Any]], origin: Origin
) -> Mail:
    delivery, publication = row.delivery, row.publication
    name = LetterName(delivery.letter)
    checkpoint = None
    if delivery.address is None:
        raise BadInput("The delivery has no address.", "address")
    if name in (LetterName.DIGEST, LetterName.TEST):
        content = delivery.frozen or contents.get(delivery.digest_id or 0)
        if content is None:
            raise BadInput("The digest has no approved content.", "digest")
        letter, language = _digest_letter(row, content, origin.links)
        checkpoint = content.get("checkpoint")
    else:
        letter, language = _personal_letter(row, name, origin)
    recipient = wire_address(delivery.address)
    raw = build(letter, _headers(row, name, language, origin.links, checkpoint))
    doubt = delivery.reason in (RETRY_UNCERTAIN, RETRY_CHANGED)
    return Mail(
        claim=claim,
        letter=name,
        digest_id=delivery.digest_id,
        sender=wire_address(origin.envelope_sender or publication.from_address),
        recipient=recipient,
        domain=recipient.rpartition("@")[2],
        smtputf8=not raw.isascii(),
        raw=raw,
        mailbox_hash=parse_address(delivery.address).mailbox_hash(origin.hash_key),
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        retried_at=delivery.retried_at,
        doubt=doubt,
        recorded=delivery.content_sha256 if delivery.reason == RETRY_UNCERTAIN else None,
    )


def _digest_letter(row: _Row, content: Mapping[str, Any], links: Links) -> tuple[Letter, str]:
    # The digest's own language, also in the greeting: it is one letter.
    language = content.get("content", {}).get("language") or row.publication.language
    name = row.subscriber.name if row.subscriber else None
    letter = frozen.fill(
        content,
        {
            "name": name or "",
            "greeting": frozen.greeting(name, language),
            "address": row.delivery.address or "",
            "unsubscribe_url": _unsubscribe_url(row, links),
            "preferences_url": _preferences_url(row, links),
        },
    )
    if row.delivery.letter == LetterName.TEST:
        letter = Letter(f"[Test] {letter.subject}", letter.text, letter.html)
    return letter, language


def _personal_letter(row: _Row, name: LetterName, origin: Origin) -> tuple[Letter, str]:
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
    return letters.render(name, language, values), language


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
    row: _Row, name: LetterName, language: str, links: Links, checkpoint: str | None
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
        list_id=list_id_of(publication.slug, urlsplit(links.base_url).hostname or ""),
        list_title=publication.title,
        list_unsubscribe_url=_unsubscribe_url(row, links) if can_leave else None,
        list_unsubscribe_mailto=publication.unsubscribe_mailto if can_leave else None,
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
