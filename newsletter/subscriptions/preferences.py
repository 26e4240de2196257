"""What a reader sees of themselves, and changes: name, language, publications.

The link in a digest opens the harmless part. What a forwarded mail must not open (history, data,
being forgotten) needs the link of a mail that is sent to the reader's own mailbox (`send_access`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager, joinedload

from newsletter import addresses, consent
from newsletter.errors import NotFound
from newsletter.store import (
    Delivery,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
)
from newsletter.store.find import subscriber_by_public_id
from newsletter.store.letters import new_letter, take_quota
from newsletter.subscriptions import leave, signup


@dataclass(frozen=True)
class View:
    """A reader, and for each publication the subscription to it, if any."""

    subscriber: Subscriber
    rows: list[tuple[Publication, Subscription | None]]


@dataclass(frozen=True)
class Change:
    """What the form says. `keep`: slugs to stay in; `join`: slug -> the wording that was ticked."""

    name: str | None
    language: str
    keep: frozenset[str]
    join: dict[str, consent.Wording] = field(default_factory=dict)


def look(session: Session, subscriber_id: str) -> View | None:
    """The reader that a link names (public id); None when erased meanwhile."""
    subscriber = subscriber_by_public_id(session, subscriber_id)
    if subscriber is None:
        return None
    mine = {
        subscription.publication_id: subscription
        for subscription in session.scalars(
            select(Subscription).where(Subscription.subscriber_id == subscriber.id)
        )
    }
    publications = session.scalars(select(Publication).order_by(Publication.title))
    return View(subscriber, [(each, mine.get(each.id)) for each in publications])


def change(
    session: Session,
    subscriber_id: str,
    wanted: Change,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> list[str]:
    """Set name and language, leave what is no longer wanted, ask for what is new.

    Leaving works at once. Joining goes through a confirmation mail, like any sign-up: a link that
    was forwarded must not sign anybody up.

    Returns the slugs that a confirmation mail was sent for. Raises NotFound when erased meanwhile.
    """
    view = look(session, subscriber_id)
    if view is None:
        raise NotFound("Nothing is kept of you any more.")
    subscriber = view.subscriber
    changed = [
        name for name in ("name", "language") if getattr(subscriber, name) != getattr(wanted, name)
    ]
    subscriber.name, subscriber.language = wanted.name, wanted.language
    # Joining first: it takes the mailbox's quota, which comes before the log in the order of locks.
    asked = _join(session, view, wanted, evidence, hash_key=hash_key, now=now)
    for publication, subscription in view.rows:
        if subscription is None or not _is_alive(subscription) or publication.slug in asked:
            continue
        if changed:
            note = "changed: " + ", ".join(changed)
            said = replace(evidence, note=note, language=wanted.language)
            consent.record(session, consent.EventType.PREFERENCES, subscription, said, now=now)
        if publication.slug not in wanted.keep:
            leave.withdraw(session, subscription, evidence, hash_key=hash_key, now=now)
    return asked


def _join(
    session: Session,
    view: View,
    wanted: Change,
    evidence: consent.Evidence,
    *,
    hash_key: bytes,
    now: datetime,
) -> list[str]:
    """Ask for what was ticked anew; returns the slugs that a confirmation mail was sent for."""
    address = addresses.parse(view.subscriber.address)
    form = signup.Signup(address, wanted.name, wanted.language)
    asked = []
    for publication, subscription in view.rows:
        if publication.slug in wanted.join and not _is_alive(subscription):
            ticked = replace(evidence, box_ticked=True, wording=wanted.join[publication.slug])
            if signup.request(session, publication, form, ticked, hash_key=hash_key, now=now):
                asked.append(publication.slug)
    return asked


def _is_alive(subscription: Subscription | None) -> bool:
    return subscription is not None and subscription.state in (
        SubscriptionState.PENDING,
        SubscriptionState.CONFIRMED,
    )


def send_access(
    session: Session, subscriber_id: str, *, slug: str | None, hash_key: bytes, now: datetime
) -> bool:
    """Mail the reader a fresh link to what only they may see.

    slug: the publication in whose name it is sent; None for the reader's first.

    Returns False when one was sent a moment ago, or the reader was erased meanwhile.
    """
    subscriber = subscriber_by_public_id(session, subscriber_id)
    if subscriber is None:
        return False
    query = (
        select(Subscription)
        .join(Publication)
        .where(Subscription.subscriber_id == subscriber.id)
        .options(contains_eager(Subscription.publication))
        .order_by(Publication.slug != (slug or ""), Subscription.id)
        .limit(1)
    )
    subscription = session.scalars(query).one_or_none()
    mailbox = addresses.parse(subscriber.address).mailbox_hash(hash_key)
    if subscription is None or not take_quota(session, mailbox, LetterName.ACCESS, now=now):
        return False
    publication = subscription.publication
    new_letter(session, LetterName.ACCESS, publication, subscriber, subscription, now=now)
    return True


def history(session: Session, subscriber_id: str) -> list[consent.Entry]:
    """The reader's consent events, oldest first; none when erased meanwhile."""
    subscriber = subscriber_by_public_id(session, subscriber_id)
    return list(consent.entries(session, subscriber.id)) if subscriber else []


def everything(session: Session, subscriber_id: str) -> dict[str, Any]:
    """All that is kept of the reader, as values that JSON can hold (GDPR Art. 15 and 20).

    Raises NotFound when erased meanwhile.
    """
    subscriber = subscriber_by_public_id(session, subscriber_id)
    if subscriber is None:
        raise NotFound("Nothing is kept of you any more.")
    subscriptions = session.scalars(
        select(Subscription)
        .where(Subscription.subscriber_id == subscriber.id)
        .options(joinedload(Subscription.publication))
        .order_by(Subscription.id)
    )
    deliveries = session.scalars(
        select(Delivery).where(Delivery.subscriber_id == subscriber.id).order_by(Delivery.id)
    )
    return {
        "subscriber": {
            "address": subscriber.address,
            "name": subscriber.name,
            "language": subscriber.language,
            "since": _iso(subscriber.created_at),
        },
        "subscriptions": [
            {
                "publication": each.publication.title,
                "state": each.state,
                "created_at": _iso(each.created_at),
                "confirmed_at": _iso(each.confirmed_at),
                "ended_at": _iso(each.ended_at),
            }
            for each in subscriptions
        ],
        "consent_events": [entry.fields for entry in consent.entries(session, subscriber.id)],
        "mails": [
            {
                "letter": each.letter,
                "address": each.address,
                "message_id": each.message_id,
                "state": each.state,
                "queued_at": _iso(each.created_at),
                "settled_at": _iso(each.settled_at),
            }
            for each in deliveries
        ],
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
