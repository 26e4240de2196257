"""What is kept no longer than it is needed: unconfirmed sign-ups, and evidence of old consent.

    pending, never confirmed    erased after `pending_for`, when no link of theirs is good any more;
                                one reminder half-way, where reminders are wanted
    pending, confirmed before   the new request lapses: unsubscribed, and its evidence ages on
    ended                       the evidence is erased `evidence_for` after the end

Nobody asked for these erasures, so they stand in no ledger: on a restored backup they are simply
due again. Whoever had left stays suppressed, so that no import brings them back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, joinedload

from newsletter import addresses, consent
from newsletter.config import Settings
from newsletter.store import (
    Delivery,
    DeliveryState,
    LetterName,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from newsletter.store.find import subscriber_by_key, suppress
from newsletter.subscriptions import confirm, erase, leave

_EVIDENCE = consent.Evidence(actor="service", channel="schedule")
_LIVING = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)


@dataclass(frozen=True)
class Rules:
    """How long things are kept. link_good_for: a confirmation link. reminds: send reminders."""

    pending_for: timedelta
    evidence_for: timedelta
    link_good_for: timedelta
    reminds: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules that the settings give."""
        return cls(
            pending_for=timedelta(days=settings.pending_days),
            # Of 365.2425 days: a year is no number of seconds, and nothing hangs on an hour.
            evidence_for=timedelta(days=settings.evidence_years * 365.2425),
            link_good_for=timedelta(days=settings.confirm_days),
            reminds=settings.remind_pending,
        )


@dataclass(frozen=True)
class Tally:
    """How many subscriptions there were: erased unconfirmed, lapsed, erased for age, reminded.

    unreachable: to be reminded, but their mailboxes take no more of these mails.
    """

    pending_erased: int = 0
    lapsed: int = 0
    evidence_erased: int = 0
    reminded: int = 0
    unreachable: int = 0

    def __add__(self, other: Tally) -> Tally:
        names = [each.name for each in fields(Tally)]
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __bool__(self) -> bool:
        return self != Tally()


def due(session: Session, rules: Rules, *, now: datetime) -> Tally:
    """How many subscriptions each rule is about at this moment; changes nothing."""

    def count(which: ColumnElement[bool]) -> int:
        return session.scalar(select(func.count()).select_from(Subscription).where(which)) or 0

    return Tally(
        pending_erased=count(_unconfirmed(rules, now)),
        lapsed=count(_lapsed(rules, now)),
        evidence_erased=count(_aged(rules, now)),
        reminded=count(_forgotten(rules, now)) if rules.reminds else 0,
    )


def piece(
    session: Session, rules: Rules, *, hash_key: bytes, now: datetime, size: int = 100
) -> Tally:
    """Do it for up to `size` subscriptions, in the session's transaction; false when none is left.

    The edge has the file cleaned when the last piece is committed.
    """

    def some(which: ColumnElement[bool]) -> list[int]:
        query = select(Subscription.id).join(Subscriber).where(which).order_by(Subscription.id)
        # The person first, as everybody does who changes one of their subscriptions.
        query = query.with_for_update(of=Subscriber, skip_locked=True)
        found = list(session.scalars(query.limit(size)))
        # As they are now that they are locked.
        again = select(Subscription.id).where(Subscription.id.in_(found), which)
        return list(session.scalars(again.order_by(Subscription.id)))

    def each(ids: list[int], change: Callable[[Subscription], bool | None]) -> list[bool | None]:
        # Erasing a person can take the next one of the list along.
        found = (_loaded(session, number) for number in ids)
        return [change(subscription) for subscription in found if subscription is not None]

    if ids := some(_unconfirmed(rules, now)):
        done = each(ids, lambda found: erase.end_evidence(session, found, _EVIDENCE, now=now))
        return Tally(pending_erased=len(done))
    if ids := some(_lapsed(rules, now)):
        return Tally(lapsed=len(each(ids, lambda found: _lapse(session, found, now))))
    if ids := some(_aged(rules, now)):
        done = each(ids, lambda found: _age(session, found, hash_key, now))
        return Tally(evidence_erased=len(done))
    if rules.reminds and (ids := some(_forgotten(rules, now))):
        done = each(
            ids, lambda x: confirm.remind(session, x, _EVIDENCE, hash_key=hash_key, now=now)
        )
        return Tally(reminded=done.count(True), unreachable=done.count(False))
    return Tally()


def _unconfirmed(rules: Rules, now: datetime) -> ColumnElement[bool]:
    return and_(_too_long_pending(rules, now), Subscription.confirmed_at.is_(None))


def _lapsed(rules: Rules, now: datetime) -> ColumnElement[bool]:
    return and_(_too_long_pending(rules, now), Subscription.confirmed_at.is_not(None))


def _too_long_pending(rules: Rules, now: datetime) -> ColumnElement[bool]:
    return and_(
        Subscription.state == SubscriptionState.PENDING,
        Subscription.pending_since <= now - rules.pending_for,
        # Whoever asked again yesterday is given the time to follow the link.
        ~_confirmation(Delivery.created_at > now - rules.link_good_for),
    )


def _aged(rules: Rules, now: datetime) -> ColumnElement[bool]:
    return and_(
        Subscription.state.not_in(_LIVING), Subscription.ended_at <= now - rules.evidence_for
    )


def _forgotten(rules: Rules, now: datetime) -> ColumnElement[bool]:
    """Half-way to being erased, mailed once, never reminded, and without a good link."""
    return and_(
        Subscription.state == SubscriptionState.PENDING,
        Subscription.pending_since <= now - rules.pending_for / 2,
        Subscription.pending_since > now - rules.pending_for,
        or_(
            Subscription.reminded_at.is_(None),
            Subscription.reminded_at < Subscription.pending_since,
        ),
        _confirmation(
            Delivery.created_at >= Subscription.pending_since,
            Delivery.state == DeliveryState.ACCEPTED,
        ),
        ~_confirmation(Delivery.created_at > now - rules.link_good_for),
    )


def _confirmation(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the subscription has such a confirmation mail."""
    return exists().where(
        Delivery.subscription_id == Subscription.id,
        Delivery.letter == LetterName.CONFIRMATION,
        *which,
    )


def _loaded(session: Session, number: int) -> Subscription | None:
    query = (
        select(Subscription)
        .where(Subscription.id == number)
        .options(joinedload(Subscription.publication), joinedload(Subscription.subscriber))
    )
    return session.scalars(query).one_or_none()


def _lapse(session: Session, subscription: Subscription, now: datetime) -> None:
    evidence = consent.Evidence(
        actor="service", channel="schedule", note="the new request was not confirmed in time"
    )
    leave.end(session, subscription, evidence, now=now)


def _age(session: Session, subscription: Subscription, hash_key: bytes, now: datetime) -> None:
    address = addresses.parse(subscription.subscriber.address)
    erase.end_evidence(session, subscription, _EVIDENCE, now=now)
    if subscriber_by_key(session, address.key) is None:
        # Not while they read something else: a suppression stops that too.
        mailbox = address.mailbox_hash(hash_key)
        suppress(session, mailbox, SuppressionReason.ERASED, now=now)
