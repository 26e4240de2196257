"""Digests and welcomes leave only for whom the consent log says confirmed, while it is whole."""

from __future__ import annotations

import io
from datetime import timedelta
from itertools import product

import pytest
from mailing import ORIGIN, approved_digest, claimed_mail, queue_all, states, tell_log
from sqlalchemy import delete, insert, select, text, update

from newsletter import consent, store
from newsletter.consent import checkpoint
from newsletter.errors import LogFault
from newsletter.sending import audience, claim, gate, queue, settle
from newsletter.sending.settle import Verdict
from newsletter.sending.write import mails
from newsletter.store.letters import new_letter
from newsletter.subscriptions import importing

# Letters that are about the person and not about what they agreed to.
OWN = ("confirmation", "access", "goodbye", "already-confirmed")

HASH_KEY = b"h" * 32


@pytest.fixture
def sending(engine, make_publication, make_reader, now):
    """A digest that is being sent to two readers; bob's row was changed behind our back."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        bob = make_reader(session, publication, "bob@example.net", "unsubscribed")
        digest = approved_digest(session, publication, now)
        bob.state = "confirmed"
    return digest


def addresses(engine):
    with store.reading(engine) as session:
        return sorted(session.scalars(select(store.Delivery.address)))


def halt(engine):
    with store.transaction(engine) as session:
        checkpoint.halt(session, "position 3: the event is missing")


def go_on(engine):
    with store.transaction(engine) as session:
        checkpoint.go_on(session)


def letter(session, name, now):
    """One of a person's own letters, on its way to ada."""
    reader = session.query(store.Subscription).order_by(store.Subscription.id).first()
    new_letter(
        session, store.LetterName(name), reader.publication, reader.subscriber, reader, now=now
    )


def test_the_table_alone_gets_nobody_a_digest(engine, sending, now) -> None:
    """Who left by the log's word is not queued, whatever the state column says, and is counted."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, sending.id)
        found = audience.count(session, digest, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (1, {"unrecorded": 1})
        queue_all(session, digest, now)
        assert digest.queued_at == now
    assert addresses(engine) == ["ada@example.net"]


@pytest.mark.parametrize("kind", ["withdrawn", "bounced", "complained", "blocked"])
def test_the_log_has_the_last_word_before_the_dot(engine, sending, now, kind) -> None:
    """An event between queueing and hand-over is enough, also when the state column missed it."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, sending.id)
        queue_all(session, digest, now)
        mail = claimed_mail(session, digest, now)
        reader = session.query(store.Subscription).order_by(store.Subscription.id).first()
        by = consent.Evidence(actor="subscriber", channel="link")
        consent.record(session, consent.EventType(kind), reader, by, now=now)
        assert settle.arm(session, [mail], now=now)[0] is Verdict.SKIPPED
        assert session.scalar(select(store.Delivery.reason)) == "unrecorded"


def test_an_imported_reader_counts(engine, make_publication, now) -> None:
    """A confirmed import is a yes of the log; a pending one is none."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for status, name in (("confirmed", "ada"), ("pending", "bob")):
            rows = list(importing.read(io.StringIO(f"email\n{name}@example.net\n"), now=now))
            importing.take(
                session, publication, rows, status=status, source="a list", hash_key=b"h" * 32,
                now=now,
            )  # fmt: skip
        digest = approved_digest(session, publication, now)
        found = audience.count(session, digest, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (1, {"pending": 1})


def test_who_came_back_gets_it_again(engine, sending, now) -> None:
    """The newest state counts, not the last end."""
    with store.transaction(engine) as session:
        bob = session.query(store.Subscription).order_by(store.Subscription.id.desc()).first()
        tell_log(session, bob, now)
        found = audience.count(session, session.get(store.Digest, sending.id), hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (2, {})


def test_a_halted_log_stops_digests_where_they_are(engine, sending, now) -> None:
    """Nothing is queued, claimed or handed over, nobody is skipped for it; then it goes on."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, sending.id)
        queue_all(session, digest, now)
        mail = claimed_mail(session, digest, now)
        late = approved_digest(session, digest.publication, now)
        queue.begin(session, late, now=now)
        planned = approved_digest(session, digest.publication, now)
        queue.begin(session, planned, now=now, at=now + timedelta(hours=1))
    halt(engine)
    with store.transaction(engine) as session:
        assert settle.arm(session, [mail], now=now)[0] is Verdict.WAITS
        assert claim.digest(session, sending.id, "me", limit=9, now=now) == []
        assert claim.sending(session) == []
        assert not claim.waiting(session, [], now)
        assert queue.unfinished(session) is None
        assert queue.scheduled(session, now + timedelta(hours=2)) == []
        with pytest.raises(LogFault, match="verify --full"):
            queue.piece(session, session.get(store.Digest, late.id), now=now)
        found = audience.count(session, session.get(store.Digest, late.id), hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (0, {"halted": 2})
    assert states(engine) == {"queued": 1}
    go_on(engine)
    with store.transaction(engine) as session:
        mail = claimed_mail(session, session.get(store.Digest, sending.id), now)
        assert settle.arm(session, [mail], now=now)[0] is Verdict.ARMED
        assert queue.unfinished(session).id == late.id


def test_a_halted_log_does_not_stop_a_persons_own_letters(engine, sending, now) -> None:
    """Confirming, leaving and reading one's own data go on; only the welcome waits."""
    halt(engine)
    with store.transaction(engine) as session:
        letter(session, "welcome", now)
        assert not claim.waiting(session, [], now)
        assert not claim.busy(session, [])
        for name in OWN:
            letter(session, name, now)
        assert claim.waiting(session, [], now)
        held = claim.personal(session, "me", limit=9)
        assert len(held) == len(OWN)
        written, unwritable = mails(session, held, ORIGIN)
        assert not unwritable
        verdicts = {str(mail.letter): settle.arm(session, [mail], now=now)[0] for mail in written}
    # Ada is confirmed: what asks for a yes, or says goodbye, is not for her.
    assert verdicts == {
        "confirmation": Verdict.SKIPPED,
        "access": Verdict.ARMED,
        "goodbye": Verdict.SKIPPED,
        "already-confirmed": Verdict.ARMED,
    }
    go_on(engine)
    with store.transaction(engine) as session:
        assert len(claim.personal(session, "me", limit=9)) == 1


def test_a_welcome_needs_the_logs_word(engine, sending, now) -> None:
    """It greets a reader, and without a recorded yes there is none."""
    with store.transaction(engine) as session:
        letter(session, "welcome", now)
        session.execute(text("UPDATE consent_event SET state = NULL WHERE state = 'confirmed'"))
        held = claim.personal(session, "me", limit=9)
        written, _unwritable = mails(session, held, ORIGIN)
        assert settle.arm(session, [written[0]], now=now)[0] is Verdict.SKIPPED
        assert session.scalar(select(store.Delivery.reason)) == "unrecorded"


def test_a_halt_between_the_mail_and_the_dot(engine, sending, now) -> None:
    """The statement that arms looks itself: what was claimed before the halt is given back."""
    with store.transaction(engine) as session:
        letter(session, "welcome", now)
        held = claim.personal(session, "me", limit=9)
        written, _unwritable = mails(session, held, ORIGIN)
        session.execute(update(store.Installation).values(log_fault="changed"))
        assert settle.arm(session, [written[0]], now=now)[0] is Verdict.WAITS
    assert states(engine) == {"queued": 1}


def each_way_to_be(session, publication, now):
    """A row of a digest for each combination of what the gate asks of it; how many there are."""
    digests = [None]
    for state in store.DigestState:
        digest = store.Digest(publication=publication, subject="x", created_at=now, state=state)
        session.add(digest)
        session.flush()
        digests.append(digest.id)
    subscriptions = [None]
    position = 1000
    said = [None, "confirmed", "unsubscribed"]
    for number, (state, log) in enumerate(product(store.SubscriptionState, said)):
        name = f"reader-{number}@example.net"
        reader = store.Subscriber(address=name, address_key=name, created_at=now)
        subscription = store.Subscription(
            publication=publication,
            subscriber=reader,
            state=state,
            pending_since=now,
            created_at=now,
        )
        session.add(subscription)
        session.flush()
        subscriptions.append(subscription.id)
        # What was said before, the newest word, and an event that says nothing about the state.
        for word in (said[-1] if log == said[1] else said[1], log, None) if log else ():
            position += 1
            values = {"position": position, "commitment": b"x" * 32, "state": word}
            session.execute(
                insert(store.ConsentEvent).values(subscription_id=subscription.id, **values)
            )
    ways = list(product(subscriptions, digests, (None, "a@example.net"), (False, True)))
    readers, rows = [], []
    for number, (subscription_id, digest_id, address, has_reader) in enumerate(ways, 10_000):
        name = f"x{number}@example.net"
        readers.append({"id": number, "address": name, "address_key": name, "created_at": now})
        rows.append(
            {
                "letter": "digest",
                "publication_id": publication.id,
                "digest_id": digest_id,
                "subscriber_id": number if has_reader else None,
                "subscription_id": subscription_id,
                "address": address,
                "state": "claimed",
                "due_at": now,
                "created_at": now,
            }
        )
    session.execute(insert(store.Subscriber), readers)
    session.execute(insert(store.Delivery), rows)
    return len(ways)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_gate_has_one_mind(engine, make_publication, now) -> None:
    """Whatever a row is, it may go when nothing is said against it, and only then."""
    with store.transaction(engine) as session:
        count = each_way_to_be(session, make_publication(session), now)
    digest = store.LetterName.DIGEST
    asked = select(
        store.Delivery, gate.may_go(digest).label("goes"), gate.why_not(digest).label("why")
    )
    ada = b"a" * 32
    goes = 0
    for fault, reason in product((None, "a fault"), (None, *store.SuppressionReason)):
        with store.transaction(engine) as session:
            session.execute(update(store.Installation).values(log_fault=fault))
            session.execute(delete(store.Suppression))
            if reason:
                session.add(store.Suppression(mailbox_hash=ada, reason=reason, created_at=now))
        with store.reading(engine) as session:
            found = session.execute(asked, {"mailbox_hash": ada}).all()
        assert len(found) == count
        for row, may_go, why in found:
            assert bool(may_go) == (why is None), (row.id, may_go, why, fault, reason)
            goes += bool(may_go)
    assert goes == 2  # one way of all, where the mailbox is not suppressed, or by a block alone
