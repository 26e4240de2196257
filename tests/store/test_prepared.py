"""Statements given to the driver as they are: the same effect and the same errors."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from newsletter import store
from newsletter.store.clock import tick
from newsletter.store.prepared import Prepared

SET_HOST = Prepared(
    update(store.Worker)
    .where(store.Worker.public_id == bindparam("name"))
    .values(host="there", seen_at=bindparam("seen")),
    "name",
)
ADD = Prepared(
    insert(store.Worker).values(
        public_id=bindparam("name"),
        host="h",
        pid=1,
        started_at=bindparam("at"),
        seen_at=bindparam("at"),
    ),
    "name",
    "at",
)
FIND = Prepared(
    select(store.Worker.public_id)
    .where(store.Worker.host == bindparam("host"))
    .order_by("public_id")
)


@pytest.fixture
def workers(engine, now):
    """Three rows."""
    with store.transaction(engine) as session:
        assert ADD.many(session, [(name, now) for name in "abc"]) == 3


def test_each_tells_what_each_row_did(engine, workers, now):
    """In order, so that the caller knows which of many was refused."""
    with store.transaction(engine) as session:
        rows = [(name,) for name in "axc"]
        assert SET_HOST.each(session, rows, seen=now) == [1, 0, 1]
        assert SET_HOST.many(session, rows, seen=now) == 2
        assert SET_HOST.each(session, [], seen=now) == []
        assert FIND.rows(session, host="there") == [("a",), ("c",)]
    with store.reading(engine) as session:
        assert {row.seen_at for row in session.scalars(select(store.Worker))} == {now}


def test_it_belongs_to_the_transaction(engine, workers, now):
    """What is rolled back did not happen."""
    with pytest.raises(ZeroDivisionError), store.transaction(engine) as session:
        SET_HOST.many(session, [("a",)], seen=now)
        raise ZeroDivisionError
    with store.reading(engine) as session:
        assert FIND.rows(session, host="there") == []


def test_its_errors_are_sqlalchemys_and_tell_no_values(engine, workers, now):
    """A value may be an address, and an error's text ends up in a log."""
    with pytest.raises(IntegrityError) as caught, store.transaction(engine) as session:
        ADD.many(session, [("a", now)])
    assert str(now.year) not in str(caught.value)
    with pytest.raises(DBAPIError, match=r"read-?only"), store.reading(engine) as session:
        SET_HOST.many(session, [("a",)], seen=now)


def test_a_list_is_refused(engine):
    """Its length would be frozen into the text."""
    listed = Prepared(select(store.Worker).where(store.Worker.host.in_(["a", "b"])))
    with pytest.raises(ValueError, match="list"), store.reading(engine) as session:
        listed.rows(session)


def test_a_value_that_is_missing_is_an_error(engine):
    """One that is not needed is left out."""
    with pytest.raises(KeyError, match="host"), store.reading(engine) as session:
        FIND.rows(session, hots="there")
    idle = Prepared(select(store.Worker.pid).where(store.Worker.host == bindparam("host")), "more")
    with store.reading(engine) as session:
        assert idle.rows(session, host="there", more=1) == []


def test_the_clock_of_leases_goes_forward(engine):
    """And keeps its name."""
    with store.reading(engine) as session:
        first = tick(session)
    with store.reading(engine) as session:
        second = tick(session)
    assert first.clock == second.clock
    assert first.seconds <= second.seconds < first.seconds + 60
