"""The fold of the log against the state table: who is confirmed, and who withdrew."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from newsletter.consent.check import fault
from newsletter.errors import ConsentLogError
from newsletter.store import ConsentEvent, Subscription


def check(session: Session) -> None:
    """Each subscription is in the state that its newest event left it in, no more and no less.

    Raises ConsentLogError with the first that is not.
    """
    of_it = (
        select(ConsentEvent.position)
        .where(
            ConsentEvent.subscription_id == Subscription.id,
            ConsentEvent.state.is_not(None),
        )
        .order_by(ConsentEvent.position.desc())
        .limit(1)
        .correlate(Subscription)
    )
    said = of_it.with_only_columns(ConsentEvent.state).scalar_subquery()
    query = (
        select(Subscription.public_id, Subscription.state, said, of_it.scalar_subquery())
        .where(Subscription.state.is_distinct_from(said))
        .order_by(Subscription.id)
        .limit(1)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return
    name, state, says, position = found
    text = f"subscription {name}: the table says {state}, the log says {says or 'nothing'}"
    if position is None:
        raise ConsentLogError(text)
    raise fault.at(position, text)


def check_subscriptions(session: Session) -> None:
    """No event is about a subscription that the table does not have."""
    there = select(Subscription.id).where(Subscription.id == ConsentEvent.subscription_id)
    query = select(func.min(ConsentEvent.position)).where(
        ConsentEvent.subscription_id.is_not(None), ~there.exists()
    )
    position = session.scalar(query)
    if position is not None:
        raise fault.at(position, "the event's subscription is not in the table")


def counts(session: Session) -> dict[str, int]:
    """How many subscriptions are in each state, the names sorted."""
    query = select(Subscription.state, func.count()).group_by(Subscription.state)
    return dict(sorted((state, number) for state, number in session.execute(query)))
