"""What is old enough goes: who never confirmed, and the evidence of those who left long ago."""

from __future__ import annotations

from datetime import timedelta

import pytest

from newsletter import addresses, consent, store
from newsletter.store.find import suppressions
from newsletter.subscriptions import retention

HASH_KEY = b"h" * 32
RULES = retention.Rules(
    pending_for=timedelta(days=30),
    evidence_for=timedelta(days=1096),
    link_good_for=timedelta(days=7),
)
REMINDING = retention.Rules(
    pending_for=timedelta(days=30),
    evidence_for=timedelta(days=1096),
    link_good_for=timedelta(days=7),
    reminds=True,
)


def tidy(visitor, rules=RULES) -> retention.Tally:
    """All that is due; what a dry run said before is what was done."""
    with store.reading(visitor.engine) as session:
        said = retention.due(session, rules, now=visitor.now)
    done = retention.Tally()
    while True:
        with store.transaction(visitor.engine) as session:
            some = retention.piece(session, rules, hash_key=HASH_KEY, now=visitor.now, size=2)
        if not some:
            break
        done += some
    assert said.reminded == done.reminded + done.unreachable
    assert (said.pending_erased, said.lapsed) == (done.pending_erased, done.lapsed)
    assert said.evidence_erased == done.evidence_erased
    visitor.verify()
    return done


def known(visitor) -> list[str]:
    with store.reading(visitor.engine) as session:
        return [each.address for each in session.query(store.Subscriber)]


def suppressed(visitor, address: str) -> set[str]:
    mailbox = addresses.parse(address).mailbox_hash(HASH_KEY)
    with store.reading(visitor.engine) as session:
        return suppressions(session, [mailbox]).get(mailbox, set())


def accept(visitor) -> None:
    """The relay took all mails."""
    with store.transaction(visitor.engine) as session:
        session.query(store.Delivery).update({"state": "accepted"})


def test_who_never_confirmed_is_erased(visitor):
    """After pending_days, not before; nothing of them stays, and no ledger holds it."""
    for name in ("a", "b", "c"):
        visitor.sign_up(f"{name}@example.net")
    assert not tidy(visitor.later(days=29, hours=23))
    assert tidy(visitor.later(hours=2)) == retention.Tally(pending_erased=3)
    assert known(visitor) == []
    assert suppressed(visitor, "a@example.net") == set()
    with store.reading(visitor.engine) as session:
        assert session.query(store.LedgerEntry).count() == 0
    assert visitor.events()[-1]["actor"] == "service"
    assert visitor.events()[-1]["channel"] == "schedule"


def test_a_link_that_is_still_good_is_waited_for(visitor):
    """Whoever asked again on the last day can still confirm."""
    visitor.sign_up("ada@example.net")
    visitor.later(days=29).sign_up("ada@example.net")
    assert not tidy(visitor.later(days=3))
    visitor.confirm(visitor.letters()[-1])
    assert not tidy(visitor.later(days=300))
    assert visitor.state("ada@example.net") == "confirmed"


def test_one_reminder_at_most(visitor):
    """Half-way, once, and only where reminders are wanted and a first mail was taken."""
    visitor.sign_up("ada@example.net")
    visitor.sign_up("eve@example.net")
    visitor.later(days=16)
    assert not tidy(visitor, REMINDING), "no mail went out that one could be reminded of"
    accept(visitor)
    visitor.deny(visitor.letters()[1])
    assert not tidy(visitor)
    assert tidy(visitor, REMINDING) == retention.Tally(reminded=1)
    assert len(visitor.letters()) == 3
    assert visitor.events()[-1]["type"] == "requested"
    accept(visitor)
    for _ in range(13):
        assert not tidy(visitor.later(days=1), REMINDING)
    assert tidy(visitor.later(days=2), REMINDING) == retention.Tally(pending_erased=1)


def test_a_reminders_link_confirms(visitor):
    """It is a confirmation mail like any other."""
    visitor.sign_up("ada@example.net")
    accept(visitor)
    tidy(visitor.later(days=20), REMINDING)
    assert visitor.confirm(visitor.letters()[-1]).state == "confirmed"


def test_old_evidence_is_erased(visitor):
    """Years after the withdrawal; an import of the address stays barred."""
    visitor.sign_up("ada@example.net", name="Ada Lovelace")
    visitor.confirm(visitor.letters()[0])
    visitor.later(days=400).leave("ada@example.net")
    assert not tidy(visitor.later(days=1095))
    assert tidy(visitor.later(days=2)) == retention.Tally(evidence_erased=1)
    assert known(visitor) == []
    assert suppressed(visitor, "ada@example.net") == {"erased"}
    assert [event.get("type") for event in visitor.events()] == [None, None, None, "erased"]


def test_only_the_old_subscription_goes(visitor, make_publication):
    """Of a reader of two publications, who left one long ago, the other one stays whole."""
    with store.transaction(visitor.engine) as session:
        make_publication(session, slug="letters")
    visitor.sign_up("ada@example.net")
    visitor.confirm(visitor.letters()[0])
    visitor.leave("ada@example.net")
    visitor.later(days=2).sign_up("ada@example.net", "letters")
    visitor.confirm(visitor.letters()[-1])
    assert tidy(visitor.later(days=1095)) == retention.Tally(evidence_erased=1)
    assert visitor.state("ada@example.net") == "confirmed"
    assert suppressed(visitor, "ada@example.net") == set()
    kinds = [event.get("type") for event in visitor.events()]
    assert kinds == [None, None, None, "requested", "confirmed", "erased"]
    with store.reading(visitor.engine) as session:
        left = session.query(store.Delivery).filter_by(subscriber_id=None).all()
        assert {each.address for each in left} == {None}


def test_a_former_reader_who_asks_again_and_forgets_it(visitor):
    """The request lapses, and the evidence of the earlier consent ages on."""
    visitor.sign_up("ada@example.net")
    visitor.confirm(visitor.letters()[0])
    visitor.leave("ada@example.net")
    visitor.later(days=2).sign_up("ada@example.net")
    assert tidy(visitor.later(days=31)) == retention.Tally(lapsed=1)
    assert visitor.state("ada@example.net") == "unsubscribed"
    last = visitor.events()[-1]
    assert (last["type"], last["actor"]) == ("withdrawn", "service")
    assert tidy(visitor.later(days=1097)) == retention.Tally(evidence_erased=1)


@pytest.mark.parametrize("state", ["bounced", "complained"])
def test_other_ends_age_too(visitor, state):
    """A bounce or a complaint is an end like any other."""
    visitor.sign_up("ada@example.net")
    visitor.confirm(visitor.letters()[0])
    with store.transaction(visitor.engine) as session:
        found = session.query(store.Subscription).one()
        found.end(store.SubscriptionState(state), visitor.now)
        by = consent.Evidence(actor="relay", channel="bounce")
        consent.record(session, consent.EventType(state), found, by, now=visitor.now)
    assert tidy(visitor.later(days=1097)) == retention.Tally(evidence_erased=1)
