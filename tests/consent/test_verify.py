"""What happens behind our back is found and named; the log's bytes mean one thing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from newsletter import consent, store
from newsletter.consent.event import canonical, commitment
from newsletter.errors import ConsentLogError


@pytest.fixture
def log(engine, now, make_publication, make_reader):
    """Three readers: one confirmed, one left, one pending."""
    by = consent.Evidence(actor="subscriber", channel="form")
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for name, state, kinds in (
            ("ada", "confirmed", ("requested", "confirmed")),
            ("bob", "unsubscribed", ("requested", "confirmed", "withdrawn")),
            ("cy", "pending", ("requested", "requested")),
        ):
            subscription = make_reader(session, publication, f"{name}@example.net", state)
            for kind in kinds:
                consent.record(session, consent.EventType(kind), subscription, by, now=now)
    return engine


def verify(engine):
    with store.reading(engine) as session:
        return consent.verify(session)


def test_a_clean_log_verifies_and_folds_to_the_states(log):
    """The report counts the events, and how many subscriptions are in each state."""
    report = verify(log)
    assert (report.events, report.erased) == (7, 0)
    assert report.states == {"confirmed": 1, "pending": 1, "unsubscribed": 1}


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE consent_event SET body = NULL WHERE position = 1", "position 1"),
        ("UPDATE consent_event SET body=NULL, subscriber_id=NULL WHERE position=1", "position 1"),
        ("DELETE FROM consent_event WHERE position = 3", "position 3: the event is missing"),
        ("DELETE FROM consent_event WHERE position = 6", "position 6"),
        ("UPDATE consent_event SET position = 9 WHERE position = 6", "position 6"),
        ("UPDATE installation SET log_size = 9", "position 7"),
        ("UPDATE subscription SET state = 'confirmed' WHERE state = 'pending'", "the table says"),
        ("UPDATE subscription SET state = 'unsubscribed' WHERE id = 1", "the log says confirmed"),
        ("UPDATE subscriber SET public_id = 'x' WHERE id = 1", "another subscriber"),
    ],
)
def test_each_change_behind_our_back_is_named(log, statement, fault):
    """A changed, deleted or moved row is found, with the first position that is wrong."""
    with store.transaction(log) as session:
        session.execute(text(statement))
    with pytest.raises(ConsentLogError, match=fault):
        verify(log)


def test_every_changed_byte_of_an_event_is_found(log):
    """No byte of the words can be changed without its commitment failing."""
    with store.reading(log) as session:
        body = session.scalar(
            select(store.ConsentEvent.body).where(store.ConsentEvent.position == 2)
        )
    for index in range(0, len(body), 7):
        changed = bytearray(body)
        changed[index] ^= 1
        with store.transaction(log) as session:
            session.get(store.ConsentEvent, 2).body = bytes(changed)
        with pytest.raises(ConsentLogError, match="position 2"):
            verify(log)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", ["'text'", "7", "''", "x''"])
def test_words_of_another_kind_are_found(log, value):
    """SQLite lets any kind of value stand anywhere; the fault is named all the same."""
    with store.transaction(log) as session:
        session.execute(text(f"UPDATE consent_event SET body = {value} WHERE position = 2"))
    with pytest.raises(ConsentLogError, match="position 2"):
        verify(log)


def test_two_swapped_events_are_found(log):
    """An event says at which position it belongs."""
    with store.transaction(log) as session:
        first, second = (session.get(store.ConsentEvent, position) for position in (0, 1))
        for name in ("body", "commitment", "subscriber_id"):
            one, two = getattr(first, name), getattr(second, name)
            setattr(first, name, two)
            setattr(second, name, one)
    with pytest.raises(ConsentLogError, match="position 0: the event belongs at position 1"):
        verify(log)


def test_a_commitment_tells_nothing_to_who_guesses(log):
    """The same event twice has different commitments, and no plain hash of the words fits."""
    import hashlib

    with store.reading(log) as session:
        rows = session.scalars(select(store.ConsentEvent)).all()
    assert len({row.commitment for row in rows}) == len(rows)
    for row in rows:
        assert row.commitment != hashlib.sha256(row.body).digest()
        assert json.loads(row.body)["address"].encode() not in row.commitment


json_values = st.recursive(
    st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.text("abcdefg_", min_size=1), json_values))
def test_canonical_bytes_mean_one_thing(fields):
    """Reading the bytes and writing them again gives the same bytes, whatever the fields."""
    try:
        body = canonical(fields)
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    assert canonical(json.loads(body)) == body


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.uuids())
def test_another_key_opens_nothing(key, other, event_id):
    """Only the subscriber's own key gives the commitment."""
    same = commitment(key, str(event_id), b"{}") == commitment(other, str(event_id), b"{}")
    assert same == (key == other)
