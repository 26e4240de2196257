"""The tree built anew from the events, held against each hash that is stored of it.

Of each level one tile is in memory, whatever the length of the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from newsletter.consent import merkle, tree
from newsletter.consent.check import fault
from newsletter.errors import ConsentLogError
from newsletter.store import ConsentTile

_HASH = merkle.HASH_SIZE
_TILE = tree.WIDTH * _HASH


@dataclass
class _Level:
    """The tile of one level that is being built: its number, its hashes, and what is stored."""

    number: int
    hashes: bytearray
    stored: bytes


class Rebuilt:
    """A tree that grows leaf by leaf beside the stored one.

    Each hash is compared as soon as it is known, so that the first fault is found first.
    """

    def __init__(self, session: Session, *, log: int) -> None:
        self._session, self._log = session, log
        self._levels: list[_Level] = []
        self.size = 0

    @classmethod
    def resume(cls, session: Session, *, log: int, size: int, root: bytes) -> Rebuilt:
        """Go on behind the first `size` leaves, whose root a signed checkpoint tells.

        Raises ConsentLogError when the stored hashes do not lead to that root.
        """
        self = cls(session, log=log)
        self.size = size
        level = 0
        while size:
            number, filled = divmod(size, tree.WIDTH)
            stored = self._stored(level, number)
            self._levels.append(_Level(number, bytearray(stored[: filled * _HASH]), stored))
            size, level = number, level + 1
        if self.root() != root:
            raise fault.at(
                self.size - 1, f"the tree is not the one of the checkpoint over {self.size} events"
            )
        return self

    def add(self, commitment: bytes, *, position: int) -> None:
        """The next leaf; raises ConsentLogError when the tree holds another, or none."""
        if not isinstance(commitment, bytes) or len(commitment) != _HASH:
            raise fault.at(position, "the event's commitment is damaged")
        self._add(0, tree.leaf_hash(commitment), position)
        self.size += 1

    def root(self) -> bytes:
        """The root over the leaves so far."""
        try:
            return merkle.stored_root(self.size, self._read)
        except IndexError as error:
            raise ConsentLogError("the stored tree is too short", position=self.size - 1) from error

    def finish(self) -> None:
        """After the last leaf: nothing else is stored of this tree."""
        last = self.size - 1
        for level, each in enumerate(self._levels):
            if len(each.stored) != len(each.hashes):
                raise fault.at(last, f"the tile {level}/{each.number} does not end with the log")
        extra = [~ConsentTile.level.between(0, len(self._levels) - 1), ConsentTile.number < 0]
        for level, each in enumerate(self._levels):
            count = each.number + bool(each.hashes)
            extra.append(and_(ConsentTile.level == level, ConsentTile.number >= count))
        query = select(ConsentTile.level, ConsentTile.number).where(
            ConsentTile.log == self._log, or_(*extra)
        )
        found = self._session.execute(query.limit(1)).one_or_none()
        if found is not None:
            raise fault.at(max(last, 0), f"the tile {found[0]}/{found[1]} is none of the tree's")

    def _add(self, level: int, node: bytes, position: int) -> None:
        if level == len(self._levels):
            self._levels.append(_Level(0, bytearray(), self._stored(level, 0)))
        tile = self._levels[level]
        at = len(tile.hashes)
        if tile.stored[at : at + _HASH] != node:
            raise fault.at(position, _other_hash(level, tile.number, at // _HASH))
        tile.hashes += node
        if len(tile.hashes) < _TILE:
            return
        if len(tile.stored) != _TILE:
            raise fault.at(position, f"the tile {level}/{tile.number} has more than 256 hashes")
        above = merkle.root(_split(tile.hashes))
        tile.number += 1
        tile.hashes = bytearray()
        tile.stored = self._stored(level, tile.number)
        self._add(level + 1, above, position)

    def _read(self, level: int, number: int) -> bytes:
        """The roots over whole subtrees that the newest tiles hold; a root needs no others."""
        tile_level, inside = divmod(level, tree.HEIGHT)
        tile = self._levels[tile_level]
        start = ((number << inside) - tile.number * tree.WIDTH) * _HASH
        found = tile.hashes[start : start + (_HASH << inside)]
        if len(found) != _HASH << inside:
            raise IndexError(level, number)
        return merkle.root(_split(found))

    def _stored(self, level: int, number: int) -> bytes:
        return tree.tile(self._session, level, number, log=self._log) or b""


def _other_hash(level: int, number: int, index: int) -> str:
    if level == 0:
        return "the tree does not hold the event's leaf"
    return f"hash {index} of the tile {level}/{number} is not the one over the leaves below it"


def _split(hashes: bytearray) -> list[bytes]:
    return [bytes(hashes[start : start + _HASH]) for start in range(0, len(hashes), _HASH)]
