"""Signed notes: the published example, the way there and back, and nothing that is nearly one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.consent.note import MAX_SIGNATURES, Signer, Verifier, open_note
from newsletter.errors import BadNote, NewsletterError

# The example of Go's golang.org/x/mod/sumdb/note, the format that C2SP signed-note describes.
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NAME = "news.example.org/consent-log"
SIGNER = Signer("news.example.org/consent-log", bytes(range(32)))

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=200).map(
    lambda text: text + "\n"
)


def test_the_published_example() -> None:
    """The private key gives the published public one and, byte by byte, the published note."""
    signer = Signer.parse(SECRET)
    assert signer.verifier.vkey == VKEY
    assert signer.sign(TEXT) == NOTE
    assert open_note(NOTE, [Verifier.parse(VKEY)]) == TEXT


@given(texts)
def test_there_and_back(text: str) -> None:
    """Whatever the text: what was signed is what is read, empty lines and all."""
    assert open_note(SIGNER.sign(text), [SIGNER.verifier]) == text


def test_keys_there_and_back() -> None:
    """A key survives being written down; the secret half shows in no repr."""
    fresh = Signer.fresh(NAME)
    assert Signer.parse(fresh.secret) == fresh
    assert Verifier.parse(fresh.verifier.vkey) == fresh.verifier
    assert fresh != Signer.fresh(NAME)
    assert repr(fresh) == f"Signer({NAME!r})"


def test_every_changed_byte_fails() -> None:
    """Each byte of the note, each of its bits: text, key name, key id, signature, line breaks."""
    note = SIGNER.sign(Checkpoint(NAME, 7, bytes(32)).text).encode()
    for index in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[index] ^= 1 << bit
            try:
                text = changed.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(BadNote):
                open_note(text, [SIGNER.verifier])


def test_every_missing_and_added_byte_fails() -> None:
    """A note that was cut or stretched anywhere is none."""
    note = SIGNER.sign("one\n\ntwo\n")
    for index in range(len(note)):
        for changed in (note[:index] + note[index + 1 :], f"{note[:index]}x{note[index:]}"):
            with pytest.raises(BadNote):
                open_note(changed, [SIGNER.verifier])
    for end in (" ", "\n", "\n\n", "\r\n", "x\n"):
        with pytest.raises(BadNote):
            open_note(note + end, [SIGNER.verifier])


def test_every_changed_character_of_a_key_fails() -> None:
    """A vkey that was mistyped is told, not used."""
    for parse, line in ((Verifier.parse, VKEY), (Signer.parse, SECRET)):
        for index in range(len(line)):
            with pytest.raises(BadNote):
                parse(f"{line[:index]}{'A' if line[index] != 'A' else 'B'}{line[index + 1 :]}")
            with pytest.raises(BadNote):
                parse(line[:index])


def test_signatures_of_others_are_passed_over() -> None:
    """An unknown key's line says nothing; one of our name with another key is unknown too."""
    other, namesake = Signer.fresh("witness.example.net"), Signer.fresh(NAME)
    text = "text\n"
    lines = "".join(each.sign(text).removeprefix("text\n\n") for each in (other, SIGNER, namesake))
    note = f"{text}\n{lines}"
    for each in (other, SIGNER, namesake):
        assert open_note(note, [each.verifier]) == text
    with pytest.raises(BadNote, match="none of the known keys"):
        open_note(note, [Signer.fresh(NAME).verifier])
    with pytest.raises(BadNote, match="none of the known keys"):
        open_note(note, [])


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    """Even beside a good one of another known key."""
    other = Signer.fresh("witness.example.net")
    wrong = other.sign("other text\n").removeprefix("other text\n\n")
    note = SIGNER.sign("text\n") + wrong
    assert open_note(note, [SIGNER.verifier]) == "text\n"
    with pytest.raises(BadNote, match="witness"):
        open_note(note, [SIGNER.verifier, other.verifier])


def test_sixteen_signatures_are_read() -> None:
    """C2SP asks for sixteen at least; more are not looked at."""
    line = SIGNER.sign("text\n").removeprefix("text\n\n")
    assert open_note("text\n\n" + line * MAX_SIGNATURES, [SIGNER.verifier]) == "text\n"
    with pytest.raises(BadNote, match="too many"):
        open_note("text\n\n" + line * (MAX_SIGNATURES + 1), [SIGNER.verifier])


@pytest.mark.parametrize("text", ["", "no end", "tab\t\n", "return\r\n", "nul\0\n", "escape\x1b\n"])
def test_texts_that_are_not_signed(text: str) -> None:
    """No control characters, and a line break at the end."""
    with pytest.raises(BadNote):
        SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b"])
def test_names_that_no_key_has(name: str) -> None:
    """No space of any kind, no plus, not empty."""
    with pytest.raises(BadNote):
        Signer.fresh(name)


def test_a_base64_text_has_one_spelling() -> None:
    """Bits behind the last byte could be changed otherwise, and nobody would notice."""
    line = SIGNER.sign("text\n")
    assert line.endswith("=\n")
    twin = line[:-3] + chr(ord(line[-3]) + 1) + "=\n"
    with pytest.raises(BadNote, match="base64"):
        open_note(twin, [SIGNER.verifier])


def test_a_checkpoint_there_and_back() -> None:
    """Origin, size and root, in the lines that C2SP tlog-checkpoint says."""
    root = bytes(range(32))
    found = Checkpoint(NAME, 20852163, root)
    assert found.text == f"{NAME}\n20852163\n{base64.b64encode(root).decode()}\n"
    assert Checkpoint.parse(found.text) == found
    assert Checkpoint.parse(found.text + "an extension\n") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n1\n{root}\n",
        "{name}\n-1\n{root}\n",
        "{name}\n01\n{root}\n",
        "{name}\n1 \n{root}\n",
        "{name}\n١\n{root}\n",
        "{name}\n\n{root}\n",
        "{name}\n1\n{root}",
        "{name}\n1\n{short}\n",
        "{name}\n1\n \n",
        "{name}\n1\n",
        "{name}\n1\nnothing\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    """A size is written in one way, a root has 32 bytes."""
    root, short = (base64.b64encode(bytes(size)).decode() for size in (32, 31))
    with pytest.raises(BadNote):
        Checkpoint.parse(text.format(name=NAME, root=root, short=short))


def test_a_bad_note_is_told_to_people() -> None:
    """It is one of the errors that the edges show."""
    assert issubclass(BadNote, NewsletterError)
