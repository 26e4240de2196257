"""Leaving: by the reader's one click, by an operator's word, by a bounce or a complaint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from newsletter import addresses, consent
from newsletter.consent import ledger
from newsletter.errors import NotFound
from newsletter.store import (
    LedgerKind,
    LetterName,
    Publication,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from newsletter.store.find import subscriber_by_key, subscription_by_public_id, suppress
from newsletter.store.letters import new_letter

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)


@dataclass(frozen=True)
class View:
    """What the page shows about the subscription that a link names; language: the reader's."""

    publication: Publication
    address: str
    state: str
    language: str


def look(session: Session, subscription_id: str) -> View | None:
    """What an unsubscribe link is about; None when the reader was erased meanwhile."""
    subscription = subscription_by_public_id(session, subscription_id)
    return _view(subscription) if subscription else None


def by_reader(
    session: Session,
    subscription_id: str,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> View | None:
    """The reader leaves, at once (GDPR Art. 7(3)); a second time changes nothing (RFC 8058 §3.2).

    Returns None when the reader was erased meanwhile: there is nothing left to leave.
    """
    subscription = subscription_by_public_id(session, subscription_id)
    if subscription is None:
        return None
    withdraw(session, subscription, evidence, hash_key=hash_key, now=now)
    return _view(subscription)


def by_operator(
    session: Session,
    address_key: str,
    slug: str | None,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> int:
    """An operator ends a person's subscriptions, all or one publication's; how many were ended.

    Raises NotFound when there is no such subscriber.
    """
    subscriber = subscriber_by_key(session, address_key)
    if subscriber is None:
        raise NotFound("No subscriber has this address.")
    query = (
        select(Subscription)
        .join(Publication)
        .where(Subscription.subscriber_id == subscriber.id, Subscription.state.in_(_ALIVE))
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    )
    if slug is not None:
        query = query.where(Publication.slug == slug)
    ended = session.scalars(query).all()
    for subscription in ended:
        withdraw(session, subscription, evidence, hash_key=hash_key, now=now)
    return len(ended)


def by_bounce(
    session: Session,
    subscription: Subscription,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> None:
    """The address does not exist: the subscription ends and the mailbox is suppressed."""
    if subscription.state not in _ALIVE:
        return
    subscription.end(SubscriptionState.BOUNCED, now)
    consent.record(session, consent.EventType.BOUNCED, subscription, evidence, now=now)
    mailbox = addresses.parse(subscription.subscriber.address).mailbox_hash(hash_key)
    suppress(session, mailbox, SuppressionReason.BOUNCED, now=now)


def withdraw(
    session: Session,
    subscription: Subscription,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> None:
    """End a living subscription with its event, and say goodbye where the publication does so.

    The edge has the ledger written after the commit, so that no restored backup undoes it.
    """
    if subscription.state not in _ALIVE:
        return
    was_confirmed = subscription.state == SubscriptionState.CONFIRMED
    end(session, subscription, evidence, now=now)
    mailbox = addresses.parse(subscription.subscriber.address).mailbox_hash(hash_key)
    slug = subscription.publication.slug
    ledger.note(session, LedgerKind.WITHDRAWN, mailbox, publication=slug, now=now)
    if was_confirmed and subscription.publication.sends_goodbye:
        new_letter(
            session,
            LetterName.GOODBYE,
            subscription.publication,
            subscription.subscriber,
            subscription,
            now=now,
        )


def end(
    session: Session, subscription: Subscription, evidence: consent.Evidence, *, now: datetime
) -> None:
    """End a living subscription with its event, and nothing else: for a recovery or old age."""
    subscription.end(SubscriptionState.UNSUBSCRIBED, now)
    consent.record(session, consent.EventType.WITHDRAWN, subscription, evidence, now=now)


def _view(subscription: Subscription) -> View:
    subscriber = subscription.subscriber
    return View(
        subscription.publication, subscriber.address, subscription.state, subscriber.language
    )
