"""Confirming: the link in the confirmation mail, followed by a press of its page's button.

A link names one confirmation mail. It counts as long as the subscription is in the same pending
or confirmed stretch that the mail was sent in: an old link cannot undo a later leave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from newsletter import addresses, consent
from newsletter.consent import ledger
from newsletter.errors import BadLink
from newsletter.store import (
    Delivery,
    LedgerKind,
    LetterName,
    Publication,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from newsletter.store.find import confirmation, lift, suppress, suppressions
from newsletter.store.letters import answered, new_letter, take_quota

# What a fresh, confirmed sign-up ends. A block is not among them: it ends when the person asks us.
_ENDED_BY_CONFIRMING = (
    SuppressionReason.ERASED,
    SuppressionReason.BOUNCED,
    SuppressionReason.COMPLAINED,
)


@dataclass(frozen=True)
class View:
    """What the confirm page shows.

    current: the link still counts. is_former: it belongs to an earlier request, ended since.
    language: in which the person signed up.
    """

    publication: Publication
    address: str
    state: str
    current: bool
    is_former: bool
    language: str


def look(session: Session, delivery_id: str) -> View | None:
    """What a confirmation link is about; None when the person was erased meanwhile."""
    found = confirmation(session, delivery_id)
    return _view(*found) if found else None


def accept(
    session: Session,
    delivery_id: str,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> View:
    """The person confirms. A second time changes nothing and shows the same.

    Raises BadLink when the link no longer counts.
    """
    found = confirmation(session, delivery_id)
    if found is None or not _is_current(*found):
        raise BadLink("This link no longer counts: the sign-up that it belongs to has ended.")
    delivery, subscription = found
    if subscription.state == SubscriptionState.PENDING:
        mailbox = _mailbox(subscription, hash_key)
        if SuppressionReason.BLOCKED in suppressions(session, [mailbox]).get(mailbox, set()):
            raise BadLink("This link no longer counts: somebody said that it was not them.")
        subscription.confirm(now)
        answered(session, mailbox, LetterName.CONFIRMATION)
        evidence = replace(
            evidence,
            message_id=delivery.message_id,
            mail_sha256=delivery.content_sha256.hex() if delivery.content_sha256 else None,
            declared=consent.declaration(session, subscription),
        )
        consent.record(session, consent.EventType.CONFIRMED, subscription, evidence, now=now)
        lift(session, mailbox, _ENDED_BY_CONFIRMING)
        if subscription.publication.sends_welcome:
            _letter(session, LetterName.WELCOME, subscription, now)
    return _view(delivery, subscription)


def deny(
    session: Session,
    delivery_id: str,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> None:
    """The person says "this was not me": the sign-up ends, and no confirmation mail comes again.

    Other publications that the person confirmed stay theirs. A second time changes nothing.

    Raises BadLink when the link is of an earlier request, whose subscription has ended since.
    """
    found = confirmation(session, delivery_id)
    if found is None:
        return
    delivery, subscription = found
    if _is_former(delivery, subscription):
        raise BadLink("This link no longer counts: the sign-up that it belongs to has ended.")
    is_alive = subscription.state in (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)
    mailbox = _mailbox(subscription, hash_key)
    is_blocked = SuppressionReason.BLOCKED in suppressions(session, [mailbox]).get(mailbox, set())
    if is_blocked and not is_alive:
        return
    suppress(session, mailbox, SuppressionReason.BLOCKED, now=now)
    if is_alive:
        subscription.end(SubscriptionState.UNSUBSCRIBED, now)
    evidence = replace(evidence, message_id=delivery.message_id)
    consent.record(session, consent.EventType.BLOCKED, subscription, evidence, now=now)
    slug = subscription.publication.slug
    ledger.note(session, LedgerKind.BLOCKED, mailbox, publication=slug, now=now)


def send_again(
    session: Session,
    delivery_id: str,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> Delivery | None:
    """The link was too old and the person asks for a new mail; None when none may be sent."""
    found = confirmation(session, delivery_id)
    if found is None:
        return None
    _delivery, subscription = found
    return _mail_again(session, subscription, evidence, hash_key=hash_key, now=now)


def remind(
    session: Session,
    subscription: Subscription,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> bool:
    """One more confirmation mail to somebody who did not answer, once in a pending stretch.

    False when their mailbox takes none any more: it is blocked, or its quota is used up. They are
    not asked again all the same.
    """
    subscription.reminded_at = now
    return _mail_again(session, subscription, evidence, hash_key=hash_key, now=now) is not None


def _mail_again(
    session: Session,
    subscription: Subscription,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> Delivery | None:
    mailbox = _mailbox(subscription, hash_key)
    if (
        subscription.state != SubscriptionState.PENDING
        or SuppressionReason.BLOCKED in suppressions(session, [mailbox]).get(mailbox, set())
        or not take_quota(session, mailbox, LetterName.CONFIRMATION, now=now)
    ):
        return None
    fresh = _letter(session, LetterName.CONFIRMATION, subscription, now)
    declared = consent.declaration(session, subscription)
    evidence = replace(evidence, message_id=fresh.message_id, declared=declared)
    consent.record(session, consent.EventType.REQUESTED, subscription, evidence, now=now)
    return fresh


def _letter(
    session: Session, name: LetterName, subscription: Subscription, now: datetime
) -> Delivery:
    return new_letter(
        session, name, subscription.publication, subscription.subscriber, subscription, now=now
    )


def _mailbox(subscription: Subscription, hash_key: bytes) -> bytes:
    return addresses.parse(subscription.subscriber.address).mailbox_hash(hash_key)


def _is_former(delivery: Delivery, subscription: Subscription) -> bool:
    return delivery.created_at < subscription.pending_since


def _is_current(delivery: Delivery, subscription: Subscription) -> bool:
    is_alive = subscription.state in (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)
    return is_alive and not _is_former(delivery, subscription)


def _view(delivery: Delivery, subscription: Subscription) -> View:
    return View(
        subscription.publication,
        subscription.subscriber.address,
        subscription.state,
        _is_current(delivery, subscription),
        _is_former(delivery, subscription),
        subscription.subscriber.language,
    )
