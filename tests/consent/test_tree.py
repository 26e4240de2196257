"""The stored tree is the tree of the commitments, whatever was appended in which pieces."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from newsletter import consent, store
from newsletter.consent import merkle, tree
from newsletter.errors import ConsentLogError

BY = consent.Evidence(actor="subscriber", channel="form")


def commitment(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


LEAVES = [tree.leaf_hash(commitment(number)) for number in range(1100)]


def append(session, start, stop, log=1):
    pieces = [commitment(number) for number in range(start, stop)]
    tree.append(session, pieces, log=log, size=start)


def tiles(session):
    rows = session.execute(select(store.ConsentTile.__table__)).all()
    return {(row.log, row.level, row.number): row.hashes for row in rows}


@pytest.fixture
def reader(engine, now, make_publication, make_reader):
    """One pending subscription, with its request in the log."""
    with store.transaction(engine) as session:
        subscription = make_reader(session, make_publication(session), "ada@example.net", "pending")
        consent.record(session, consent.EventType.REQUESTED, subscription, BY, now=now)
    return subscription


def record(engine, reader, kind, now, times=1):
    with store.transaction(engine) as session:
        subscription = session.get(store.Subscription, reader.id)
        for _ in range(times):
            consent.record(session, kind, subscription, BY, now=now)


def rows_and_root(engine):
    """The commitments in order, and the root that is stored over them."""
    with store.reading(engine) as session:
        rows = session.scalars(
            select(store.ConsentEvent).order_by(store.ConsentEvent.position)
        ).all()
        assert [row.position for row in rows] == list(range(len(rows)))
        return rows, tree.root(session, len(rows))


def test_a_leaf_holds_the_commitment_and_nothing_else() -> None:
    """The words of the format: a prefix that names it, and 32 bytes."""
    found = commitment(1)
    assert tree.leaf_hash(found) == hashlib.sha256(b"\0consentlog/v1\0" + found).digest()


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([1] * 300, id="one by one"),
        pytest.param([255, 1, 1, 255, 300, 200], id="around full tiles"),
        pytest.param([1000, 100], id="at once"),
    ],
)
def test_appended_in_pieces(engine, steps) -> None:
    """The root, and the tiles, are those of the leaves; an older size's root is still there."""
    with store.transaction(engine) as session:
        size = 0
        for step in steps:
            append(session, size, size + step)
            size += step
            assert tree.root(session, size) == merkle.root(LEAVES[:size])
        for old in (0, 1, 2, size // 2, size - 1):
            assert tree.root(session, old) == merkle.root(LEAVES[:old])
        found = tiles(session)
        full = [key for key, hashes in found.items() if len(hashes) == 256 * 32]
        assert len([key for key in full if key[1] == 0]) == size // 256
        for (_log, level, number), hashes in found.items():
            row = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
            start = number * 256
            if level == 0:
                assert row == LEAVES[start : min(start + 256, size)]
            else:
                assert (
                    row
                    == [merkle.root(LEAVES[n * 256 : n * 256 + 256]) for n in range(4)][
                        : size // 256
                    ]
                )


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_more_than_one_level_above(engine) -> None:
    """65,536 leaves fill a tile of the level above; the proofs go through all three levels."""
    size, piece = 66_000, 11_000
    with store.transaction(engine) as session:
        for start in range(0, size, piece):
            append(session, start, start + piece)
        leaves = [tree.leaf_hash(commitment(number)) for number in range(size)]
        root = merkle.root(leaves)
        assert tree.root(session, size) == root
        assert len(tiles(session)[1, 2, 0]) == 32
        for index in (0, 255, 256, 65_535, 65_536, size - 1):
            proof = tree.inclusion(session, index, size)
            merkle.verify_inclusion(leaves[index], index, size, proof, root)
        for old in (1, 255, 256, 65_535, 65_536, 65_537, size):
            proof = tree.consistency(session, old, size)
            merkle.verify_consistency(old, size, proof, merkle.root(leaves[:old]), root)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("size", [1, 1000, 65_535])
def test_an_append_changes_few_rows(engine, size) -> None:
    """One row for each level at most, however long the log is."""
    with store.transaction(engine) as session:
        append(session, 0, size)
        before = tiles(session)
        append(session, size, size + 1)
        after = tiles(session)
    changed = {key for key in after if before.get(key) != after[key]}
    assert len(changed) <= 3
    assert before.keys() <= after.keys()


def test_proofs_of_every_leaf(engine) -> None:
    """Read from the tiles, they are those that the leaves themselves give."""
    with store.transaction(engine) as session:
        append(session, 0, 300)
        for index in range(0, 300, 7):
            assert tree.inclusion(session, index, 300) == merkle.inclusion_proof(
                index, LEAVES[:300]
            )
        for old in range(1, 300, 7):
            assert tree.consistency(session, old, 300) == merkle.consistency_proof(
                old, LEAVES[:300]
            )


@given(st.integers(0, 2000), st.data())
def test_leaves_after_a_recovery(recovery, data) -> None:
    """Each event has one leaf and each leaf one event; what happens later stands where it always
    would.
    """
    size = data.draw(st.integers(recovery + 1, recovery + 50))
    indexes = [tree.leaf_index(position, recovery) for position in range(size)]
    assert sorted(indexes) == list(range(size))
    assert indexes[recovery] == 0
    assert [tree.position_of(index, recovery) for index in indexes] == list(range(size))
    assert tree.leaf_index(size, None) == tree.position_of(size, None) == size


def test_events_are_leaves(engine, reader, now) -> None:
    """Each recorded event is a leaf in the transaction that records it, or neither is there."""
    record(engine, reader, consent.EventType.CONFIRMED, now)
    with pytest.raises(ZeroDivisionError), store.transaction(engine) as session:
        subscription = session.get(store.Subscription, reader.id)
        consent.record(session, consent.EventType.WITHDRAWN, subscription, BY, now=now)
        raise ZeroDivisionError
    record(engine, reader, consent.EventType.WITHDRAWN, now)
    rows, root = rows_and_root(engine)
    assert [row.state for row in rows] == ["pending", "confirmed", "unsubscribed"]
    assert root == merkle.root([tree.leaf_hash(row.commitment) for row in rows])


def test_the_clear_columns_say_what_changed(engine, reader, now) -> None:
    """An event that changes nothing says no state: asking twice, changing a name."""
    for kind in ("requested", "confirmed", "requested", "preferences", "withdrawn", "blocked"):
        record(engine, reader, consent.EventType(kind), now)
    rows, _root = rows_and_root(engine)
    assert [row.state for row in rows] == [
        "pending", None, "confirmed", None, None, "unsubscribed", None,
    ]  # fmt: skip
    assert {row.subscription_id for row in rows} == {reader.id}


def test_an_erasure_leaves_the_tree_alone(engine, reader, now) -> None:
    """No leaf changes; one is added, and the erased events keep nothing but their commitment."""
    record(engine, reader, consent.EventType.CONFIRMED, now)
    before, root = rows_and_root(engine)
    with store.transaction(engine) as session:
        subscriber = session.get(store.Subscriber, reader.subscriber_id)
        consent.record_erasure(session, subscriber, BY, now=now)
    after, _root = rows_and_root(engine)
    assert [row.commitment for row in after[:2]] == [row.commitment for row in before]
    for row in after[:2]:
        assert (row.body, row.subscriber_id, row.subscription_id, row.state) == (None,) * 4
    with store.reading(engine) as session:
        assert tree.root(session, 2) == root


def test_a_recovery_begins_another_tree(engine, reader, now) -> None:
    """Every event from before is in it, behind the one that says so; the old tree stays."""
    record(engine, reader, consent.EventType.CONFIRMED, now)
    record(engine, reader, consent.EventType.PREFERENCES, now, times=300)
    _rows, old_root = rows_and_root(engine)
    with store.transaction(engine) as session:
        session.execute(update(store.Installation).values(log_fault="older"))
        position = consent.record_recovery(session, kept="kept", found="", now=now)
    assert position == 302
    record(engine, reader, consent.EventType.WITHDRAWN, now)
    with store.reading(engine) as session:
        installation = session.get(store.Installation, 1)
        assert (installation.log_number, installation.recovery_position) == (2, position)
        assert installation.log_fault is None
        rows = session.scalars(select(store.ConsentEvent))
        found = {row.position: row.commitment for row in rows}
        order = [302, *range(302), 303]
        leaves = [tree.leaf_hash(found[number]) for number in order]
        root = tree.root(session, 304)
        assert root == merkle.root(leaves)
        for number in (0, 1, 255, 301, 302, 303):
            proof = tree.inclusion(session, number, 304)
            index = tree.leaf_index(number, 302)
            merkle.verify_inclusion(leaves[index], index, 304, proof, root)
        assert tree.root(session, 302, log=1) == old_root


@pytest.mark.parametrize(
    "change",
    [
        delete(store.ConsentTile),
        update(store.ConsentTile).values(hashes=b"short"),
        update(store.ConsentTile).values(hashes=bytes(40 * 32)),
    ],
)
def test_a_damaged_tile_does_not_keep_anybody_in(engine, reader, now, change) -> None:
    """Leaving always works. The damage halts sending, and no root hides it."""
    record(engine, reader, consent.EventType.CONFIRMED, now)
    _rows, root = rows_and_root(engine)
    with store.transaction(engine) as session:
        session.execute(change)
    record(engine, reader, consent.EventType.WITHDRAWN, now)
    with store.reading(engine) as session:
        assert session.get(store.Installation, 1).log_fault is not None
        assert tree.root(session, 2) != root


def test_a_missing_hash_is_told(engine, reader) -> None:
    """Reading beyond what is stored is an error that says where, not a wrong root."""
    with store.reading(engine) as session, pytest.raises(ConsentLogError, match="tile 0/0"):
        tree.root(session, 2)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_tile_of_text_is_told(engine, reader) -> None:
    """SQLite lets any kind of value stand anywhere."""
    with store.transaction(engine) as session:
        session.execute(text("UPDATE consent_tile SET hashes = 'text'"))
    with store.reading(engine) as session, pytest.raises(ConsentLogError, match="tile 0/0"):
        tree.root(session, 1)


@given(st.integers(0, 400))
def test_a_frontier_is_the_whole_tree(size) -> None:
    """Growing leaf by leaf, from nothing or from a stored tree, gives the same root."""
    grown = merkle.Frontier()
    for leaf in LEAVES[:size]:
        grown.add(leaf)
    assert grown.root() == merkle.root(LEAVES[:size])
    assert merkle.Frontier(size, grown.peaks).root() == grown.root()
