"""A log's tree as others see it: hashes in tiles, whose places C2SP's tlog-tiles lays down.

A tile has up to 256 neighbouring hashes. Those of level 0 are the leaves'; each hash of a level
above is the root over a full tile below it. From the tiles that a checkpoint's size asks for,
anybody can compute every proof. See https://c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.consent import merkle
from newsletter.errors import BadInput, InvalidProof

WIDTH = 256
_HEIGHT = 8  # of the subtree that a full tile spans
_MAX_LEVEL = 63

_PATH = re.compile(r"(0|[1-9]\d?)/((?:x\d{3}/)*)(\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)


@dataclass(frozen=True)
class Tile:
    """One tile: its level, its index within the level, and how many hashes it has (1 to 256)."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below `tile/`, such as 0/x001/x234/067 or 1/000.p/17."""
        parts = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            parts.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        suffix = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{self.level}/{'/'.join(parts)}{suffix}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """The tile of such a path; raises BadInput unless it is the one spelling of it."""
        found = _PATH.fullmatch(path)
        # Longer than any tree: not a number to compute with.
        if found is None or len(path) > 60 or int(found[1]) > _MAX_LEVEL:
            raise BadInput("This is not the path of a tile.", "tile")
        number = int(found[2].replace("x", "").replace("/", "") + found[3])
        tile = cls(int(found[1]), number, int(found[4]) if found[4] else WIDTH)
        if tile.path != path or tile.width > WIDTH:
            raise BadInput("This is not the path of a tile.", "tile")
        return tile

    def is_in(self, size: int) -> bool:
        """Whether a tree of `size` leaves has all of this tile's hashes."""
        return self.number * WIDTH + self.width <= size >> (_HEIGHT * self.level)


def tile_of(size: int, level: int, number: int) -> Tile:
    """The tile, full or partial, that holds the hash `number` of tile level `level`.

    Raises InvalidProof when a tree of `size` leaves has no such hash.
    """
    there = size >> (_HEIGHT * level)
    index = number // WIDTH
    if number >= there:
        raise InvalidProof(f"a tree of {size} has no hash {number} at level {level}")
    return Tile(level, index, min(WIDTH, there - index * WIDTH))


def reader(size: int, get: Callable[[str], bytes]) -> merkle.Read:
    """Reads the nodes of a tree of `size` leaves out of its tiles; each tile is asked for once.

    get: what lies at a tile's path. Nothing of it is believed: what is made of the hashes is to be
        held against a signed root.

    The function that is returned raises InvalidProof when a tile has not as many bytes as it must.
    """
    tiles: dict[Tile, bytes] = {}

    def hashes(tile: Tile) -> bytes:
        if tile not in tiles:
            found = get(tile.path)
            if len(found) != tile.width * merkle.HASH_SIZE:
                raise InvalidProof(f"the tile {tile.path} has {len(found)} bytes")
            tiles[tile] = found
        return tiles[tile]

    def read(level: int, number: int) -> bytes:
        # A node between two tile levels is the root over 1, 2, ... 128 hashes of one tile.
        tile_level, above = divmod(level, _HEIGHT)
        first = number << above
        last = first + (1 << above) - 1
        tile = tile_of(size, tile_level, last)
        start = (first - tile.number * WIDTH) * merkle.HASH_SIZE
        end = (last + 1 - tile.number * WIDTH) * merkle.HASH_SIZE
        row = hashes(tile)[start:end]
        return merkle.root([row[at : at + merkle.HASH_SIZE] for at in range(0, len(row), 32)])

    return read
