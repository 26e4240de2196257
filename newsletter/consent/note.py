"""Signed notes, as C2SP specifies them: a text, a blank line, and a line for each signature.

Ed25519 only (algorithm 0x01). A key has a name, and an id made of name and key; the public half is
told as a `vkey`: name+id+key. See https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from newsletter.errors import BadNote

_ED25519 = b"\x01"
_DASH = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"
MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Verifier:
    """The public half of a key. `public` is 32 bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as it is told to others: name+id+key."""
        return f"{self.name}+{self.key_id.hex()}+{_encode(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """The key that a vkey tells; raises BadNote when it is not one of Ed25519."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decode(encoded)
        if not _is_name(name) or key[:1] != _ED25519 or len(key) != 33:
            raise BadNote("this is not the vkey of an Ed25519 key")
        verifier = cls(name, key[1:])
        if key_id != verifier.key_id.hex():
            raise BadNote("the vkey's id does not fit its name and key")
        return verifier

    def accepts(self, text: str, signature: bytes) -> bool:
        """Whether this key signed `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A whole key. `seed` is 32 secret bytes; it stands in no repr."""

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"

    @classmethod
    def fresh(cls, name: str) -> Signer:
        """A new key called `name`; raises BadNote for a name that a note cannot hold."""
        if not _is_name(name):
            raise BadNote(f"a key cannot be called {name!r}")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self._key().public_key().public_bytes_raw())

    @property
    def secret(self) -> str:
        """The key as one line, to be kept in a file that nobody else can read."""
        key_id = self.verifier.key_id.hex()
        return f"{_PRIVATE}{self.name}+{key_id}+{_encode(_ED25519 + self.seed)}"

    @classmethod
    def parse(cls, secret: str) -> Signer:
        """The key that such a line holds; raises BadNote when it is none."""
        name, _, rest = secret.strip().removeprefix(_PRIVATE).partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decode(encoded)
        if not secret.startswith(_PRIVATE) or key[:1] != _ED25519 or len(key) != 33:
            raise BadNote("this is not a private key of a signed note")
        signer = cls(name, key[1:])
        if key_id != signer.verifier.key_id.hex():
            raise BadNote("the private key's id does not fit its name and key")
        return signer

    def sign(self, text: str) -> str:
        """The note over `text`, which ends with a line break and has no other control character."""
        _check_text(text)
        signature = self._key().sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {_encode(self.verifier.key_id + signature)}\n"

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def open_note(note: str, verifiers: Iterable[Verifier]) -> str:
    """The text of a note that at least one of these keys signed.

    Signatures of other keys are passed over; one that bears a known key and is wrong spoils the
    note. Raises BadNote with what is wrong.
    """
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise BadNote("the note is not complete")
    text += "\n"
    _check_text(text)
    known = {(each.name, each.key_id): each for each in verifiers}
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise BadNote("the note has too many signatures")
    is_signed = False
    for line in signatures:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        signature = _decode(encoded)
        if not line.startswith(_DASH) or not _is_name(name) or len(signature) < 5:
            raise BadNote("a signature line of the note cannot be read")
        verifier = known.get((name, signature[:4]))
        if verifier is None:
            continue
        if not verifier.accepts(text, signature[4:]):
            raise BadNote(f"the signature of {name} does not fit the note")
        is_signed = True
    if not is_signed:
        raise BadNote("none of the known keys signed the note")
    return text


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise BadNote("the text of a note ends with a line break and has no control character")


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("a part of the note is not base64") from error
    # One spelling for one value: the last character could hide bits otherwise.
    if base64.b64encode(data).decode() != text:
        raise BadNote("a part of the note is not base64")
    return data
