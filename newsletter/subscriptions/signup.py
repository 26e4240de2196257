"""Signing up: what the form asks for, whatever the address is to us already.

The caller always answers with the same page. What happens depends on what we know:

    new, pending, ended     a pending subscription, an event, a confirmation mail
    confirmed               stays confirmed; an event, and a mail that says so
    blocked                 nothing: somebody said that this was not them
    over the quota          nothing, not even an event: no mail went out that it could explain
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter import consent
from newsletter.addresses import Address
from newsletter.store import (
    Delivery,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from newsletter.store.find import (
    ensure_subscriber,
    ensure_subscription,
    subscriber_by_key,
    suppressions,
)
from newsletter.store.letters import new_letter, take_quota


@dataclass(frozen=True)
class Signup:
    """What the form said. `name` is None when the field was left empty.

    language: the person's from now on.
    """

    address: Address
    name: str | None
    language: str


def request(
    session: Session,
    publication: Publication,
    signup: Signup,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> Delivery | None:
    """Somebody asks for `publication` to be sent to an address.

    evidence: with the wording shown and the ticked box; the address as entered, the wording's
        language and the mail's Message-ID are added here.

    Returns the mail that was queued, or None. A page must not tell the one from the other.
    """
    mailbox = signup.address.mailbox_hash(hash_key)
    reasons = suppressions(session, [mailbox]).get(mailbox, set())
    if SuppressionReason.BLOCKED in reasons:
        return None
    subscriber_by_key(session, signup.address.key)  # locks the person before the quota
    letter = _letter_for(session, publication, signup.address)
    if not take_quota(session, mailbox, letter, now=now):
        return None
    subscriber, is_new = ensure_subscriber(
        session, signup.address, name=signup.name, language=signup.language, now=now
    )
    if not is_new and not _has_confirmed(session, subscriber):
        # Nobody has proved yet that this mailbox is theirs: the last one to ask names it.
        subscriber.name, subscriber.language = signup.name, signup.language
    subscription, _ = ensure_subscription(session, publication, subscriber, now=now)
    subscription.ask_again(now)
    delivery = new_letter(session, letter, publication, subscriber, subscription, now=now)
    evidence = replace(
        evidence,
        entered=evidence.entered or signup.address.spelling,
        language=evidence.wording.language if evidence.wording else signup.language,
        message_id=delivery.message_id,
    )
    consent.record(session, consent.EventType.REQUESTED, subscription, evidence, now=now)
    return delivery


def _letter_for(session: Session, publication: Publication, address: Address) -> LetterName:
    confirmed = session.scalar(
        select(Subscription.id)
        .join(Subscriber)
        .where(
            Subscriber.address_key == address.key,
            Subscription.publication_id == publication.id,
            Subscription.state == SubscriptionState.CONFIRMED,
        )
    )
    return LetterName.ALREADY_CONFIRMED if confirmed else LetterName.CONFIRMATION


def _has_confirmed(session: Session, subscriber: Subscriber) -> bool:
    return (
        session.scalar(
            select(Subscription.id)
            .where(
                Subscription.subscriber_id == subscriber.id,
                Subscription.confirmed_at.is_not(None),
            )
            .limit(1)
        )
        is not None
    )
