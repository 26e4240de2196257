"""Only the log that was signed for is signed again, and nobody signs up to another one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from newsletter import consent, store
from newsletter.consent import Keyring, checkpoint, merkle, tree
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.note import Signer, open_note
from newsletter.errors import ConfigError, LogFault

ORIGIN = "news.example.org/consent-log"
BY = consent.Evidence(actor="subscriber", channel="preferences")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    found = Keyring(tmp_path / "consent")
    found.create(ORIGIN)
    return found


@pytest.fixture
def reader(engine, make_publication, make_reader):
    """One pending subscription; nothing of it is in the log yet."""
    with store.transaction(engine) as session:
        return make_reader(session, make_publication(session), "ada@example.net", "pending")


@pytest.fixture
def log(engine, reader, now):
    """Appends events to the log: `log(3)`."""

    def append(times: int) -> None:
        with store.transaction(engine) as session:
            subscription = session.get(store.Subscription, reader.id)
            for _ in range(times):
                consent.record(session, consent.EventType.PREFERENCES, subscription, BY, now=now)

    return append


@pytest.fixture
def sign(engine, keyring, now):
    """Signs the log as it is."""

    def do() -> str | None:
        with store.transaction(engine) as session:
            return checkpoint.sign(session, keyring, now=now)

    return do


@pytest.fixture
def guard(engine, keyring):
    """Asks whether sign-up and sending may go on."""

    def ask() -> None:
        with store.reading(engine) as session:
            checkpoint.guard(session, keyring)

    return ask


def execute(engine, statement: str) -> None:
    with store.transaction(engine) as session:
        session.execute(text(statement))


def opened(keyring: Keyring, note: str) -> Checkpoint:
    return Checkpoint.parse(open_note(note, keyring.verifiers))


def rows(engine) -> list[store.ConsentCheckpoint]:
    with store.reading(engine) as session:
        query = select(store.ConsentCheckpoint).order_by(store.ConsentCheckpoint.id)
        return list(session.scalars(query))


def copy_of(engine, tmp_path: Path, name: str) -> Path:
    """A backup of a SQLite database."""
    engine.dispose()  # the last connection brings the WAL into the file
    return Path(shutil.copy(tmp_path / "newsletter.db", tmp_path / name))


def put_back(engine, tmp_path: Path, backup: Path) -> None:
    engine.dispose()
    for file in tmp_path.glob("newsletter.db-*"):
        file.unlink()
    shutil.copy(backup, tmp_path / "newsletter.db")


def test_an_empty_log_is_not_signed(engine, keyring, sign, guard) -> None:
    """There is nothing to say of it, and nothing stands in a sign-up's way."""
    assert sign() is None
    assert keyring.last_checkpoint() is None
    guard()


def test_what_is_signed(engine, keyring, log, sign, guard) -> None:
    """Origin, size and root of the log; in the database and outside of it."""
    log(3)
    note = sign()
    with store.reading(engine) as session:
        commitments = session.scalars(
            select(store.ConsentEvent.commitment).order_by(store.ConsentEvent.position)
        )
        root = merkle.root([tree.leaf_hash(each) for each in commitments])
        assert checkpoint.newest(session) == note
    assert opened(keyring, note) == Checkpoint(ORIGIN, 3, root)
    assert keyring.last_checkpoint() == note
    assert [(row.log, row.size, row.note) for row in rows(engine)] == [(1, 3, note)]
    guard()


def test_a_log_that_did_not_grow_keeps_its_note(engine, log, sign) -> None:
    """Signing again says the same and stores nothing."""
    log(2)
    first = sign()
    assert sign() == first
    log(1)
    assert sign() != first
    assert [row.size for row in rows(engine)] == [2, 3]


def test_each_checkpoint_extends_the_one_before(engine, keyring, log, sign) -> None:
    """The proofs between them, read from the tiles, hold."""
    sizes = [1, 1, 254, 1, 300]
    notes = []
    for step in sizes:
        log(step)
        notes.append(opened(keyring, sign()))
    with store.reading(engine) as session:
        for old, new in pairwise(notes):
            proof = tree.consistency(session, old.size, new.size)
            merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)


def test_what_is_not_committed_is_not_signed(engine, keyring, log, reader, now) -> None:
    """A rollback after the signature would leave a checkpoint over events that never were."""
    log(1)
    with store.transaction(engine) as session:
        subscription = session.get(store.Subscription, reader.id)
        consent.record(session, consent.EventType.PREFERENCES, subscription, BY, now=now)
        with pytest.raises(RuntimeError, match="committed"):
            checkpoint.sign(session, keyring, now=now)
    with store.transaction(engine) as session:
        assert opened(keyring, checkpoint.sign(session, keyring, now=now)).size == 2


@pytest.mark.parametrize(
    ("statement", "told_by_guard"),
    [
        ("UPDATE installation SET log_size = 4", True),
        ("UPDATE installation SET log_number = 2", True),
        ("DELETE FROM consent_tile", True),
        ("UPDATE consent_tile SET number = 7", True),
        ("DELETE FROM consent_event WHERE position = 5", False),
        ("UPDATE installation SET log_size = 9", False),
        ("UPDATE consent_checkpoint SET size = 7", False),
        ("UPDATE consent_checkpoint SET note = 'x'", False),
    ],
)
def test_another_log_is_never_signed(engine, log, sign, guard, statement, told_by_guard) -> None:
    """Shorter, longer than its events, without its hashes, under another number: refused."""
    log(5)
    signed = sign()
    log(2)
    execute(engine, statement)
    with pytest.raises(LogFault) as error:
        sign()
    assert error.value.exit_code == 4
    if told_by_guard:
        with pytest.raises(LogFault, match="newsletter recover"):
            guard()
    assert [row.note for row in rows(engine) if row.note != "x"] in ([signed], [])


def test_a_changed_row_is_never_signed(engine, keyring, log, sign, guard) -> None:
    """A hash or a commitment, from before the last checkpoint or after it."""
    log(300)
    note = sign()
    log(10)
    for table, column, where in (
        # Not of a full tile at the bottom: the hash over it, a level higher, is what is signed for.
        ("consent_tile", "hashes", "level = 0 AND number = 1"),
        ("consent_tile", "hashes", "level = 1"),
        ("consent_event", "commitment", "position = 305"),
    ):
        of = store.Base.metadata.tables[table].c[column]
        with store.transaction(engine) as session:
            before = session.scalar(select(of).where(text(where)))
            changed = before[:-1] + bytes([before[-1] ^ 1])
            session.execute(update(of.table).where(text(where)).values({column: changed}))
        with pytest.raises(LogFault):
            sign()
        with store.transaction(engine) as session:
            session.execute(update(of.table).where(text(where)).values({column: before}))
    assert keyring.last_checkpoint() == note
    assert opened(keyring, sign()).size == 310
    guard()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("grown_by", [0, 2, 5])
def test_a_restored_backup_is_noticed(
    engine, keyring, log, sign, guard, tmp_path, grown_by
) -> None:
    """While it is shorter than what was signed for, and when it has grown past that, until the
    newer database is back.
    """
    log(3)
    sign()
    backup = copy_of(engine, tmp_path, "backup.db")
    log(2)
    note = sign()
    newer = copy_of(engine, tmp_path, "newer.db")
    put_back(engine, tmp_path, backup)
    log(grown_by)
    for ask in (guard, sign):
        with pytest.raises(LogFault, match="newsletter recover"):
            ask()
    put_back(engine, tmp_path, newer)
    guard()
    assert sign() == note


def test_a_recovered_log_is_signed_under_a_new_name(engine, keyring, log, sign, guard, now) -> None:
    """Once the event that begins it names the checkpoint that was kept; not before."""
    log(5)
    kept = sign()
    execute(engine, "UPDATE installation SET log_size = 4")
    execute(engine, "DELETE FROM consent_event WHERE position = 4")
    with pytest.raises(LogFault):
        guard()
    with store.transaction(engine) as session:
        consent.record_recovery(session, kept=kept, found="", now=now)
    guard()
    found = opened(keyring, sign())
    assert (found.origin, found.size) == (f"{ORIGIN}/2", 5)
    log(1)
    sign()
    guard()
    assert [(row.log, row.size) for row in rows(engine)] == [(1, 5), (2, 5), (2, 6)]


def test_a_recovery_that_names_something_else_does_not_count(
    engine, keyring, log, sign, guard, now
) -> None:
    """It would hide what was signed."""
    log(3)
    other = sign()
    log(2)
    sign()
    with store.transaction(engine) as session:
        consent.record_recovery(session, kept=other, found="", now=now)
    for ask in (guard, sign):
        with pytest.raises(LogFault, match="another one"):
            ask()


def test_an_older_database_after_a_recovery_is_noticed(
    engine, keyring, log, sign, guard, now
) -> None:
    """The last checkpoint is the new log's; a database from before the recovery does not fit it."""
    log(3)
    kept = sign()
    with store.transaction(engine) as session:
        consent.record_recovery(session, kept=kept, found="", now=now)
    sign()
    execute(
        engine, "UPDATE installation SET log_number = 1, log_size = 3, recovery_position = NULL"
    )
    with pytest.raises(LogFault, match="recover"):
        guard()


def test_a_halt_lasts_until_it_is_ended(engine, log, sign, guard) -> None:
    """The first fault is the one that is told."""
    log(1)
    with store.transaction(engine) as session:
        checkpoint.halt(session, "position 0: something")
        checkpoint.halt(session, "something else")
    for ask in (guard, sign):
        with pytest.raises(LogFault, match=r"position 0: something.*verify --full"):
            ask()
    with store.transaction(engine) as session:
        checkpoint.go_on(session)
    guard()
    sign()


def test_a_rotated_key_signs_the_same_log_again(engine, keyring, log, sign, guard) -> None:
    """Who knows only today's key finds a checkpoint that it signed; the old one still opens."""
    log(2)
    old = sign()
    keyring.rotate()
    guard()
    new = sign()
    assert new != old
    assert open_note(new, [keyring.signer.verifier]) == open_note(old, keyring.verifiers)
    assert [row.note for row in rows(engine)] == [new]
    assert keyring.last_checkpoint() == new


def test_a_checkpoint_of_a_strangers_key_is_a_fault(engine, keyring, log, sign, guard) -> None:
    """The folder is another installation's, or somebody wrote into it."""
    log(1)
    sign()
    stranger = Signer.fresh(ORIGIN)
    keyring.keep_checkpoint(stranger.sign(Checkpoint(ORIGIN, 1, bytes(32)).text))
    for ask in (guard, sign):
        with pytest.raises(LogFault, match="none of the known keys"):
            ask()


def test_without_a_key_nothing_is_signed_and_everything_else_goes_on(
    engine, log, tmp_path, now
) -> None:
    """An installation from before there were keys: the guard has nothing against it."""
    log(1)
    keyring = Keyring(tmp_path / "none")
    with store.reading(engine) as session:
        checkpoint.guard(session, keyring)
    with (
        store.transaction(engine) as session,
        pytest.raises(ConfigError, match="newsletter migrate"),
    ):
        checkpoint.sign(session, keyring, now=now)
    assert not (tmp_path / "none").exists()


def test_a_crash_between_file_and_commit_is_no_fault(engine, keyring, log, guard, now) -> None:
    """The note is known outside first; the transaction that stored it may be lost."""
    log(2)
    with pytest.raises(ZeroDivisionError), store.transaction(engine) as session:
        note = checkpoint.sign(session, keyring, now=now)
        raise ZeroDivisionError
    assert keyring.last_checkpoint() == note
    guard()
    log(1)
    with store.transaction(engine) as session:
        checkpoint.sign(session, keyring, now=now)
    assert rows(engine)[-1].size == 3


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from newsletter import consent, store
from newsletter.consent import Keyring, checkpoint

engine, keyring = store.connect(sys.argv[1]), Keyring(Path(sys.argv[2]))
by = consent.Evidence(actor="subscriber", channel="preferences")
now = datetime(2026, 3, 1, tzinfo=UTC)
for number in range(40):
    try:
        with store.transaction(engine) as session:
            reader = session.query(store.Subscription).one()
            consent.record(session, consent.EventType.PREFERENCES, reader, by, now=now)
            if number % 5 == 4:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    if number % 8 == 7:
        with store.transaction(engine) as session:
            checkpoint.sign(session, keyring, now=now)
        with store.reading(engine) as session:
            checkpoint.guard(session, keyring)
engine.dispose()
"""


def test_two_writers_at_once_leave_no_gap_and_no_fork(
    engine, keyring, reader, sign, database_url
) -> None:
    """Two processes append, roll back and sign; every checkpoint is one of the same log."""
    command = [sys.executable, "-c", WRITER, database_url, str(keyring.folder)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        _out, err = writer.communicate(timeout=200)
        assert writer.returncode == 0, err
    sign()
    with store.reading(engine) as session:
        found = session.scalars(
            select(store.ConsentEvent).order_by(store.ConsentEvent.position)
        ).all()
        assert [row.position for row in found] == list(range(64))
        leaves = [tree.leaf_hash(row.commitment) for row in found]
        signed = [opened(keyring, row.note) for row in rows(engine)]
        assert signed[-1].size == 64
        assert [each.size for each in signed] == sorted({each.size for each in signed})
        for each in signed:
            assert each.root == merkle.root(leaves[: each.size])
        assert tree.root(session, 64) == merkle.root(leaves)
    assert opened(keyring, keyring.last_checkpoint()) == signed[-1]
