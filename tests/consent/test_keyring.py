"""The key and what lies beside it: private, whole after a crash, and never forgotten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from newsletter.consent import Keyring
from newsletter.consent.note import Signer, open_note
from newsletter.errors import ConfigError, WrongState

ORIGIN = "news.example.org/consent-log"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    found = Keyring(tmp_path / "consent")
    assert found.create(ORIGIN)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once(keyring: Keyring) -> None:
    """Only its owner can read it; making it again changes nothing."""
    before = keyring.signer
    assert mode(keyring.folder) == 0o700
    assert {mode(file) for file in keyring.folder.iterdir()} == {0o600}
    assert not keyring.create("another.example.org/consent-log")
    assert keyring.signer == before
    assert keyring.signer.name == ORIGIN
    assert [keyring.origin(log) for log in (1, 2, 3)] == [ORIGIN, f"{ORIGIN}/2", f"{ORIGIN}/3"]


def test_rotation_keeps_the_old_public_half(keyring: Keyring) -> None:
    """A note that an old key signed can be read for ever; the old private key is gone."""
    notes = []
    for number in range(3):
        notes.append(keyring.signer.sign(f"{number}\n"))
        old = keyring.signer
        new = keyring.rotate()
        assert new == keyring.signer.verifier != old.verifier
        assert old.secret not in (keyring.folder / "key").read_text()
    assert [open_note(note, keyring.verifiers) for note in notes] == ["0\n", "1\n", "2\n"]
    assert keyring.verifiers[-1] == keyring.signer.verifier
    assert len(keyring.verifiers) == 4
    assert {each.name for each in keyring.verifiers} == {ORIGIN}


def test_a_lost_private_key_can_be_replaced(keyring: Keyring) -> None:
    """As long as the public ones are there: what it signed stays good."""
    note = keyring.signer.sign("text\n")
    (keyring.folder / "key").unlink()
    with pytest.raises(ConfigError, match="rotate-key"):
        _ = keyring.signer
    keyring.rotate()
    assert open_note(note, keyring.verifiers) == "text\n"
    assert keyring.signer.name == ORIGIN


def test_a_key_given_by_a_setting(tmp_path: Path) -> None:
    """It is not written down; its public half is, so that the next one does not hide it."""
    first, second = Signer.fresh(ORIGIN), Signer.fresh(ORIGIN)
    keyring = Keyring(tmp_path / "consent", first.secret)
    assert not keyring.create(ORIGIN)
    assert not (tmp_path / "consent" / "key").exists()
    with pytest.raises(WrongState, match="consent_key"):
        keyring.rotate()
    keyring = Keyring(tmp_path / "consent", second.secret)
    keyring.keep_checkpoint(second.sign("text\n"))
    assert keyring.verifiers == [first.verifier, second.verifier]
    for file in keyring.folder.iterdir():
        assert "PRIVATE" not in file.read_text()


def test_the_last_checkpoint_is_kept_as_it_is(keyring: Keyring) -> None:
    """Byte by byte; nothing else is left in the folder."""
    assert keyring.last_checkpoint() is None
    for text in ("one\n", "zwei ü\n"):
        note = keyring.signer.sign(text)
        keyring.keep_checkpoint(note)
        assert keyring.last_checkpoint() == note
    assert {file.name for file in keyring.folder.iterdir()} == {"key", "keys", "checkpoint"}


@pytest.mark.parametrize("name", ["key", "keys", "checkpoint"])
def test_a_damaged_file_is_named(keyring: Keyring, name: str) -> None:
    """With the file, and what is wrong with it, and never its content."""
    (keyring.folder / name).write_bytes(b"PRIVATE+KEY+\xff")
    with pytest.raises(ConfigError, match=name) as error:
        _ = keyring.signer, keyring.verifiers, keyring.last_checkpoint()
    assert "PRIVATE" not in str(error.value)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A setting that is not a key says so, and does not show it."""
    with pytest.raises(ConfigError, match="consent_key") as error:
        _ = Keyring(tmp_path, "hunter2" * 8).signer
    assert "hunter2" not in str(error.value)
