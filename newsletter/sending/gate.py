"""May this letter still be handed over? Each letter's own condition, as SQL.

It is asked in the very statement that arms a mail (newsletter.sending.settle): whoever left,
was erased or blocked before that statement, is not mailed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    ScalarSelect,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from newsletter.store import (
    ConsentEvent,
    Delivery,
    Digest,
    DigestState,
    Installation,
    LetterName,
    Subscription,
    SubscriptionState,
    Suppression,
    SuppressionReason,
)

# Not reasons to skip: the mail waits until somebody resumes the digest, or mends the consent log.
PAUSED = "paused"
HALTED = "halted"
WAITING = (PAUSED, HALTED)
# The table says confirmed, and the consent log does not.
UNRECORDED = "unrecorded"
CANCELLED = "cancelled"
ERASED = "erased"
SUPPRESSED = "suppressed"
BLOCKED = "blocked"
# A newer request was made; only its own confirmation mail counts.
SUPERSEDED = "superseded"

_Reason = tuple[ColumnElement[bool], ColumnElement[Any]]


@cache
def why_not(letter: LetterName) -> ColumnElement[str | None]:
    """NULL when a row with this letter may be handed over, else one word that says why not.

    An expression about the row of `delivery` that the statement around it is about. It has one
    parameter, `mailbox_hash`: 32 bytes, or None where the suppressions do not matter yet.
    """
    reasons: list[_Reason] = []
    for condition, reason in _REASONS[letter]:
        word = literal(reason, String) if isinstance(reason, str) else reason
        reasons.append((condition, word))
    return case(*reasons, else_=null())


@cache
def may_go(letter: LetterName) -> ColumnElement[bool]:
    """Whether `why_not` is NULL; an expression of the same kind.

    What is asked for each reader of a digest asks only what must be true, and each thing once.
    """
    if letter != LetterName.DIGEST:
        return why_not(letter).is_(None)
    return and_(
        Delivery.address.is_not(None),
        Delivery.subscriber_id.is_not(None),
        _state == SubscriptionState.CONFIRMED,
        _digest_state == DigestState.SENDING,
        not_(_unmailable),
        not_(halted()),
        recorded(Delivery.subscription_id, around=Delivery),
    )


def recorded(
    subscription_id: InstrumentedAttribute[Any], *, around: type[Any]
) -> ColumnElement[bool]:
    """Whether the consent log says that a subscription is confirmed: its newest state there.

    An expression about a row of the table `around`, in which `subscription_id` names it.
    """
    said = (
        select(ConsentEvent.state)
        .where(ConsentEvent.subscription_id == subscription_id, ConsentEvent.state.is_not(None))
        .order_by(ConsentEvent.position.desc())
        .limit(1)
        .correlate(around)
        .scalar_subquery()
    )
    return func.coalesce(said, "") == SubscriptionState.CONFIRMED


def halted() -> ColumnElement[bool]:
    """Whether sending stands still because the consent log did not verify."""
    return exists().where(Installation.log_fault.is_not(None))


def closed(session: Session, letter: LetterName, ids: Iterable[int]) -> set[int]:
    """Which of these rows, all with this letter, may not be handed over as things stand.

    A first look, to spare the relay mails that would be given up just before the dot; it does not
    see suppressions, and only the last look counts.
    """
    query = select(Delivery.id).where(Delivery.id.in_(list(ids)), why_not(letter).is_not(None))
    return set(session.connection().execute(query, {"mailbox_hash": None}).scalars())


def _of_digest(column: Any) -> ScalarSelect[Any]:
    return (
        select(column).where(Digest.id == Delivery.digest_id).correlate(Delivery).scalar_subquery()
    )


def _of_subscription(column: Any) -> ScalarSelect[Any]:
    return (
        select(column)
        .where(Subscription.id == Delivery.subscription_id)
        .correlate(Delivery)
        .scalar_subquery()
    )


def _suppressed(*reasons: SuppressionReason) -> ColumnElement[bool]:
    mailbox_hash = bindparam("mailbox_hash", type_=LargeBinary)
    query = select(Suppression.id).where(Suppression.mailbox_hash == mailbox_hash)
    if reasons:
        query = query.where(or_(*(Suppression.reason == each for each in reasons)))
    return query.exists()


_state = _of_subscription(Subscription.state)
_digest_state = _of_digest(Digest.state)

# Erasure takes the address and the subscriber out of the row.
_no_address = (Delivery.address.is_(None), ERASED)
_no_person = (or_(Delivery.address.is_(None), Delivery.subscriber_id.is_(None)), ERASED)
# "This was not me" stops what asks for a subscription; what the person confirmed stays theirs.
_blocked = (_suppressed(SuppressionReason.BLOCKED), BLOCKED)


_unmailable = _suppressed(
    SuppressionReason.ERASED, SuppressionReason.BOUNCED, SuppressionReason.COMPLAINED
)


def _not(state: SubscriptionState) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    return _state != state, _state


# The log decides who gets mail that is not about themselves; the table only says the same.
_halted = (halted(), HALTED)
_unrecorded = (
    not_(recorded(Delivery.subscription_id, around=Delivery)),
    UNRECORDED,
)
_no_subscription = (_state.is_(None), ERASED)

_REASONS: dict[LetterName, tuple[tuple[ColumnElement[bool], Any], ...]] = {
    # Asks for a yes that is still open, and asks for it in the newest mail: an older one's link
    # would not count.
    LetterName.CONFIRMATION: (
        _no_person,
        _no_subscription,
        _blocked,
        _not(SubscriptionState.PENDING),
        (Delivery.created_at < _of_subscription(Subscription.pending_since), SUPERSEDED),
    ),
    # Says "you are subscribed": it must be true when it is said.
    LetterName.ALREADY_CONFIRMED: (
        _no_person,
        _no_subscription,
        _blocked,
        _not(SubscriptionState.CONFIRMED),
    ),
    # Opens a person's own data, so the person must exist; whether they still read us is no matter.
    LetterName.ACCESS: (_no_person,),
    # Greets a reader: not one who has left already, nor one of whom the log knows no yes.
    LetterName.WELCOME: (
        _no_person,
        _no_subscription,
        _not(SubscriptionState.CONFIRMED),
        _halted,
        _unrecorded,
    ),
    # Says "you have left": not to one who came back.
    LetterName.GOODBYE: (
        _no_person,
        _no_subscription,
        _not(SubscriptionState.UNSUBSCRIBED),
    ),
    # Consent, at the last moment: confirmed by the table and by the log, not erased, bounced or
    # complained, and the digest neither cancelled nor paused.
    LetterName.DIGEST: (
        _no_person,
        _no_subscription,
        (_digest_state.is_(None), ERASED),
        (_digest_state == DigestState.CANCELLED, CANCELLED),
        _not(SubscriptionState.CONFIRMED),
        (_unmailable, SUPPRESSED),
        (_digest_state != DigestState.SENDING, PAUSED),
        _halted,
        _unrecorded,
    ),
    # An operator's own mail to an address of their choice.
    LetterName.TEST: (_no_address,),
}
