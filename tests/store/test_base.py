"""What every table shares: times in UTC, names of constraints, public ids."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, exc, inspect, select

from newsletter import store
from newsletter.store import Base


def worker(seen_at: datetime) -> store.Worker:
    return store.Worker(public_id="w", host="h", pid=1, started_at=seen_at, seen_at=seen_at)


def test_naive_time_is_refused(engine: Engine) -> None:
    """Nobody knows what a time without a zone means: it is not stored."""
    with (
        pytest.raises(exc.StatementError, match="a time without a zone"),
        store.transaction(engine) as session,
    ):
        session.add(worker(datetime(2026, 3, 1, 12)))  # noqa: DTZ001


@pytest.mark.parametrize("hours", [-11, 0, 5.5, 14])
def test_time_comes_back_in_utc(engine: Engine, hours: float) -> None:
    """A moment stays that moment, to the microsecond, whatever zone it or the database is in."""
    moment = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=hours)))
    with store.transaction(engine) as session:
        session.add(worker(moment))
    with store.reading(engine) as session:
        found = session.scalars(select(store.Worker.seen_at)).one()
        assert found == moment
        assert found.tzinfo is UTC
        # Compared in the database, with a bound value in another zone.
        early = moment.astimezone(timezone(timedelta(hours=3))) - timedelta(microseconds=1)
        assert session.scalars(select(store.Worker).where(store.Worker.seen_at > early)).one()


def test_constraints_are_named_by_the_convention(engine: Engine) -> None:
    """A constraint with a name can be dropped by a later migration, on SQLite too."""
    inspector = inspect(engine)
    tables = set(inspector.get_table_names()) - {"alembic_version"}
    assert tables == set(Base.metadata.tables)
    for table in tables:
        assert inspector.get_pk_constraint(table)["name"] == f"pk_{table}"
        for key in inspector.get_foreign_keys(table):
            column = key["constrained_columns"][0]
            assert key["name"] == f"fk_{table}_{column}_{key['referred_table']}"
        for unique in inspector.get_unique_constraints(table):
            assert unique["name"] == f"uq_{table}_{'_'.join(unique['column_names'])}"
        for check in inspector.get_check_constraints(table):
            assert (check["name"] or "").startswith(f"ck_{table}_")
        for index in inspector.get_indexes(table):
            assert (index["name"] or "").startswith((f"ix_{table}_", f"uq_{table}_"))


def test_every_foreign_key_has_an_index(engine: Engine) -> None:
    """Erasing a person looks up every row that names the person: never by reading whole tables."""
    inspector = inspect(engine)
    for table in Base.metadata.tables:
        leading = [index["column_names"][:1] for index in inspector.get_indexes(table)]
        leading += [u["column_names"][:1] for u in inspector.get_unique_constraints(table)]
        leading += [inspector.get_pk_constraint(table)["constrained_columns"][:1]]
        for key in inspector.get_foreign_keys(table):
            assert key["constrained_columns"] in leading, (table, key["constrained_columns"])


def test_public_ids_are_random_names() -> None:
    """80 random bits, lower case: some mail servers lower what stands before the @."""
    names = {store.public_id() for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("[0-9a-f]{20}", name) for name in names)
