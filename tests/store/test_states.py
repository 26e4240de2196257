"""States change by the arrows of the house's map, and by no others; the database knows them too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, exc, text

from newsletter import store
from newsletter.errors import WrongState
from newsletter.store import (
    Digest,
    DigestState,
    Publication,
    Subscription,
    SubscriptionState,
)

P, C, U, B, X = SubscriptionState
ENDED = (U, B, X)

SUBSCRIPTION_STEPS: dict[str, Callable[[Subscription, datetime], None]] = {
    "ask_again": Subscription.ask_again,
    "confirm": Subscription.confirm,
    "leave": lambda subscription, now: subscription.end(U, now),
    "bounce": lambda subscription, now: subscription.end(B, now),
    "complain": lambda subscription, now: subscription.end(X, now),
}
# What is not named here is refused.
SUBSCRIPTION_ARROWS = {
    **{(state, "ask_again"): P for state in ENDED},
    (P, "ask_again"): P,
    (C, "ask_again"): C,
    (P, "confirm"): C,
    **{(state, "leave"): U for state in (P, C)},
    **{(state, "bounce"): B for state in (P, C)},
    **{(state, "complain"): X for state in (P, C)},
}


def subscription(state: SubscriptionState, now: datetime) -> Subscription:
    return Subscription(
        state=state,
        pending_since=now,
        confirmed_at=now if state != P else None,
        ended_at=now if state in ENDED else None,
    )


@pytest.mark.parametrize("step", SUBSCRIPTION_STEPS)
@pytest.mark.parametrize("state", SubscriptionState)
def test_subscription(state: SubscriptionState, step: str, now: datetime) -> None:
    """Every pair of state and step: where an arrow is, it leads there; elsewhere it is refused."""
    row = subscription(state, now)
    later = now + timedelta(days=1)
    if (state, step) in SUBSCRIPTION_ARROWS:
        SUBSCRIPTION_STEPS[step](row, later)
        assert row.state == SUBSCRIPTION_ARROWS[state, step]
    else:
        with pytest.raises(WrongState):
            SUBSCRIPTION_STEPS[step](row, later)
        assert row.state == state
        assert row.pending_since == now


@pytest.mark.parametrize("state", SubscriptionState)
def test_asking_again_makes_old_confirmation_links_void(
    state: SubscriptionState, now: datetime
) -> None:
    """After a leave the request counts from the new one; a pending request keeps its moment."""
    row = subscription(state, now)
    later = now + timedelta(days=1)
    row.ask_again(later)
    assert row.pending_since == (later if state in ENDED else now)
    assert row.ended_at is None


def test_subscription_times(now: datetime) -> None:
    """Confirming and ending leave their moments."""
    row = subscription(P, now)
    row.confirm(now + timedelta(hours=1))
    row.end(U, now + timedelta(hours=2))
    assert row.confirmed_at == now + timedelta(hours=1)
    assert row.ended_at == now + timedelta(hours=2)


@pytest.mark.parametrize("state", [P, C])
def test_ending_needs_an_end(state: SubscriptionState, now: datetime) -> None:
    """`end` with a state that ends nothing is a mistake in the program."""
    with pytest.raises(ValueError, match="ends nothing"):
        subscription(C, now).end(state, now)


D = DigestState
DIGEST_STEPS: dict[str, Callable[[Digest, datetime], None]] = {
    "approve": lambda digest, now: digest.approve({"version": 1}, now),
    "start": lambda digest, _now: digest.start(),
    "pause": lambda digest, _now: digest.pause(),
    "resume": lambda digest, _now: digest.resume(),
    "finish": lambda digest, now: digest.finish(now),
    "retry": lambda digest, _now: digest.retry(),
    "cancel": lambda digest, _now: digest.cancel(),
}
DIGEST_ARROWS = {
    (D.DRAFT, "approve"): D.APPROVED,
    (D.APPROVED, "start"): D.SENDING,
    (D.SENDING, "pause"): D.PAUSED,
    (D.PAUSED, "resume"): D.SENDING,
    (D.SENDING, "finish"): D.SENT,
    (D.SENT, "retry"): D.SENDING,
    **{(s, "cancel"): D.CANCELLED for s in (D.DRAFT, D.APPROVED, D.SENDING, D.PAUSED)},
}


@pytest.mark.parametrize("step", DIGEST_STEPS)
@pytest.mark.parametrize("state", DigestState)
def test_digest(state: DigestState, step: str, now: datetime) -> None:
    """Every pair of state and step: where an arrow is, it leads there; elsewhere it is refused."""
    row = Digest(id=7, state=state)
    if (state, step) in DIGEST_ARROWS:
        DIGEST_STEPS[step](row, now)
        assert row.state == DIGEST_ARROWS[state, step]
    else:
        with pytest.raises(WrongState, match=rf"Digest 7 is {state}; this needs it to be"):
            DIGEST_STEPS[step](row, now)
        assert row.state == state
        assert row.approved_at is None
        assert row.sent_at is None


def test_approval_keeps_the_content(now: datetime) -> None:
    """What was approved is in the row from then on, with the moment."""
    row = Digest(state=D.DRAFT)
    row.approve({"version": 1}, now)
    assert (row.frozen, row.approved_at) == ({"version": 1}, now)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE subscription SET state = 'maybe'",
        "UPDATE digest SET state = 'maybe'",
        "UPDATE delivery SET state = 'maybe'",
        "UPDATE delivery SET letter = 'maybe'",
        "UPDATE suppression SET reason = 'maybe'",
        "INSERT INTO installation (id, public_id, log_size, log_key, hash_key_check, created_at) "
        "SELECT 2, public_id, log_size, log_key, hash_key_check, created_at FROM installation",
    ],
)
def test_database_knows_the_states(
    engine: Engine,
    now: datetime,
    make_publication: Callable[..., Publication],
    make_reader: Callable[..., Subscription],
    statement: str,
) -> None:
    """A state that the code does not know is refused by the database, whoever writes it."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.org")
        session.add(Digest(publication_id=publication.id, subject="s", created_at=now))
        session.add(
            store.Delivery(
                letter=store.LetterName.TEST,
                publication_id=publication.id,
                due_at=now,
                created_at=now,
            )
        )
        session.add(
            store.Suppression(
                mailbox_hash=b"m" * 32, reason=store.SuppressionReason.BLOCKED, created_at=now
            )
        )
    with (
        pytest.raises(exc.IntegrityError, match=r"(?i)check constraint"),
        store.transaction(engine) as session,
    ):
        session.execute(text(statement))


def test_nobody_gets_a_digest_twice(
    engine: Engine,
    now: datetime,
    make_publication: Callable[..., Publication],
    make_reader: Callable[..., Subscription],
) -> None:
    """The final arbiter is the database: one delivery a digest and subscriber."""

    def delivery() -> store.Delivery:
        return store.Delivery(
            letter=store.LetterName.DIGEST,
            publication_id=publication.id,
            digest_id=digest.id,
            subscriber_id=reader.subscriber_id,
            due_at=now,
            created_at=now,
        )

    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.org")
        digest = Digest(publication_id=publication.id, subject="s", created_at=now)
        session.add(digest)
        session.flush()
        session.add(delivery())
    with (
        pytest.raises(exc.IntegrityError, match=r"(?i)unique"),
        store.transaction(engine) as session,
    ):
        session.add(delivery())
