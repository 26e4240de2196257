"""The Merkle tree of RFC 9162 §2.1 (the same as RFC 6962's): hashes in, hashes and proofs out.

Pure mathematics: no database, no files, no clock. A tree over n leaves is told by its size and its
root. An inclusion proof shows that a leaf stands at an index of such a tree; a consistency proof
shows that a larger tree begins with a smaller one. Verifying either returns nothing or raises
InvalidProof: there is no False that could be taken for true.

The functions with `read` work on a stored tree: `read(level, number)` gives the hash over the
leaves from number * 2**level on, 2**level of them, all of them present.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from newsletter.errors import InvalidProof

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Read = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The 32-byte hash of a leaf; its prefix keeps a leaf from posing as a node (§2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash over two neighbouring subtrees (§2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The 32-byte root over leaves given as their 32-byte hashes; that of SHA-256("") for none.

    Raises InvalidProof when a leaf hash has another length.
    """
    return stored_root(len(leaf_hashes), _reader(leaf_hashes))


def inclusion_proof(index: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """The hashes, from the leaf upward, that lead from leaf `index` to the root (§2.1.3.1).

    Raises InvalidProof when there is no such leaf.
    """
    return stored_inclusion(index, len(leaf_hashes), _reader(leaf_hashes))


def consistency_proof(old: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """The hashes that show that the tree begins with its first `old` leaves (§2.1.4.1).

    Raises InvalidProof unless 1 <= old <= the number of leaves.
    """
    return stored_consistency(old, len(leaf_hashes), _reader(leaf_hashes))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that `leaf` (a leaf hash) is at `index` of the tree of `size` leaves with this root.

    The algorithm of RFC 9162 §2.1.3.2. Raises InvalidProof when it is not, or when anything has a
    wrong length or range.
    """
    _check_hashes(leaf, root, *proof)
    if size < 1 or not 0 <= index < size:
        raise InvalidProof(f"there is no leaf {index} in a tree of {size}")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            # Past the levels where a last node without a sibling stands for itself.
            at, last = (each >> _trailing_zeros(at) for each in (at, last))
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the inclusion proof is too short")
    if not hmac.compare_digest(found, root):
        raise InvalidProof("the inclusion proof leads to another root")


def verify_consistency(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of `new_size` leaves begins with the one of `old_size` leaves.

    The algorithm of RFC 9162 §2.1.4.2. Raises InvalidProof when it does not, or when anything has a
    wrong length or range; equal sizes need equal roots and an empty proof.
    """
    _check_hashes(old_root, new_root, *proof)
    if not 1 <= old_size <= new_size:
        raise InvalidProof(f"a tree of {new_size} cannot extend one of {old_size}")
    if old_size == new_size:
        if proof or not hmac.compare_digest(old_root, new_root):
            raise InvalidProof("two trees of one size differ")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise InvalidProof("the consistency proof is too short")
    at, last = old_size - 1, new_size - 1
    # §2.1.4.2 step 3: up from the old tree's last leaf as long as it is a right child.
    at, last = (each >> _trailing_zeros(old_size) for each in (at, last))
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the consistency proof is too long")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = (each >> _trailing_zeros(at) for each in (at, last))
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the consistency proof is too short")
    if not hmac.compare_digest(old, old_root) or not hmac.compare_digest(new, new_root):
        raise InvalidProof("the consistency proof leads to other roots")


def stored_root(size: int, read: Read) -> bytes:
    """The root of a stored tree's first `size` leaves: at most log2(size) reads."""
    return _range(0, size, read) if size else EMPTY_ROOT


def stored_inclusion(index: int, size: int, read: Read) -> list[bytes]:
    """As `inclusion_proof`, for the first `size` leaves of a stored tree."""
    if not 0 <= index < size:
        raise InvalidProof(f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, read))
            high = middle
        else:
            path.append(_range(low, middle, read))
            low = middle
    return path[::-1]


def stored_consistency(old: int, size: int, read: Read) -> list[bytes]:
    """As `consistency_proof`, for the first `size` leaves of a stored tree."""
    if not 1 <= old <= size:
        raise InvalidProof(f"a tree of {size} cannot extend one of {old}")
    path: list[bytes] = []
    low, high, whole = 0, size, True
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(middle, high, read))
            high = middle
        else:
            path.append(_range(low, middle, read))
            low, whole = middle, False
    if not whole:
        path.append(_range(low, high, read))
    return path[::-1]


class Frontier:
    """A growing tree of which only the peaks are kept: for checking a log of any length.

    `peaks` are the hashes over its complete subtrees, the largest first; one for each 1 bit of
    `size`.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        _check_hashes(*peaks)
        if size < 0 or len(peaks) != size.bit_count():
            raise InvalidProof(f"a tree of {size} does not have {len(peaks)} peaks")
        self.size = size
        self.peaks = list(peaks)

    @classmethod
    def of(cls, size: int, read: Read) -> Frontier:
        """The frontier of a stored tree's first `size` leaves."""
        peaks, low = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(read(level, low >> level))
                low += 1 << level
        return cls(size, peaks)

    def add(self, leaf: bytes) -> None:
        """Add one more leaf, told by its hash."""
        _check_hashes(leaf)
        # Each trailing 1 bit is a peak as high as the subtree that the leaf completes.
        size = self.size
        while size & 1:
            leaf = node_hash(self.peaks.pop(), leaf)
            size >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.peaks:
            return EMPTY_ROOT
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = node_hash(peak, found)
        return found


def _trailing_zeros(number: int) -> int:
    """How many 0 bits a number above 0 ends with."""
    return (number & -number).bit_length() - 1


def _split(size: int) -> int:
    """The largest power of two below `size` (§2.1.1), for sizes above 1."""
    return int(1 << (size - 1).bit_length() - 1)


def _range(low: int, high: int, read: Read) -> bytes:
    """The hash over the leaves low..high-1, a range that some split of the tree gives."""
    size = high - low
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(level, low >> level)
    middle = low + _split(size)
    return node_hash(_range(low, middle, read), _range(middle, high, read))


def _reader(leaf_hashes: Sequence[bytes]) -> Read:
    _check_hashes(*leaf_hashes)

    def read(level: int, number: int) -> bytes:
        row = list(leaf_hashes[number << level : (number + 1) << level])
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        return row[0]

    return read


def _check_hashes(*hashes: bytes) -> None:
    for each in hashes:
        if not isinstance(each, bytes) or len(each) != HASH_SIZE:
            raise InvalidProof("a hash of this tree has 32 bytes")
