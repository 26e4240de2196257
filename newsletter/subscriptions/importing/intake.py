"""Taking a piece of rows in, with an event for each person."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from newsletter import consent, network
from newsletter.i18n import choose
from newsletter.store import (
    Delivery,
    LetterName,
    Publication,
    Subscriber,
    Subscription,
    SubscriptionState,
    public_id,
)
from newsletter.store.find import suppressions
from newsletter.store.letters import message_id, take_quota
from newsletter.subscriptions.importing.rows import Row

# So many rows a transaction: short enough to run beside a busy service.
PIECE = 1000

Status = Literal["pending", "confirmed"]


@dataclass
class Tally:
    """What became of the rows."""

    imported: int = 0
    already: int = 0
    suppressed: int = 0

    def add(self, other: Tally) -> None:
        """Count another piece's rows too."""
        self.imported += other.imported
        self.already += other.already
        self.suppressed += other.suppressed


def take(
    session: Session,
    publication: Publication,
    rows: Sequence[Row],
    *,
    status: Status,
    source: str,
    hash_key: bytes,
    now: datetime,
    keep: network.Keep = "truncated",
    send_confirmation: bool = False,
) -> Tally:
    """Bring in one piece of at most PIECE rows, in the session's transaction.

    status: what the people's subscriptions become.
    source: the operator's word for where the consent came from; goes into every event.
    keep: how much of the people's network addresses is kept (the setting client_address).
    send_confirmation: with status "pending", a confirmation mail each, within the quota.
    """
    tally = Tally()
    hashes = {row.number: row.address.mailbox_hash(hash_key) for row in rows}
    barred = suppressions(session, hashes.values())
    fresh: dict[str, Row] = {}
    for row in rows:
        if hashes[row.number] in barred:
            tally.suppressed += 1
        elif row.address.key in fresh:
            tally.already += 1
        else:
            fresh[row.address.key] = row
    known = _known(session, list(fresh))
    subscribed = set(
        session.scalars(
            select(Subscription.subscriber_id).where(
                Subscription.publication_id == publication.id,
                Subscription.subscriber_id.in_([each.id for each in known.values()]),
            )
        )
    )
    for key, subscriber in known.items():
        if subscriber.id in subscribed:
            del fresh[key]
            tally.already += 1
    known |= _make_subscribers(session, publication, fresh, known, now)
    people = [(known[key], row) for key, row in fresh.items()]
    if people:
        # Quotas before the log, and in one order: see the order of locks in newsletter.store.find.
        asks = send_confirmation and status == "pending"
        by_hash = sorted((hashes[row.number], row.number) for _, row in people) if asks else []
        asked = {
            number
            for mailbox, number in by_hash
            if take_quota(session, mailbox, LetterName.CONFIRMATION, now=now)
        }
        said = [(person, row, _evidence(row, status, source, keep)) for person, row in people]
        made = _subscribe(session, publication, said, status=status, now=now)
        _ask(session, publication, people, made=made, asked=asked, now=now)
    tally.imported += len(people)
    return tally


def _known(session: Session, keys: list[str]) -> dict[str, Subscriber]:
    found = session.scalars(select(Subscriber).where(Subscriber.address_key.in_(keys)))
    return {each.address_key: each for each in found}


def _make_subscribers(
    session: Session,
    publication: Publication,
    fresh: dict[str, Row],
    known: dict[str, Subscriber],
    now: datetime,
) -> dict[str, Subscriber]:
    values = [
        {
            "public_id": public_id(),
            "address": row.address.spelling,
            "address_key": key,
            "name": row.name,
            "language": choose([row.language or "", publication.language]),
            "key": secrets.token_bytes(32),
            "created_at": now,
        }
        for key, row in fresh.items()
        if key not in known
    ]
    if not values:
        return {}
    session.execute(insert(Subscriber), values)
    return _known(session, [str(value["address_key"]) for value in values])


def _subscribe(
    session: Session,
    publication: Publication,
    people: list[tuple[Subscriber, Row, consent.Evidence]],
    *,
    status: Status,
    now: datetime,
) -> dict[int, int]:
    """The subscriptions with their events; returns subscriber id -> subscription id."""
    names = [public_id() for _ in people]
    values: list[dict[str, Any]] = [
        {
            "public_id": name,
            "publication_id": publication.id,
            "subscriber_id": subscriber.id,
            "state": SubscriptionState(status),
            "pending_since": now,
            "confirmed_at": (row.confirmed_at or now) if status == "confirmed" else None,
            "created_at": now,
        }
        for name, (subscriber, row, _) in zip(names, people, strict=True)
    ]
    session.execute(insert(Subscription), values)
    found = session.execute(
        select(Subscription.public_id, Subscription.id).where(Subscription.public_id.in_(names))
    )
    ids: dict[str, int] = {each.public_id: each.id for each in found}
    subjects = []
    for name, (subscriber, _, evidence) in zip(names, people, strict=True):
        subject = consent.Subject(
            subscriber_id=subscriber.id,
            subscriber=subscriber.public_id,
            key=subscriber.key,
            subscription_id=ids[name],
            subscription=name,
            address=subscriber.address,
            address_key=subscriber.address_key,
            publication=publication.slug,
        )
        subjects.append((subject, evidence))
    consent.record_many(session, consent.EventType.IMPORTED, subjects, now=now)
    return {person[0].id: ids[name] for name, person in zip(names, people, strict=True)}


def _evidence(row: Row, status: Status, source: str, keep: network.Keep) -> consent.Evidence:
    confirmed = row.confirmed_at.isoformat() if row.confirmed_at else None
    return consent.Evidence(
        actor="operator",
        channel="import",
        entered=row.address.spelling,
        language=row.language,
        client_address=network.kept(row.ip, keep),
        status=status,
        source=f"{source}; {row.source}" if row.source else source,
        note=f"confirmed elsewhere at {confirmed}" if confirmed else None,
    )


def _ask(
    session: Session,
    publication: Publication,
    people: list[tuple[Subscriber, Row]],
    *,
    made: dict[int, int],
    asked: set[int],
    now: datetime,
) -> None:
    letters = []
    for subscriber, row in people:
        if row.number not in asked:
            continue
        name = public_id()
        letters.append(
            {
                "public_id": name,
                "letter": LetterName.CONFIRMATION,
                "publication_id": publication.id,
                "subscriber_id": subscriber.id,
                "subscription_id": made[subscriber.id],
                "address": subscriber.address,
                "message_id": message_id(name, publication),
                "due_at": now,
                "created_at": now,
            }
        )
    if letters:
        session.execute(insert(Delivery), letters)
