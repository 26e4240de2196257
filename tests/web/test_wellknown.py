"""What the log publishes: enough to recompute its root, and nothing about anybody."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import consent, store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.consent.note import Verifier, open_note

ROOT = "/.well-known/consent-log"


@pytest.fixture
def keyring(settings: Settings) -> Keyring:
    """The installation's key."""
    keyring = Keyring.of(settings)
    keyring.create(settings.log_origin)
    return keyring


@pytest.fixture
def grow(engine: Engine, reader: store.Subscription) -> Callable[[int], None]:
    """Make the log this many events long."""

    def to(size: int) -> None:
        with store.transaction(engine) as session:
            so_far = session.get_one(store.Installation, 1).log_size
            subscription = session.get_one(store.Subscription, reader.id)
            subject = consent.Subject.of(subscription)
            evidence = consent.Evidence(actor="subscriber", channel="preferences")
            more = [(subject, evidence)] * (size - so_far)
            if more:
                kind = consent.EventType.PREFERENCES
                consent.record_many(session, kind, more, now=datetime.now(UTC))

    return to


@pytest.fixture
def sign(engine: Engine, keyring: Keyring) -> Callable[[], str | None]:
    """Sign the log as it is."""

    def now() -> str | None:
        with store.transaction(engine) as session:
            return checkpoint.sign(session, keyring, now=datetime.now(UTC))

    return now


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962 §2.1, written down as it stands there."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return node(root_of(hashes[:k]), root_of(hashes[k:]))


def level(client: FlaskClient, size: int, number: int, prefix: str = ROOT) -> list[bytes]:
    """All hashes of a level of tiles for a tree of `size` leaves, as tlog-tiles says to ask."""
    count = size // 256**number
    found: list[bytes] = []
    for index in range((count + 255) // 256):
        width = min(256, count - 256 * index)
        path = f"{prefix}/tile/{number}/{index:03}" + ("" if width == 256 else f".p/{width}")
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert len(answer.data) == 32 * width
        found += [answer.data[at : at + 32] for at in range(0, len(answer.data), 32)]
    return found


def signed(client: FlaskClient) -> tuple[str, int, bytes]:
    """Origin, size and root of the published checkpoint, its signature checked."""
    keys = client.get(f"{ROOT}/key").text.splitlines()
    note = client.get(f"{ROOT}/checkpoint").text
    text = open_note(note, [Verifier.parse(line) for line in keys])
    origin, size, root = text.splitlines()
    return origin, int(size), base64.b64decode(root)


def test_nothing_is_there_before_anything_was_signed(client: FlaskClient) -> None:
    """No key, no checkpoint, no tile: 404, and nothing that a cache would keep."""
    for path in ("key", "checkpoint", "tile/0/000", "tile/0/000.p/1", "2/checkpoint"):
        answer = client.get(f"{ROOT}/{path}")
        assert answer.status_code == 404, path
        assert "immutable" not in answer.headers["Cache-Control"]


@pytest.mark.parametrize("size", [2, 255, 256, 257, 700])
def test_the_root_follows_from_the_tiles(
    client: FlaskClient, grow: Callable[[int], None], sign: Callable[[], str], size: int
) -> None:
    """Whoever reads the leaves' tiles, and nothing else of ours, gets the root that was signed."""
    grow(size)
    sign()
    origin, said, root = signed(client)
    assert (origin, said) == ("news.example.org/consent-log", size)
    leaves = level(client, size, 0)
    assert root_of(leaves) == root
    above = level(client, size, 1)
    assert above == [root_of(leaves[at : at + 256]) for at in range(0, size - 255, 256)]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_three_levels_of_tiles(
    client: FlaskClient, grow: Callable[[int], None], sign: Callable[[], str]
) -> None:
    """The specification's own example, 70,000 leaves: 273 full tiles and so on, up to level 2."""
    grow(70_000)
    sign()
    _origin, size, root = signed(client)
    leaves = level(client, size, 0)
    assert root_of(leaves) == root
    assert client.get(f"{ROOT}/tile/0/273.p/112").status_code == 200
    assert client.get(f"{ROOT}/tile/1/000").data == b"".join(
        root_of(leaves[at : at + 256]) for at in range(0, 65_536, 256)
    )
    assert client.get(f"{ROOT}/tile/1/001.p/17").status_code == 200
    assert client.get(f"{ROOT}/tile/2/000.p/1").data == root_of(leaves[:65_536])


def test_what_lies_there_is_what_the_specification_says(
    client: FlaskClient, grow: Callable[[int], None], sign: Callable[[], str]
) -> None:
    """Types and caching: a checkpoint is asked for anew, a tile never changes."""
    grow(300)
    note = sign()
    for path in ("key", "checkpoint"):
        answer = client.get(f"{ROOT}/{path}")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
    assert client.get(f"{ROOT}/checkpoint").text == note
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"):
        answer = client.get(f"{ROOT}/{path}")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert client.get(f"{ROOT}/1/{path}").data == answer.data


def test_only_what_is_signed_is_published(
    client: FlaskClient, grow: Callable[[int], None], sign: Callable[[], str]
) -> None:
    """A tile that no checkpoint covers is not there yet; an earlier checkpoint's tiles stay."""
    grow(250)
    sign()
    grow(300)
    earlier = client.get(f"{ROOT}/tile/0/000.p/250").data
    for path in ("0/000", "0/000.p/251", "0/001.p/44", "1/000.p/1"):
        assert client.get(f"{ROOT}/tile/{path}").status_code == 404, path
    sign()
    assert client.get(f"{ROOT}/tile/0/000.p/250").data == earlier
    assert client.get(f"{ROOT}/tile/0/000").data[: len(earlier)] == earlier


NO_TILES = (
    *("0/0", "0/00", "00/000", "0/000.p/0", "0/000.p/01", "0/000.p/256", "0/000.p/999"),
    *("0/x000/000", "0/001", "64/000", "-1/000", "0/000/", "0/000.p/1/", "entries/000"),
    *("0/x001/234", "0/" + "x999/" * 40 + "999", "0/٠٠٠", "0/000.p/x", "", "0", "0/../0/000"),
)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_no_tile_is_not_found(
    client: FlaskClient, grow: Callable[[int], None], sign: Callable[[], str]
) -> None:
    """A tile has one spelling; entries are not published; whatever else is asked for is a 404."""
    grow(256)
    sign()
    for wrong in NO_TILES:
        assert client.get(f"{ROOT}/tile/{wrong}").status_code == 404, wrong
    assert client.get(f"{ROOT}/{10**30}/tile/0/000").status_code == 404
    assert client.get(f"{ROOT}/tile/0/000").status_code == 200


def test_nothing_is_told_about_anybody(
    client: FlaskClient,
    engine: Engine,
    grow: Callable[[int], None],
    sign: Callable[[], str],
) -> None:
    """Not one leaf can be found by hashing what is known of a person or of an event."""
    grow(4)
    sign()
    with store.reading(engine) as session:
        entries = list(consent.entries(session))
        bodies = [row.body for row in session.query(store.ConsentEvent)]
    guesses = {
        value.encode() for entry in entries for value in map(str, entry.fields.values())
    } | set(filter(None, bodies))
    published = set(level(client, 4, 0))
    for prefix in (b"", b"\x00", b"\x00consentlog/v1\0"):
        assert not published & {hashlib.sha256(prefix + guess).digest() for guess in guesses}


def test_keys_from_before_a_rotation_are_still_told(
    client: FlaskClient,
    keyring: Keyring,
    grow: Callable[[int], None],
    sign: Callable[[], str],
) -> None:
    """Today's key comes first; what an old one signed still verifies with what is published."""
    grow(5)
    old_note = sign()
    old = client.get(f"{ROOT}/key").text.splitlines()
    fresh = keyring.rotate()
    grow(6)
    new_note = sign()
    keys = client.get(f"{ROOT}/key").text.splitlines()
    assert keys == [fresh.vkey, *old]
    open_note(old_note, [Verifier.parse(keys[1])])
    open_note(new_note, [Verifier.parse(keys[0])])
    assert client.get(f"{ROOT}/checkpoint").text == new_note


def test_a_log_that_a_recovery_began(
    app: Flask,
    client: FlaskClient,
    engine: Engine,
    keyring: Keyring,
    grow: Callable[[int], None],
    sign: Callable[[], str],
) -> None:
    """It has its own origin and its own place; the first log's tiles stay where they are."""
    grow(3)
    first_note = sign()
    first = client.get(f"{ROOT}/tile/0/000.p/3").data
    with store.transaction(engine) as session:
        consent.record_recovery(session, kept=first_note, found=first_note, now=datetime.now(UTC))
    note = sign()
    origin, size, root = signed(client)
    assert (origin, size) == ("news.example.org/consent-log/2", 4)
    assert client.get(f"{ROOT}/2/checkpoint").text == note
    assert client.get(f"{ROOT}/1/checkpoint").text == first_note
    leaves = level(client, 4, 0, f"{ROOT}/2")
    assert root_of(leaves) == root
    assert b"".join(leaves[1:]) == first
    assert client.get(f"{ROOT}/tile/0/000.p/3").data == first
    assert client.get(f"{ROOT}/tile/0/000.p/4").status_code == 404
    assert client.get(f"{ROOT}/3/checkpoint").status_code == 404


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_below_a_path(
    settings: Settings, engine: Engine, keyring: Keyring, grow: Callable[[int], None], sign
) -> None:
    """An installation below a path publishes below it, as its links lie below it."""
    from newsletter.web import create_app

    grow(2)
    sign()
    below = settings.model_copy(update={"base_url": "https://example.org/news"})
    client = create_app(below, engine).test_client()
    assert re.match(r".+\n2\n", client.get(f"/news{ROOT}/checkpoint").text)
