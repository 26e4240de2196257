"""The way from an empty database to the newest tables and back, on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, Text, inspect, select, text

from newsletter import consent, store
from newsletter.errors import SchemaError
from newsletter.resources import resource_dir
from newsletter.sending import claim
from newsletter.store import schema

HASH_KEY = b"h" * 32
MakePublication = Callable[..., store.Publication]
MakeReader = Callable[..., store.Subscription]
HEAD = schema.newest()


def revisions() -> list[str]:
    files = sorted((resource_dir("migrations") / "versions").glob("*.py"))
    return [file.name.partition("_")[0] for file in files]


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    """A database without any table."""
    engine = store.connect(empty_database_url)
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, store.Base.metadata))


def checks(engine: Engine) -> set[tuple[str, str]]:
    """Which values each CHECK allows; autogenerate does not compare these."""
    inspector = inspect(engine)
    return {
        (str(check["name"]), value)
        for table in tables(engine)
        for check in inspector.get_check_constraints(table)
        for value in re.findall(r"'([^']*)'", check["sqltext"]) or [check["sqltext"]]
    }


def test_upgrade_from_empty(empty: Engine) -> None:
    """From nothing to the newest, which is what the models say."""
    assert schema.revision(empty) is None
    store.migrate(empty)
    assert schema.revision(empty) == HEAD
    assert tables(empty) == {*store.Base.metadata.tables, "alembic_version"}
    assert differences(empty) == []


def test_migrations_make_what_the_models_make(empty: Engine) -> None:
    """CHECK constraints too, which the comparison above does not look at."""
    store.Base.metadata.create_all(empty)
    of_models = checks(empty)
    store.Base.metadata.drop_all(empty)
    store.migrate(empty)
    assert checks(empty) == of_models


def test_downgrade_leaves_nothing_and_upgrade_works_again(empty: Engine) -> None:
    """Every downgrade takes away all that its upgrade made: the way works in both directions."""
    store.migrate(empty)
    schema.downgrade(empty, "base")
    assert tables(empty) <= {"alembic_version"}
    assert schema.revision(empty) is None
    store.migrate(empty)
    assert differences(empty) == []


def test_downgrade_with_rows(
    engine: Engine, make_publication: MakePublication, make_reader: MakeReader
) -> None:
    """Rows that name each other are in no downgrade's way."""
    with store.transaction(engine) as session:
        make_reader(session, make_publication(session), "ada@example.org")
    schema.downgrade(engine, "base")
    assert tables(engine) <= {"alembic_version"}


def test_failed_migration_changes_nothing(empty: Engine) -> None:
    """A migration is one transaction: a crash in the middle leaves what was there."""
    with (
        pytest.raises(RuntimeError, match="crash"),
        schema.altering(empty) as connection,
    ):
        connection.execute(text("CREATE TABLE half_way (id INTEGER)"))
        raise RuntimeError("crash")
    assert tables(empty) == set()


def test_changing_a_table_keeps_the_rows_that_name_its_rows(
    engine: Engine,
    make_publication: MakePublication,
    make_reader: MakeReader,
) -> None:
    """SQLite drops a table to change it; the subscriptions of a publication outlive that."""
    with store.transaction(engine) as session:
        make_reader(session, make_publication(session), "ada@example.org")
    with schema.altering(engine) as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("publication") as batch:
            batch.alter_column("title", type_=Text(), existing_nullable=False)
        connection.execute(text("UPDATE publication SET title = 'x'"))
    with store.reading(engine) as session:
        assert session.scalars(select(store.Subscription)).one().publication.title == "x"
        if engine.dialect.name == "sqlite":
            assert session.scalar(text("PRAGMA foreign_keys")) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_migration_that_orphans_rows_is_refused(
    engine: Engine,
    make_publication: MakePublication,
    make_reader: MakeReader,
) -> None:
    """With foreign keys off a migration could orphan rows: it is taken back and told."""
    with store.transaction(engine) as session:
        make_reader(session, make_publication(session), "ada@example.org")
    with (
        pytest.raises(SchemaError, match="A row of subscription names no row of publication"),
        schema.altering(engine) as connection,
    ):
        connection.execute(text("DELETE FROM publication"))
    with store.reading(engine) as session:
        assert session.scalars(select(store.Publication)).one()
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_create_twice(empty: Engine, now: datetime) -> None:
    """Making what is there changes nothing: the installation keeps its name and its keys."""

    def installation() -> tuple[object, ...]:
        with store.reading(empty) as session:
            row = session.scalars(select(store.Installation)).one()
            return (row.public_id, row.log_key, row.hash_key_check, row.log_size, row.created_at)

    store.create(empty, HASH_KEY, now)
    first = installation()
    store.create(empty, HASH_KEY, now.replace(year=2030))
    assert installation() == first


def test_other_hash_key_is_refused(empty: Engine, now: datetime) -> None:
    """With another hash key, blocked and erased people would be unknown: it does not start."""
    store.create(empty, HASH_KEY, now)
    schema.check_hash_key(empty, HASH_KEY)
    with pytest.raises(SchemaError, match=r"hash_key is not the one .* put the old one back"):
        schema.check_hash_key(empty, b"j" * 32)
    with pytest.raises(SchemaError, match="hash_key"):
        store.create(empty, b"j" * 32, now)


def test_hash_key_of_no_installation(empty: Engine) -> None:
    """Tables without an installation in them are told with the cure."""
    store.migrate(empty)
    with pytest.raises(SchemaError, match="newsletter migrate"):
        schema.check_hash_key(empty, HASH_KEY)


def test_check_schema(empty: Engine) -> None:
    """Empty, made by an older version, made by a newer one: refused, each with its own cure."""
    with pytest.raises(SchemaError, match=r"is empty.*newsletter migrate"):
        store.check_schema(empty)
    for older in revisions()[:-1]:
        store.migrate(empty, older)
        with pytest.raises(SchemaError, match=rf"revision {older}, this version needs {HEAD}"):
            store.check_schema(empty)
    store.migrate(empty)
    store.check_schema(empty)
    with schema.altering(empty) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match=r"revision 9999.*newer version"):
        store.check_schema(empty)


def test_the_tree_over_an_older_log(
    engine: Engine, make_publication: MakePublication, make_reader: MakeReader, now: datetime
) -> None:
    """0002 makes the same tiles and columns of the events that there are as recording them did."""
    by = consent.Evidence(actor="subscriber", channel="form", status="confirmed")
    ways = ["requested confirmed withdrawn requested", "imported complained", "requested blocked"]
    ways += ["imported bounced blocked", "requested requested confirmed preferences requested"]
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for number in range(110):
            way = ways[number % len(ways)].split()
            reader = make_reader(session, publication, f"reader-{number}@example.org")
            for kind in way:
                consent.record(session, consent.EventType(kind), reader, by, now=now)
            if number == 50:
                subscriber = reader.subscriber
        consent.record_erasure(session, subscriber, by, now=now)

    def log() -> tuple[object, ...]:
        with store.reading(engine) as session:
            tiles = session.execute(
                select(store.ConsentTile.__table__).order_by(text("level, number"))
            )
            events = session.execute(
                select(store.ConsentEvent.__table__).order_by(store.ConsentEvent.position)
            )
            installation = session.execute(select(store.Installation.__table__)).one()
            return (tiles.all(), events.all(), installation)

    before = log()
    assert len(before[0]) == 3  # type: ignore[arg-type]  # two at the bottom, one above
    schema.downgrade(engine, "0001")
    with pytest.raises(SchemaError, match="newsletter migrate"):
        store.check_schema(engine)
    store.migrate(engine)
    assert log() == before


def test_what_was_held_before_the_leases_moved_is_taken_back(
    empty: Engine, make_publication: MakePublication, make_reader: MakeReader, now: datetime
) -> None:
    """0003 keeps every row; its owner has no lease now, so the first worker takes it back.

    `armed` becomes uncertain, as its dot may have been written, and `claimed` is queued again.
    """
    store.migrate(empty)
    with store.transaction(empty) as session:
        publication = make_publication(session)
        digest = store.Digest(
            publication=publication, subject="x", created_at=now, state="sending", queued_at=now
        )
        session.add(digest)
        session.flush()
        for state in store.DeliveryState:
            reader = make_reader(session, publication, f"{state}@example.org")
            session.add(
                store.Delivery(
                    letter="digest",
                    publication_id=publication.id,
                    digest_id=digest.id,
                    subscriber_id=reader.subscriber_id,
                    subscription_id=reader.id,
                    address=reader.subscriber.address,
                    message_id=f"<{state}@example.org>",
                    state=state,
                    epoch=3,
                    owner="old" if state in ("claimed", "armed") else None,
                    attempts=2,
                    reply_code=450 if state == "deferred" else None,
                    due_at=now,
                    created_at=now,
                )
            )
        session.add(store.Worker(public_id="old", host="h", pid=1, started_at=now, seen_at=now))

    def rows() -> dict[str, object]:
        kept = [c for c in store.Delivery.__table__.columns if c.name != "retried_at"]
        with store.reading(empty) as session:
            return {row.message_id: tuple(row) for row in session.execute(select(*kept))}

    before = rows()
    schema.downgrade(empty, "0002")
    with empty.connect() as connection:
        leased = connection.execute(text("SELECT state, lease_until FROM delivery")).all()
        # The older version would never take a held row without a lease back.
        assert {row.state for row in leased if row.lease_until} == {"claimed", "armed"}
    store.migrate(empty)
    assert differences(empty) == []
    assert rows() == before
    with store.transaction(empty) as session:
        claim.reap(session, now)
        found = session.execute(select(store.Delivery.message_id, store.Delivery.state))
        after = {row.message_id: row.state for row in found}
    taken_back = {"<claimed@example.org>": "queued", "<armed@example.org>": "uncertain"}
    unchanged = {f"<{state}@example.org>": str(state) for state in store.DeliveryState}
    assert after == unchanged | taken_back


def test_articles_of_before_there_were_feeds(empty: Engine, now: datetime) -> None:
    """0004 takes them for Markdown out of files, and leaves them as they are on the way back."""
    store.migrate(empty, "0003")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO article (id, title, body, url, tags, created_at, updated_at)"
                " VALUES (7, 'T', 'B', 'https://example.org/', '[]', :now, :now)"
            ),
            {"now": now.replace(tzinfo=None) if empty.dialect.name == "sqlite" else now},
        )
    store.migrate(empty, "0004")
    columns = "id, title, body, body_format, origin, feed_id, site, image_width"
    with empty.connect() as connection:
        rows = connection.execute(text(f"SELECT {columns} FROM article")).all()
        assert rows == [(7, "T", "B", "markdown", "file", None, None, None)]
    schema.downgrade(empty, "0003")
    with empty.connect() as connection:
        assert connection.execute(text("SELECT id, title FROM article")).all() == [(7, "T")]


def test_articles_of_before_there_were_offsets(empty: Engine, now: datetime) -> None:
    """0007 keeps their moments; nobody said where their authors were."""
    store.migrate(empty)
    with store.transaction(empty) as session:
        session.add(
            store.Article(
                title="T", body="B", published_at=now, published_offset=120, created_at=now,
                updated_at=now,
            )
        )  # fmt: skip
    schema.downgrade(empty, "0006")
    store.migrate(empty)
    with store.reading(empty) as session:
        row = session.scalars(select(store.Article)).one()
        assert (row.published_at, row.published_offset, row.published) == (now, None, now)


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_check_schema_of_an_older_version(empty: Engine, revision: str) -> None:
    """Each revision before the newest is refused with the words that help."""
    store.migrate(empty, revision)
    with pytest.raises(SchemaError, match=rf"revision {revision}, this version needs {HEAD}.*"):
        store.check_schema(empty)


def test_check_schema_needs_no_write_lock(engine: Engine) -> None:
    """A command starts while an import is writing."""
    with store.transaction(engine) as session:
        session.execute(text("UPDATE installation SET log_size = 0"))
        store.check_schema(engine)
        schema.check_hash_key(engine, HASH_KEY)


def test_migrations_are_one_line_of_sentences() -> None:
    """Numbered files, each after the one before, each beginning with a sentence of what it does."""
    assert revisions()[-1] == HEAD
    before = None
    for file in sorted((resource_dir("migrations") / "versions").glob("*.py")):
        source = file.read_text(encoding="utf-8")
        names: dict[str, object] = {}
        for name in ("revision", "down_revision"):
            found = re.search(rf'^{name} = (?:"(.*)"|None)$', source, re.MULTILINE)
            assert found, (file, name)
            names[name] = found.group(1)
        assert names == {"revision": file.name.partition("_")[0], "down_revision": before}
        assert re.match(r'"""[A-Z][^\n]*\.\n', source), file
        # A migration must mean the same when our code has changed.
        assert "newsletter" not in source, file
        before = names["revision"]
