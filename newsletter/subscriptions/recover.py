"""Who left or was erased after the backup was made, leaves and is erased again.

The ledger names mailboxes, not subscribers: where a mailbox has several spellings, all of them go.
That is the side to err on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from newsletter import addresses, consent
from newsletter.consent.ledger import Entry
from newsletter.store import (
    LedgerKind,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from newsletter.store.find import suppress
from newsletter.subscriptions import erase, leave

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)
_SUPPRESSED = {
    LedgerKind.ERASED: SuppressionReason.ERASED,
    LedgerKind.BLOCKED: SuppressionReason.BLOCKED,
}
_PIECE = 1000


@dataclass(frozen=True)
class Applied:
    """What was done again: people erased, subscriptions ended, and mailboxes blocked."""

    erased: int = 0
    withdrawn: int = 0
    blocked: int = 0


def apply(session: Session, entries: Iterable[Entry], *, hash_key: bytes, now: datetime) -> Applied:
    """Do again what these entries of the ledger say, in their order.

    Of people whom the database does not know any more only the suppression is kept. Nobody is
    mailed a goodbye: they were, when they left.
    """
    missing = list(entries)
    people = _people(session, {each.mailbox_hash for each in missing}, hash_key)
    erased = withdrawn = blocked = 0
    for entry in missing:
        if (reason := _SUPPRESSED.get(entry.kind)) is not None:
            suppress(session, entry.mailbox_hash, reason, now=now)
        blocked += entry.kind == LedgerKind.BLOCKED
        mine = people.get(entry.mailbox_hash, [])
        if entry.kind == LedgerKind.ERASED:
            erased += sum(_erase(session, number, now) for number in mine)
        else:
            withdrawn += sum(_end(session, number, entry, now) for number in mine)
    return Applied(erased, withdrawn, blocked)


def _people(session: Session, hashes: set[bytes], hash_key: bytes) -> dict[bytes, list[int]]:
    """The subscribers' row ids by the mailboxes that are asked for."""
    found: dict[bytes, list[int]] = {}
    if not hashes:
        return found
    query = select(Subscriber.id, Subscriber.address_key).execution_options(yield_per=_PIECE)
    with session.execute(query) as rows:
        for number, key in rows:
            name = addresses.of_key(key).mailbox_hash(hash_key)
            if name in hashes:
                found.setdefault(name, []).append(number)
    return found


def _erase(session: Session, subscriber_id: int, now: datetime) -> bool:
    subscriber = session.get(Subscriber, subscriber_id)
    if subscriber is None:  # by an earlier entry
        return False
    evidence = consent.Evidence(actor="service", channel="command")
    erase.destroy(session, subscriber, evidence, now=now)
    return True


def _end(session: Session, subscriber_id: int, entry: Entry, now: datetime) -> int:
    query = (
        select(Subscription)
        .join(Publication)
        .where(Subscription.subscriber_id == subscriber_id, Subscription.state.in_(_ALIVE))
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    )
    if entry.publication is not None:
        query = query.where(Publication.slug == entry.publication)
    ended = session.scalars(query).all()
    note = f"again, after a recovery: {entry.kind} at {entry.at.isoformat()}"
    evidence = consent.Evidence(actor="service", channel="command", note=note)
    for subscription in ended:
        leave.end(session, subscription, evidence, now=now)
    return len(ended)
