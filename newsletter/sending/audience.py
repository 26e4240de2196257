"""Who would get a digest and who not, before it is sent or while it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    case,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.orm import Session

from newsletter.addresses import of_key
from newsletter.sending.gate import (
    CANCELLED,
    ERASED,
    HALTED,
    SUPPRESSED,
    UNRECORDED,
    halted,
    recorded,
)
from newsletter.store import (
    Delivery,
    DeliveryState,
    Digest,
    DigestState,
    Subscriber,
    Subscription,
    SubscriptionState,
    Suppression,
    SuppressionReason,
)

ALREADY_SENT = "already sent"
# Confirmed after the digest's rows were made.
NOT_QUEUED = "not queued"

# What the digest's own condition asks for (newsletter.sending.gate).
_UNMAILABLE = frozenset(
    {SuppressionReason.ERASED, SuppressionReason.BOUNCED, SuppressionReason.COMPLAINED}
)
_PIECE = 1000


@dataclass(frozen=True)
class Audience:
    """receivers: how many readers get it. excluded: how many do not, by one word that says why."""

    receivers: int
    excluded: dict[str, int] = field(default_factory=dict)


def count(session: Session, digest: Digest, *, hash_key: bytes) -> Audience:
    """Who is still to be mailed, as things are now.

    hash_key: the installation's; suppressed mailboxes are known by their hash alone.

    The others count by what keeps the mail from them: the state of their subscription,
    "unrecorded" when the consent log does not say that they are confirmed, "halted" when sending
    stands still, "suppressed", or for a digest that was begun "already sent", "failed",
    "uncertain", "cancelled", "not queued" and the reasons for which rows were skipped.
    """
    why_not = _why_not(digest)
    counted = _people(digest, why_not.label("why"), func.count()).group_by("why")
    excluded: Counter[Any] = Counter({row[0]: row[1] for row in session.execute(counted)})
    excluded.update(_without_person(session, digest))
    unmailable = _unmailable(session, digest, why_not, hash_key)
    receivers = excluded.pop(None, 0) - unmailable
    excluded[SUPPRESSED] += unmailable
    return Audience(receivers, {word: n for word, n in sorted(excluded.items()) if n})


def not_queued_yet(session: Session, digest: Digest) -> int:
    """How many rows queueing will still make for the digest."""
    if digest.queued_at is not None or digest.state == DigestState.CANCELLED:
        return 0
    query = (
        select(func.count())
        .select_from(Subscription)
        .where(
            Subscription.publication_id == digest.publication_id,
            Subscription.state == SubscriptionState.CONFIRMED,
            Subscription.id > (digest.queued_up_to or 0),
        )
    )
    return session.scalar(query) or 0


def _people(digest: Digest, *columns: Any) -> Select[Any]:
    """Each subscription of the digest's publication, with its row for the digest if it has one."""
    its_row = and_(
        Delivery.digest_id == digest.id, Delivery.subscriber_id == Subscription.subscriber_id
    )
    return (
        select(*columns)
        .select_from(Subscription)
        .join(Subscriber, Subscriber.id == Subscription.subscriber_id)
        .outerjoin(Delivery, its_row)
        .where(Subscription.publication_id == digest.publication_id)
    )


def _settled() -> list[tuple[ColumnElement[bool], Any]]:
    return [
        (Delivery.state == DeliveryState.ACCEPTED, literal(ALREADY_SENT, String)),
        (
            Delivery.state == DeliveryState.SKIPPED,
            func.coalesce(Delivery.reason, Delivery.state),
        ),
        (Delivery.state.in_((DeliveryState.FAILED, DeliveryState.UNCERTAIN)), Delivery.state),
    ]


def _why_not(digest: Digest) -> ColumnElement[str | None]:
    """NULL for who is still to be mailed (suppressions apart), else the word that says why not."""
    reasons = [
        *_settled(),
        (Subscription.state != SubscriptionState.CONFIRMED, Subscription.state),
    ]
    has_no_row = Delivery.id.is_(None)
    if digest.state == DigestState.CANCELLED:
        # An armed mail is on its way all the same.
        is_open = or_(has_no_row, Delivery.state != DeliveryState.ARMED)
        reasons.append((is_open, literal(CANCELLED, String)))
    elif digest.queued_at is not None:
        reasons.append((has_no_row, literal(NOT_QUEUED, String)))
    elif digest.queued_up_to:
        passed = and_(has_no_row, Subscription.id <= digest.queued_up_to)
        reasons.append((passed, literal(NOT_QUEUED, String)))
    is_recorded = recorded(Subscription.id, around=Subscription)
    reasons += [
        (halted(), literal(HALTED, String)),
        (not_(is_recorded), literal(UNRECORDED, String)),
    ]
    return case(*reasons, else_=null())


def _without_person(session: Session, digest: Digest) -> dict[str, int]:
    """The digest's rows of people who were erased since."""
    word = case(*_settled(), else_=literal(ERASED, String)).label("why")
    query = (
        select(word, func.count())
        .where(Delivery.digest_id == digest.id, Delivery.subscriber_id.is_(None))
        .group_by("why")
    )
    return {row[0]: row[1] for row in session.execute(query)}


def _unmailable(
    session: Session, digest: Digest, why_not: ColumnElement[str | None], hash_key: bytes
) -> int:
    """How many of those whom nothing else keeps from it have a mailbox that must not be mailed.

    Only a mailbox's hash is kept, so each is hashed, unless there is nobody to look for.
    """
    kept = Suppression.reason.in_(_UNMAILABLE)
    if not session.scalar(select(exists().where(kept))):
        return 0
    query = (
        _people(digest, Subscription.id, Subscriber.address_key)
        # Said once more, for the index that has the ids of a state in their order.
        .where(Subscription.state == SubscriptionState.CONFIRMED, why_not.is_(None))
        .order_by(Subscription.id)
        .limit(_PIECE)
    )
    found, after = 0, 0
    while rows := session.execute(query.where(Subscription.id > after)).all():
        after = rows[-1][0]
        hashes = [of_key(row[1]).mailbox_hash(hash_key) for row in rows]
        named = select(Suppression.mailbox_hash).where(kept, Suppression.mailbox_hash.in_(hashes))
        suppressed = set(session.scalars(named))
        found += sum(each in suppressed for each in hashes)
    return found
