"""The tree: the published vectors, every small tree, and nothing that is nearly a proof."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.consent import merkle
from newsletter.errors import InvalidProof, NewsletterError

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"
CORPUS = Path(os.environ.get("CORPORA", CORPORA)) / "merkle"
LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(70)]
OTHER = hashlib.sha256(b"other").digest()

# The eight leaves of Certificate Transparency's own tests, and the roots after each of them.
PUBLISHED_LEAVES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
PUBLISHED_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word for word: slow, and independent of the code under test."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


ROOTS = [defined_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def vectors(kind: str) -> list[Path]:
    files = sorted((CORPUS / kind).rglob("*.json"))
    if not files:
        pytest.skip(f"the {kind} vectors are not there: {CORPUS / kind} has no .json file")
    return files


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def is_valid(check, *arguments) -> bool:
    try:
        assert check(*arguments) is None
    except InvalidProof:
        return False
    return True


def test_the_published_inclusion_vectors():
    """Each is accepted or rejected as it says."""
    for file in vectors("inclusion"):
        case = json.loads(file.read_bytes())
        accepted = is_valid(
            merkle.verify_inclusion,
            decoded(case["leafHash"]),
            case["leafIdx"],
            case["treeSize"],
            [decoded(each) for each in case["proof"] or []],
            decoded(case["root"]),
        )
        assert accepted is not case["wantErr"], file


def test_the_published_consistency_vectors():
    """Each is accepted or rejected as it says."""
    for file in vectors("consistency"):
        case = json.loads(file.read_bytes())
        accepted = is_valid(
            merkle.verify_consistency,
            case["size1"],
            case["size2"],
            [decoded(each) for each in case["proof"] or []],
            decoded(case["root1"]),
            decoded(case["root2"]),
        )
        assert accepted is not case["wantErr"], file


def test_the_published_roots():
    """The roots of Certificate Transparency's own eight leaves, one after the other."""
    leaves = [merkle.leaf_hash(bytes.fromhex(each)) for each in PUBLISHED_LEAVES]
    for size, root in enumerate(PUBLISHED_ROOTS, 1):
        assert merkle.root(leaves[:size]).hex() == root
    assert merkle.root([]) == hashlib.sha256().digest()


def test_a_leaf_is_no_node():
    """Leaves and nodes are hashed apart: the hash over two children is not that of a leaf."""
    pair = LEAVES[0] + LEAVES[1]
    assert merkle.leaf_hash(pair) == hashlib.sha256(b"\x00" + pair).digest()
    assert merkle.root(LEAVES[:2]) == hashlib.sha256(b"\x01" + pair).digest()


@pytest.mark.parametrize("size", range(1, 35))
def test_every_leaf_of_every_small_tree(size):
    """The proof of each leaf holds for it, and for no other leaf, place or root."""
    leaves, root = LEAVES[:size], ROOTS[size]
    assert merkle.root(leaves) == root
    for index in range(size):
        proof = merkle.inclusion_proof(index, leaves)
        assert merkle.verify_inclusion(leaves[index], index, size, proof, root) is None
        for other in range(size):
            if other != index:
                wrong_place = (leaves[index], other, size, proof, root)
                wrong_leaf = (leaves[other], index, size, proof, root)
                assert not is_valid(merkle.verify_inclusion, *wrong_place)
                assert not is_valid(merkle.verify_inclusion, *wrong_leaf)
        assert not is_valid(merkle.verify_inclusion, leaves[index], index, size, proof, OTHER)


@pytest.mark.parametrize("size", range(1, 67))
def test_every_small_tree_begins_with_each_smaller_one(size):
    """The proof holds between these two trees, and with no other older tree."""
    leaves, root = LEAVES[:size], ROOTS[size]
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(old, leaves)
        assert merkle.verify_consistency(old, size, proof, ROOTS[old], root) is None
        for wrong in (OTHER, ROOTS[old - 1]):
            assert not is_valid(merkle.verify_consistency, old, size, proof, wrong, root)
        assert not is_valid(merkle.verify_consistency, old, size, proof, ROOTS[old], OTHER)
        if old < size:
            swapped = (size, old, proof, root, ROOTS[old])
            assert not is_valid(merkle.verify_consistency, *swapped)


@given(st.data())
def test_no_changed_proof_of_a_leaf_holds(data):
    """A bit changed, a hash left out, added, repeated or moved: never a proof."""
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, LEAVES[:size])
    leaf, root, changed = LEAVES[index], ROOTS[size], data.draw(mutations(proof))
    assert changed == proof or not is_valid(
        merkle.verify_inclusion, leaf, index, size, changed, root
    )
    for values in ((flipped(data, leaf), root), (leaf, flipped(data, root))):
        assert not is_valid(merkle.verify_inclusion, values[0], index, size, proof, values[1])


@given(st.data())
def test_no_changed_proof_of_consistency_holds(data):
    """A bit changed, a hash left out, added, repeated or moved: never a proof."""
    size = data.draw(st.integers(1, len(LEAVES)))
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, LEAVES[:size])
    changed = data.draw(mutations(proof))
    assert changed == proof or not is_valid(
        merkle.verify_consistency, old, size, changed, ROOTS[old], ROOTS[size]
    )
    for roots in (
        (flipped(data, ROOTS[old]), ROOTS[size]),
        (ROOTS[old], flipped(data, ROOTS[size])),
    ):
        assert not is_valid(merkle.verify_consistency, old, size, proof, *roots)


@given(st.data())
def test_a_changed_leaf_changes_the_root(data):
    """Whatever is changed, left out, added or swapped among the leaves."""
    leaves = data.draw(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=20))
    changed = data.draw(mutations(leaves).filter(lambda each: all(len(one) == 32 for one in each)))
    assert (merkle.root(changed) == merkle.root(leaves)) == (changed == leaves)


@pytest.mark.parametrize("wrong", [b"", b"x" * 31, b"x" * 33, "x" * 32, None, bytearray(32)])
def test_a_hash_has_32_bytes(wrong):
    """Anything else is refused, wherever a hash is expected."""
    proof = merkle.inclusion_proof(1, LEAVES[:5])
    path = merkle.consistency_proof(3, LEAVES[:5])
    for call in (
        lambda: merkle.root([LEAVES[0], wrong]),
        lambda: merkle.inclusion_proof(0, [LEAVES[0], wrong]),
        lambda: merkle.consistency_proof(1, [LEAVES[0], wrong]),
        lambda: merkle.verify_inclusion(wrong, 1, 5, proof, ROOTS[5]),
        lambda: merkle.verify_inclusion(LEAVES[1], 1, 5, proof, wrong),
        lambda: merkle.verify_inclusion(LEAVES[1], 1, 5, [*proof[:-1], wrong], ROOTS[5]),
        lambda: merkle.verify_consistency(3, 5, path, wrong, ROOTS[5]),
        lambda: merkle.verify_consistency(3, 5, path, ROOTS[3], wrong),
        lambda: merkle.verify_consistency(3, 5, [wrong, *path[1:]], ROOTS[3], ROOTS[5]),
    ):
        with pytest.raises(InvalidProof):
            call()


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (6, 5), (0, -1), (1, 0)])
def test_a_leaf_outside_of_the_tree(index, size):
    """There is no proof of it, and none is accepted."""
    for proof in ([], merkle.inclusion_proof(1, LEAVES[:5])):
        with pytest.raises(InvalidProof):
            merkle.verify_inclusion(LEAVES[1], index, size, proof, ROOTS[5])
    with pytest.raises(InvalidProof):
        merkle.inclusion_proof(index, LEAVES[: max(size, 0)])


@pytest.mark.parametrize(("old", "size"), [(0, 5), (-1, 5), (6, 5), (0, 0), (5, -1)])
def test_sizes_out_of_order(old, size):
    """An older tree has at least one leaf and at most as many as the newer."""
    for proof in ([], merkle.consistency_proof(3, LEAVES[:5])):
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(old, size, proof, ROOTS[3], ROOTS[5])
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(old, size, proof, merkle.EMPTY_ROOT, ROOTS[5])
    with pytest.raises(InvalidProof):
        merkle.consistency_proof(old, LEAVES[: max(size, 0)])


def test_equal_trees():
    """Of one size: the roots are equal and the proof is empty, and nothing else will do."""
    assert merkle.consistency_proof(5, LEAVES[:5]) == []
    assert merkle.verify_consistency(5, 5, [], ROOTS[5], ROOTS[5]) is None
    for proof, old_root in (([], ROOTS[4]), ([ROOTS[5]], ROOTS[5]), ([OTHER], ROOTS[5])):
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(5, 5, proof, old_root, ROOTS[5])


def test_a_stored_tree_gives_the_same():
    """Root and proofs from hashes that are read one by one, only whole subtrees among them."""
    for size in (1, 2, 3, 7, 8, 33, 70):
        leaves = LEAVES[:size]

        def read(level: int, number: int, leaves: list[bytes] = leaves) -> bytes:
            below = leaves[number << level : (number + 1) << level]
            assert len(below) == 1 << level
            return defined_root(below)

        assert merkle.stored_root(size, read) == ROOTS[size]
        for index in range(size):
            proof = merkle.inclusion_proof(index, leaves)
            assert merkle.stored_inclusion(index, size, read) == proof
            consistency = merkle.consistency_proof(index + 1, leaves)
            assert merkle.stored_consistency(index + 1, size, read) == consistency


def test_an_invalid_proof_is_an_error_of_ours():
    """It reaches a person as a sentence, not as a traceback."""
    assert issubclass(InvalidProof, NewsletterError)


def flipped(data, value: bytes) -> bytes:
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def mutations(draw, hashes: list[bytes]) -> list[bytes]:
    """The hashes with one thing done to them; possibly the same, where two of them are equal."""
    changed = list(hashes)
    extra = draw(st.sampled_from([OTHER, LEAVES[0], *hashes]))
    if not hashes or draw(st.booleans()):
        changed.insert(draw(st.integers(0, len(hashes))), extra)
        return changed
    at, other = (draw(st.integers(0, len(hashes) - 1)) for _ in range(2))
    match draw(st.sampled_from(["bit", "drop", "swap", "cut", "replace"])):
        case "bit":
            bit = draw(st.integers(0, 255))
            value = int.from_bytes(changed[at]) ^ (1 << bit)
            changed[at] = value.to_bytes(32)
        case "drop":
            del changed[at]
        case "swap":
            changed[at], changed[other] = changed[other], changed[at]
        case "cut":
            changed[at] = changed[at][: draw(st.integers(0, 31))]
        case "replace":
            changed[at] = extra
    return changed
