"""The stored tree over the log's commitments: appended to, read, and proven from.

Its hashes lie in tiles of 256 (C2SP tlog-tiles), so that an append rewrites one row and a proof
reads a few, however long the log is. A leaf holds the commitment and nothing else: it tells nothing
about anybody.

After a recovery a new tree is begun. Its leaf 0 is the event that says so; all events from before
it follow in their order, and then those that came after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from newsletter.consent import merkle
from newsletter.errors import ConsentLogError, SchemaError
from newsletter.store import ConsentTile, Installation
from newsletter.store.find import inserter

# Hashes in a full tile, and how many levels of the binary tree one level of tiles spans.
WIDTH = 256
HEIGHT = 8
_TILE_BYTES = WIDTH * merkle.HASH_SIZE
_KEPT_TILES = 64

_LEAF_PREFIX = b"consentlog/v1\0"
# Where a session says in which of its transactions it appended (see appends).
_APPENDED = "newsletter.consent.appended"


def leaf_hash(commitment: bytes) -> bytes:
    """The 32-byte hash of the leaf that holds an event's commitment."""
    return merkle.leaf_hash(_LEAF_PREFIX + commitment)


def leaf_index(position: int, recovery_position: int | None) -> int:
    """Which leaf of a tree the event at `position` is.

    recovery_position: that of the event that began the tree; None for the first tree.
    """
    if recovery_position is None or position > recovery_position:
        return position
    return 0 if position == recovery_position else position + 1


def position_of(index: int, recovery_position: int | None) -> int:
    """Which event a leaf of a tree is: the inverse of leaf_index."""
    if recovery_position is None or index > recovery_position:
        return index
    return recovery_position if index == 0 else index - 1


def append(session: Session, commitments: Iterable[bytes], *, log: int, size: int) -> None:
    """Add leaves to the tree number `log`, which has `size` of them.

    The caller holds the lock on the installation's row. A damaged tile does not stop this, since
    leaving must always work: what is missing of it is filled up with zeros, which the next
    checkpoint and every verification refuse, and the installation is halted.
    """
    fresh = [leaf_hash(each) for each in commitments]
    rows: list[dict[str, object]] = []
    level = 0
    while fresh:
        number, filled = divmod(size, WIDTH)
        hashes = _head(session, log, level, number, filled) + b"".join(fresh)
        fresh = []
        for offset in range(0, len(hashes), _TILE_BYTES):
            tile = hashes[offset : offset + _TILE_BYTES]
            at = number + offset // _TILE_BYTES
            rows.append({"log": log, "level": level, "number": at, "hashes": tile})
            if len(tile) == _TILE_BYTES:
                fresh.append(merkle.root(_split(tile)))
        size, level = number, level + 1
    if rows:
        statement = inserter(session)(ConsentTile)
        statement = statement.on_conflict_do_update(
            index_elements=[ConsentTile.log, ConsentTile.level, ConsentTile.number],
            set_={"hashes": statement.excluded.hashes},
        )
        session.connection().execute(statement, rows)
    session.info[_APPENDED] = session.get_transaction()


def appends(session: Session) -> bool:
    """Whether the session's transaction, which is not committed yet, added to the log."""
    return session.info.get(_APPENDED) is not None and (
        session.info[_APPENDED] is session.get_transaction()
    )


def tile(session: Session, level: int, number: int, *, log: int) -> bytes | None:
    """The hashes of a tile as they are stored: 32 bytes each, at most 256; None without any."""
    # Of the column alone: a session that holds the row as an object would answer from memory.
    found = session.connection().scalar(
        select(ConsentTile.hashes).where(
            ConsentTile.log == log, ConsentTile.level == level, ConsentTile.number == number
        )
    )
    # SQLite stores text where we wrote bytes, if told to.
    return found if isinstance(found, bytes) else None


def reader(session: Session, log: int) -> merkle.Read:
    """What newsletter.consent.merkle reads the tree number `log` with.

    Reading raises ConsentLogError when a tile is missing or too short.
    """
    kept: dict[tuple[int, int], bytes] = {}

    def hashes_of(level: int, number: int) -> bytes:
        if (level, number) not in kept:
            if len(kept) >= _KEPT_TILES:
                del kept[next(iter(kept))]
            kept[level, number] = tile(session, level, number, log=log) or b""
        return kept[level, number]

    return _reader(hashes_of)


def root(session: Session, size: int, *, log: int | None = None) -> bytes:
    """The root over the first `size` leaves; of today's tree unless `log` names another."""
    return merkle.stored_root(size, reader(session, log or _today(session).log_number))


def inclusion(session: Session, position: int, size: int) -> list[bytes]:
    """The proof that the event at `position` is in the first `size` leaves of today's tree.

    Verify it for the leaf `leaf_index(position, installation.recovery_position)`.
    """
    today = _today(session)
    index = leaf_index(position, today.recovery_position)
    return merkle.stored_inclusion(index, size, reader(session, today.log_number))


def consistency(session: Session, old: int, new: int, *, log: int | None = None) -> list[bytes]:
    """The proof that the tree's first `new` leaves begin with its first `old` ones."""
    return merkle.stored_consistency(old, new, reader(session, log or _today(session).log_number))


def _reader(hashes_of: Callable[[int, int], bytes]) -> merkle.Read:
    def read(level: int, number: int) -> bytes:
        tile_level, inside = divmod(level, HEIGHT)
        number_in_level = number << inside
        at, offset = divmod(number_in_level, WIDTH)
        start = offset * merkle.HASH_SIZE
        found = hashes_of(tile_level, at)[start : start + (merkle.HASH_SIZE << inside)]
        if len(found) != merkle.HASH_SIZE << inside:
            raise ConsentLogError(f"tile {tile_level}/{at}: hashes of the tree are missing")
        return merkle.root(_split(found))

    return read


def _head(session: Session, log: int, level: int, number: int, filled: int) -> bytes:
    """What the newest tile of a level holds already: `filled` hashes."""
    if not filled:
        return b""
    wanted = filled * merkle.HASH_SIZE
    found = tile(session, level, number, log=log) or b""
    if len(found) != wanted:
        halt = f"tile {level}/{number}: hashes of the tree are missing or too many"
        session.execute(
            update(Installation)
            .where(Installation.log_fault.is_(None))
            .values(log_fault=halt)
            .execution_options(synchronize_session=False)
        )
    return found[:wanted].ljust(wanted, b"\0")


def _split(hashes: bytes) -> list[bytes]:
    size = merkle.HASH_SIZE
    return [hashes[start : start + size] for start in range(0, len(hashes), size)]


def _today(session: Session) -> Installation:
    installation = session.get(Installation, 1, populate_existing=True)
    if installation is None:
        raise SchemaError("The database has no installation in it: newsletter migrate")
    return installation
