"""DKIM keys: each a private key with the name in the DNS under which its public half is found.

A key lies in a file of the folder `dkim_folder`, called after that name, that only its owner can
read. It is written once and never over another one: a lost private key means a new selector, a
replaced one means signatures that nobody can verify.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from newsletter.errors import BadInput, ConfigError, WrongState

if TYPE_CHECKING:
    from newsletter.config import Settings

Algorithm = Literal["rsa", "ed25519"]

_BELOW = "._domainkey."
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOTTED = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253  # RFC 1035 §2.3.4: 255 octets, two of them the first length and the root
_STRING = 255  # RFC 1035 §3.3.14: a TXT record is strings of at most 255 octets
_SMALLEST_RSA = 1024  # RFC 8301 §3.2: a verifier takes a smaller one for no signature
_MAX_FILE = 100_000
_NOBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO
_PADDING, _HASHED = padding.PKCS1v15(), utils.Prehashed(SHA256())


@dataclass(frozen=True)
class Key:
    """A private key, and the `domain` and `selector` that say where its public half is."""

    domain: str
    selector: str
    private_key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @classmethod
    def fresh(cls, selector: str, domain: str, algorithm: Algorithm, bits: int = 2048) -> Key:
        """A new key. bits: the size of an RSA key; RFC 8301 §3.2: 1024 to 4096, better 2048.

        Raises BadInput, with its field, when the selector or the domain is not usable.
        """
        selector, domain = _ascii("selector", selector), _ascii("domain", domain)
        if len(f"{selector}{_BELOW}{domain}") > _MAX_NAME:
            raise BadInput("The name of the key's record would be too long.", "selector")
        if algorithm == "ed25519":
            return cls(domain, selector, ed25519.Ed25519PrivateKey.generate())
        return cls(domain, selector, rsa.generate_private_key(65537, bits))

    @classmethod
    def parse(cls, name: str, pem: bytes) -> Key:
        """The key called `name` in a PEM file without a password.

        Raises BadInput when it is no key that DKIM knows.
        """
        selector, domain = split_name(name)
        try:
            found = serialization.load_pem_private_key(pem, password=None)
        except TypeError as error:
            raise BadInput("it is locked with a password, which nobody could type in") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadInput("it is no private key in PEM form") from error
        if isinstance(found, rsa.RSAPrivateKey):
            if found.key_size < _SMALLEST_RSA:
                raise BadInput(f"an RSA key of {found.key_size} bits counts nothing (RFC 8301)")
        elif not isinstance(found, ed25519.Ed25519PrivateKey):
            raise BadInput("DKIM has RSA and Ed25519 keys only")
        return cls(domain, selector, found)

    @property
    def name(self) -> str:
        """Where the public half is found: `s1._domainkey.example.org` (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}{_BELOW}{self.domain}"

    @property
    def algorithm(self) -> Algorithm:
        """The kind of the key, as the record's tag k= names it."""
        return "rsa" if isinstance(self.private_key, rsa.RSAPrivateKey) else "ed25519"

    @property
    def bits(self) -> int:
        """The size of the key."""
        private = self.private_key
        return private.key_size if isinstance(private, rsa.RSAPrivateKey) else 256

    @property
    def pem(self) -> bytes:
        """The private key as PEM, PKCS #8, without a password."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @cached_property
    def record(self) -> str:
        """The TXT record for the DNS (RFC 6376 §3.6.1, RFC 8463 §4.2)."""
        public = self.private_key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            data = public.public_bytes(serialization.Encoding.DER, form)
        else:
            data = public.public_bytes_raw()
        return f"v=DKIM1; k={self.algorithm}; p={b64encode(data).decode()}"

    @property
    def strings(self) -> list[str]:
        """The record in strings of at most 255 bytes; whoever reads it joins them."""
        text = self.record
        return [text[at : at + _STRING] for at in range(0, len(text), _STRING)]

    @property
    def zone_line(self) -> str:
        """The record as a line of a zone file."""
        return f"{self.name}. IN TXT ( " + " ".join(f'"{each}"' for each in self.strings) + " )"

    def sign(self, digest: bytes) -> bytes:
        """The signature over a SHA-256 digest; the same one each time.

        RFC 6376 §3.3.1 (RSASSA-PKCS1-v1_5), RFC 8463 §3 (PureEdDSA over the digest).
        """
        private = self.private_key
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(digest, _PADDING, _HASHED)
        return private.sign(digest)

    def save(self, folder: Path) -> Path:
        """Write the key to its file in `folder`, which is made when missing; returns the file.

        A power cut leaves no file or the whole one, on the disk when this returns. Raises
        WrongState when there is such a file, which stays as it is.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = file_of(folder, self.name)
        draft = folder / f".{secrets.token_hex(8)}"
        number = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(number, "wb") as opened:
                opened.write(self.pem)
                opened.flush()
                os.fsync(number)
            # A link, as a rename would put it over a file that is there.
            os.link(draft, file)
        except FileExistsError as error:
            raise WrongState(
                f"{file} exists; nothing was changed. Choose another selector, as the DNS may "
                "still have the old one's record in many places."
            ) from error
        finally:
            draft.unlink(missing_ok=True)
        _flush(folder)
        return file


def split_name(name: str) -> tuple[str, str]:
    """The selector and the domain of `s1._domainkey.example.org`; raises BadInput."""
    selector, below, domain = name.lower().partition(_BELOW)
    usable = _DOTTED.fullmatch(selector) and _DOTTED.fullmatch(domain) and len(name) <= _MAX_NAME
    if not below or not usable:
        raise BadInput(f"{name!r} is no name of a key, such as s1{_BELOW}example.org", "name")
    return selector, domain


def file_of(folder: Path, name: str) -> Path:
    """Where the key of this name lies."""
    return folder / f"{name}.pem"


def names_in(folder: Path) -> list[str]:
    """The names of the keys whose files are in `folder`, sorted."""
    return sorted(file.stem for file in folder.glob(f"*{_BELOW}*.pem"))


def read(folder: Path, name: str) -> Key:
    """The key of this name in `folder`.

    Raises ConfigError with the cure when the file is missing, open to others, or holds no key.
    """
    try:
        selector, domain = split_name(name)
    except BadInput as error:
        raise ConfigError([f"dkim_keys: {error}"]) from error
    file = file_of(folder, f"{selector}{_BELOW}{domain}")
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            pem = opened.read(_MAX_FILE)
        if mode & _NOBODY_ELSE:
            raise ConfigError([f"{file}: others can use this private key: chmod 600 {file}"])
        return Key.parse(name, pem)
    except FileNotFoundError as error:
        raise ConfigError(
            [
                f"dkim_keys: there is no key at {file}. Put it back from its backup, or make one "
                f"with: newsletter dkim new {selector} --domain {domain}"
            ]
        ) from error
    except (OSError, BadInput) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError([f"{file}: the DKIM key cannot be read: {cause}"]) from error


def active(settings: Settings) -> list[Key]:
    """The keys that the settings name, in that order.

    Raises ConfigError with the faults of all of them.
    """
    keys, faults = [], []
    for name in dict.fromkeys(each.lower() for each in settings.dkim_keys):
        try:
            keys.append(read(Path(settings.dkim_folder), name))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return keys


def _ascii(field: str, text: str) -> str:
    """A selector or domain as it stands in the DNS: lower case, A-labels."""
    found = text.strip().rstrip(".").lower()
    if not found.isascii():
        found = _a_labels(field, found)
    if not _DOTTED.fullmatch(found):
        raise BadInput(f"{text!r} is no {field} that the DNS can hold.", field)
    return found


def _a_labels(field: str, text: str) -> str:
    try:
        return text.encode("idna").decode()
    except UnicodeError as error:
        raise BadInput(f"{text!r} is no {field} that the DNS can hold.", field) from error


def _flush(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
