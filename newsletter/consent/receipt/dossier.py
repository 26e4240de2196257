"""Making a receipt: the person's events, what opens each, and where each stands in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.consent import checkpoint, tree
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.event import event_key, timestamp
from newsletter.consent.keyring import Keyring
from newsletter.consent.log import Entry, entries
from newsletter.consent.note import open_note
from newsletter.consent.receipt import verify_receipt
from newsletter.errors import BadNote, ConsentLogError, NotFound
from newsletter.store import (
    ConsentCheckpoint,
    Delivery,
    Installation,
    LetterName,
    Publication,
    Subscriber,
)

# What these say is not about consent: articles, a link to one's own data, an operator's test.
_NOT_OF_CONSENT = (LetterName.DIGEST, LetterName.ACCESS, LetterName.TEST)


def build(
    session: Session,
    keyring: Keyring,
    subscriber: Subscriber,
    publication: Publication | None,
    *,
    now: datetime,
) -> dict[str, Any]:
    """The receipt of one person: all publications, or one; see receipt.schema.json.

    A checkpoint is signed when the newest does not cover the person's events, so the session must
    be one that may write and has appended nothing. What is opened are these events and no others.

    Raises NotFound when nothing is recorded; LogFault when the log is not the one that was signed;
    ConsentLogError when the receipt would not verify: none is made then.
    """
    mine = [
        entry
        for entry in entries(session, subscriber.id)
        if publication is None or entry.fields.get("publication") == publication.slug
    ]
    if not mine:
        raise NotFound("Nothing is recorded of this person that could be proven.")
    note, size = _covering(session, keyring, mine[-1].position, now=now)
    events = [_event(session, subscriber, entry, note, size) for entry in mine]
    slugs = dict.fromkeys(entry.fields["publication"] for entry in mine)
    stated = {
        "issued_at": timestamp(now),
        "only_publication": publication.slug if publication else None,
        "checkpoint_signed_at": _signed_at(session, note),
        "publications": _publications(session, list(slugs)),
        "mails": _mails(session, subscriber, publication),
    }
    receipt = verify_receipt.compose(events, stated, note)
    text = verify_receipt.signed_text(receipt)
    receipt["newsletter"]["signature"] = keyring.signer.sign(text)
    try:
        verify_receipt.verify(written(receipt), [keyring.signer.verifier.vkey])
    except verify_receipt.Invalid as error:
        raise ConsentLogError(
            f"The receipt would not verify ({error.check}): {error}. "
            "Look for the fault with: newsletter consent verify --full"
        ) from error
    return receipt


def written(receipt: dict[str, Any]) -> bytes:
    """The file of a receipt: these bytes and no others verify."""
    return verify_receipt.serialized(receipt)


def _covering(
    session: Session, keyring: Keyring, position: int, *, now: datetime
) -> tuple[str, int]:
    """A signed checkpoint, by today's key, that covers the event at `position`; and its size."""
    today = [keyring.signer.verifier]
    found = checkpoint.newest(session)
    index = _index(session, position)
    if found is not None:
        try:
            size = Checkpoint.parse(open_note(found, today)).size
        except BadNote:  # of a key from before: a fresh one is signed
            size = 0
        if index < size:
            return found, size
    fresh = checkpoint.sign(session, keyring, now=now)
    if fresh is None:
        raise ConsentLogError(f"position {position}: the event is missing in the tree")
    return fresh, Checkpoint.parse(open_note(fresh, today)).size


def _event(
    session: Session, subscriber: Subscriber, entry: Entry, note: str, size: int
) -> dict[str, Any]:
    path = tree.inclusion(session, entry.position, size)
    return {
        "event": entry.fields,
        "opening": event_key(subscriber.key, entry.fields["event_id"]).hex(),
        "proof": verify_receipt.proof_text(_index(session, entry.position), path, note),
    }


def _index(session: Session, position: int) -> int:
    return tree.leaf_index(position, session.scalar(select(Installation.recovery_position)))


def _signed_at(session: Session, note: str) -> str | None:
    query = select(ConsentCheckpoint.signed_at).where(ConsentCheckpoint.note == note)
    found = session.scalar(query)
    return timestamp(found) if found else None


def _publications(session: Session, slugs: list[str]) -> list[dict[str, Any]]:
    found = {
        each.slug: each
        for each in session.scalars(select(Publication).where(Publication.slug.in_(slugs)))
    }
    return [
        {
            "slug": slug,
            "title": found[slug].title,
            "from_name": found[slug].from_name,
            "from_address": found[slug].from_address,
            "postal_address": found[slug].postal_address,
        }
        for slug in slugs
        if slug in found
    ]


def _mails(
    session: Session, subscriber: Subscriber, publication: Publication | None
) -> list[dict[str, Any]]:
    """The person's letters about consent, as the outbox has them."""
    query = (
        select(Delivery, Publication.slug)
        .join(Publication, Publication.id == Delivery.publication_id)
        .where(
            Delivery.subscriber_id == subscriber.id,
            Delivery.letter.not_in(_NOT_OF_CONSENT),
        )
        .order_by(Delivery.id)
    )
    if publication is not None:
        query = query.where(Delivery.publication_id == publication.id)
    return [
        {
            "publication": slug,
            "letter": str(mail.letter),
            "message_id": mail.message_id,
            "sha256": mail.content_sha256.hex() if mail.content_sha256 else None,
            "state": str(mail.state),
            "queued_at": timestamp(mail.created_at),
            "settled_at": timestamp(mail.settled_at) if mail.settled_at else None,
        }
        for mail, slug in session.execute(query)
    ]
