"""Signing up, confirming, leaving: the states, their events, and what must not happen."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from newsletter import addresses, consent, store
from newsletter.errors import BadLink
from newsletter.store import find
from newsletter.subscriptions import blocks, confirm, erase, leave


def test_a_reader_signs_up_confirms_and_leaves(visitor):
    """Each step changes the state, records one event, and the log folds to the table."""
    assert visitor.sign_up("Ada@Example.net", name="Ada")
    assert visitor.state("ada@example.net") == "pending"
    visitor.confirm(visitor.letters()[0])
    assert visitor.state("ada@example.net") == "confirmed"
    visitor.leave("ada@example.net")
    assert visitor.state("ada@example.net") == "unsubscribed"
    assert visitor.kinds() == ["requested", "confirmed", "withdrawn"]
    assert visitor.verify().events == 3


def test_the_request_holds_what_was_shown_and_done(visitor):
    """The event can show who agreed to what, when, and to which words (EDPB 05/2020 §5.1)."""
    visitor.sign_up("Ada@Example.net")
    (event,) = visitor.events()
    delivery = visitor.letters()[0]
    assert event["address_as_entered"] == "Ada@Example.net"
    assert event["address"] == "Ada@example.net"
    assert event["box_ticked"] is True
    assert "Privacy Policy" in event["wording"]
    assert event["privacy_url"] == "https://example.org/privacy"
    assert event["privacy_version"] == "2026-01"
    assert event["form_url"] == "https://news.example.org/field-notes/"
    assert event["client_address"] == "192.0.2.0"
    assert event["message_id"] == delivery.message_id
    assert event["position"] == 0
    assert event["schema"] == "newsletter.consent/1"
    assert event["time"] == "2026-03-01T12:00:00.000000Z"


def test_confirming_names_the_mail_that_was_answered(visitor):
    """The confirmed event has the confirmation mail's Message-ID and the hash of its bytes."""
    visitor.sign_up("ada@example.net")
    delivery = visitor.letters()[0]
    with store.transaction(visitor.engine) as session:
        session.get(store.Delivery, delivery.id).content_sha256 = b"\x07" * 32
    visitor.confirm(delivery)
    event = visitor.events()[-1]
    assert (event["message_id"], event["mail_sha256"]) == (delivery.message_id, "07" * 32)


def test_confirming_says_again_what_was_agreed_to(visitor):
    """The confirmed event, and a request for a new mail, hold the words."""
    visitor.sign_up("ada@example.net")
    old = visitor.letters()[0]
    visitor.later(days=8)
    with store.transaction(visitor.engine) as session:
        confirm.send_again(
            session, old.public_id, visitor.by("link"), hash_key=b"h" * 32, now=visitor.now
        )
    visitor.confirm(visitor.letters()[-1])
    first, again, confirmed = visitor.events()
    for name in ("wording", "wording_version", "privacy_url", "privacy_version", "box_ticked"):
        assert first[name] == again[name] == confirmed[name]
    assert (again["declared_at"], confirmed["declared_at"]) == (0, 0)


def test_confirming_twice_is_one_event(visitor):
    """A second press shows the same and changes nothing; one welcome goes out."""
    visitor.sign_up("ada@example.net")
    first = visitor.confirm(visitor.letters()[0])
    again = visitor.confirm(visitor.letters()[0])
    assert (again.state, again.address) == (first.state, first.address)
    assert visitor.kinds() == ["requested", "confirmed"]
    assert len(visitor.letters("welcome")) == 1


def test_fifty_confirmations_at_once_are_one_event(visitor):
    """The database settles the race: one event, one welcome, everybody sees success."""
    visitor.sign_up("ada@example.net")
    delivery = visitor.letters()[0]
    with ThreadPoolExecutor(10) as pool:
        views = list(pool.map(lambda _: visitor.confirm(delivery), range(50)))
    assert {view.state for view in views} == {"confirmed"}
    assert visitor.kinds() == ["requested", "confirmed"]
    assert len(visitor.letters("welcome")) == 1


def test_an_old_link_cannot_undo_a_leave(visitor):
    """After leaving, the confirmation link of before counts no more, even when pending again."""
    visitor.sign_up("ada@example.net")
    old = visitor.letters()[0]
    visitor.confirm(old)
    visitor.leave("ada@example.net")
    with pytest.raises(BadLink):
        visitor.confirm(old)
    visitor.later(days=2).sign_up("ada@example.net")
    with pytest.raises(BadLink):
        visitor.confirm(old)
    assert visitor.state("ada@example.net") == "pending"
    visitor.confirm(visitor.letters()[-1])
    assert visitor.state("ada@example.net") == "confirmed"


def test_each_mail_of_one_pending_stretch_counts(visitor):
    """Who signed up twice may follow either mail's link."""
    visitor.sign_up("ada@example.net")
    visitor.later(days=1).sign_up("ada@example.net")
    first, second = visitor.letters()
    visitor.confirm(first)
    assert visitor.confirm(second).state == "confirmed"


def test_a_confirmed_reader_stays_confirmed(visitor):
    """Signing up again changes nothing but sends a mail that says so, with its event."""
    visitor.sign_up("ada@example.net", name="Ada")
    visitor.confirm(visitor.letters()[0])
    assert visitor.later(days=2).sign_up("ada@example.net", name="Mallory")
    assert visitor.state("ada@example.net") == "confirmed"
    assert visitor.kinds() == ["requested", "confirmed", "requested"]
    assert len(visitor.letters("already-confirmed")) == 1
    with store.reading(visitor.engine) as session:
        assert session.scalar(select(store.Subscriber.name)) == "Ada"
    visitor.verify()


def test_this_was_not_me_blocks_the_mailbox(visitor):
    """No further confirmation mail reaches it, by whatever spelling, and no event is written."""
    visitor.sign_up("ada@gmail.com")
    visitor.deny(visitor.letters()[0])
    visitor.deny(visitor.letters()[0])
    assert visitor.state("ada@gmail.com") == "unsubscribed"
    assert visitor.kinds() == ["requested", "blocked"]
    for spelling in ("ada@gmail.com", "A.da+x@gmail.com", "ada@googlemail.com"):
        assert not visitor.later(days=2).sign_up(spelling)
    assert visitor.kinds() == ["requested", "blocked"]
    assert len(visitor.letters()) == 1
    visitor.verify()


def test_an_expired_link_offers_a_new_mail_within_the_quota(visitor):
    """The new mail counts against the same limit as a sign-up."""
    visitor.sign_up("ada@example.net")
    old = visitor.letters()[0]

    def again():
        with store.transaction(visitor.engine) as session:
            return confirm.send_again(
                session, old.public_id, visitor.by("link"), hash_key=b"h" * 32, now=visitor.now
            )

    assert again() is None
    visitor.later(days=8)
    assert again() is not None
    visitor.confirm(visitor.letters()[-1])
    assert again() is None


def test_one_mail_a_day_and_three_until_one_is_answered(visitor):
    """The quota is the mailbox's, whatever the spelling; answering begins the count anew."""
    assert visitor.sign_up("ada+1@example.net")
    assert not visitor.sign_up("ada+2@example.net")
    assert not visitor.later(hours=23).sign_up("ADA@example.net")
    assert visitor.later(hours=1).sign_up("ada@example.net")
    assert visitor.later(days=1).sign_up("ada@example.net")
    assert not visitor.later(days=300).sign_up("ada@example.net")
    assert visitor.kinds() == ["requested"] * 3
    visitor.confirm(visitor.letters()[-1])
    visitor.leave("ada@example.net")
    assert visitor.later(days=1).sign_up("ada@example.net")


def test_a_thousand_signups_at_once_are_one_mail(visitor):
    """Many at the same moment, in many spellings: one mail, one event, one pending state."""
    spellings = [f"a.da+{n}@gmail.com" if n % 2 else "AdA@gmail.com" for n in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(visitor.sign_up, spellings))
    assert made.count(True) == 1
    assert len(visitor.letters()) == 1
    assert visitor.verify().events == 1


def test_many_readers_at_once_leave_no_gap(visitor):
    """Writers from several threads share one log without gap and without fork."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visitor.sign_up, [f"reader{n}@example.net" for n in range(100)]))
    with store.reading(visitor.engine) as session:
        positions = session.scalars(select(store.ConsentEvent.position)).all()
        assert sorted(positions) == list(range(100))
        assert session.scalar(select(func.count()).select_from(store.Subscriber)) == 100
    assert consent.Report().events == 0
    assert visitor.verify().events == 100


def test_a_change_that_is_rolled_back_leaves_no_event(visitor):
    """The event and the change are one transaction."""
    with pytest.raises(RuntimeError), store.transaction(visitor.engine) as session:
        publication = session.query(store.Publication).one()
        visitor_form = consent.Evidence(actor="subscriber", channel="form")
        from newsletter.subscriptions import signup

        form = signup.Signup(addresses.parse("ada@example.net"), None, "en")
        signup.request(
            session, publication, form, visitor_form, hash_key=b"h" * 32, now=visitor.now
        )
        raise RuntimeError
    assert visitor.events() == []
    assert visitor.letters() == []
    assert visitor.sign_up("ada@example.net")
    assert visitor.verify().events == 1


def test_a_goodbye_is_sent_where_the_publication_says_so(visitor):
    """Off by default; on, it goes to a reader who was confirmed."""
    visitor.sign_up("ada@example.net")
    visitor.confirm(visitor.letters()[0])
    with store.transaction(visitor.engine) as session:
        session.query(store.Publication).one().sends_goodbye = True
    visitor.leave("ada@example.net")
    visitor.leave("ada@example.net")
    assert len(visitor.letters("goodbye")) == 1


def test_a_block_ends_when_the_person_asks_the_operator(visitor):
    """An operator's word lets the mailbox sign up again; it signs nobody up by itself."""
    visitor.sign_up("ada@example.net")
    visitor.deny(visitor.letters()[0])

    def lift():
        with store.transaction(visitor.engine) as session:
            said = consent.Evidence(actor="operator", channel="command", note="asked by phone")
            address = addresses.parse("ada@example.net")
            return blocks.lift(session, address, said, hash_key=b"h" * 32, now=visitor.now)

    assert lift() == ["blocked"]
    assert lift() == []
    assert visitor.kinds() == ["requested", "blocked", "unblocked"]
    assert visitor.state("ada@example.net") == "unsubscribed"
    assert visitor.later(days=1).sign_up("ada@example.net")
    visitor.verify()


def test_not_me_ends_each_pending_signup_of_the_mailbox(visitor):
    """A second spelling's link does as much as the first's, and confirms nothing afterwards."""
    visitor.sign_up("vic+a@gmail.com")
    visitor.later(days=1).sign_up("vic+b@gmail.com")
    one, two = visitor.letters()
    visitor.deny(one)
    with pytest.raises(BadLink):
        visitor.confirm(two)
    visitor.deny(two)
    assert visitor.state("vic+b@gmail.com") == "unsubscribed"
    assert visitor.kinds() == ["requested", "requested", "blocked", "blocked"]
    visitor.verify()


def test_not_me_needs_the_newest_request(visitor):
    """The link of an earlier sign-up cannot end a later one."""
    visitor.sign_up("ada@example.net")
    old = visitor.letters()[0]
    visitor.leave("ada@example.net")
    visitor.later(days=2).sign_up("ada@example.net")
    with pytest.raises(BadLink):
        visitor.deny(old)
    assert visitor.state("ada@example.net") == "pending"


def test_the_operator_can_begin_the_count_anew(visitor):
    """Three mails without an answer end the asking, also for who was erased, until unblocked."""
    for _ in range(3):
        assert visitor.sign_up("ada@example.net")
        visitor.later(days=1)
    assert not visitor.sign_up("ada@example.net")
    with store.transaction(visitor.engine) as session:
        said = consent.Evidence(actor="operator", channel="command", note="asked by phone")
        address = addresses.parse("ada@example.net")
        blocks.lift(session, address, said, hash_key=b"h" * 32, now=visitor.now)
    assert visitor.sign_up("ada@example.net")


def test_changes_of_one_person_at_the_same_moment(visitor):
    """Confirming, signing up, leaving and being forgotten at once: no deadlock, and it verifies."""
    deliveries = []
    for n in range(12):
        visitor.sign_up(f"r{n}@example.net")
        deliveries.append(visitor.letters()[-1])
    visitor.later(days=1)

    def confirm_it(n):
        with contextlib.suppress(BadLink):
            visitor.confirm(deliveries[n])

    def sign_up_again(n):
        visitor.sign_up(f"r{n}+again@example.net" if n % 2 else f"r{n}@example.net")

    def leave_it(n):
        with store.transaction(visitor.engine) as session:
            found = session.get(store.Delivery, deliveries[n].id).subscription_id
            one = session.get(store.Subscription, found) if found else None
            if one is not None:
                leave.by_reader(
                    session,
                    one.public_id,
                    visitor.by("one-click"),
                    hash_key=b"h" * 32,
                    now=visitor.now,
                )

    def forget_it(n):
        with store.transaction(visitor.engine) as session:
            person = find.subscriber_by_key(session, f"r{n}@example.net")
            if person is not None:
                erase.forget(
                    session, person, visitor.by("link"), hash_key=b"h" * 32, now=visitor.now
                )

    steps = (confirm_it, sign_up_again, leave_it, forget_it)
    jobs = [(step, n) for n in range(12) for step in steps]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: job[0](job[1]), jobs))
    visitor.verify()
