"""TLS to the relay: whose certificates are believed, and the encryption without a socket."""

from __future__ import annotations

import ssl
from typing import Literal

from newsletter.errors import ConfigError

_MOST = 65536


def client_context(
    certificate: Literal["check", "ignore"] = "check", ca_file: str | None = None
) -> ssl.SSLContext:
    """What the settings smtp_certificate and smtp_ca_file ask for; TLS 1.2 at least (RFC 8996).

    certificate: "check" believes only whom an authority vouches for under the relay's name;
    "ignore" believes anybody. ca_file: PEM file of the authorities, None for the system's.

    Raises ConfigError when the file cannot be read as certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            [f"smtp_ca_file: {ca_file} cannot be read as certificates in PEM form: {why}"]
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate == "ignore":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Broken(OSError):
    """The encrypted stream ended, or is none."""


class Tls:
    """One client's side of TLS: what came is put in, what is to be sent is taken out.

    Raises OSError or ValueError from any method when the peer is not believed or not TLS.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.established = False

    def begin(self) -> bytes:
        """The first bytes to send."""
        self._shake_hands()
        return self._outgoing.read()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """What `data` says, and what must be sent for it.

        Raises Broken when the peer ended the encryption.
        """
        self._incoming.write(data)
        said = b""
        if self.established or self._shake_hands():
            said = self._read()
        return said, self._outgoing.read()

    def encrypt(self, words: bytes) -> bytes:
        """`words` as they go over the wire."""
        self._engine.write(words)
        return self._outgoing.read()

    def _shake_hands(self) -> bool:
        try:
            self._engine.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := self._engine.read(_MOST):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        if pieces:
            return b"".join(pieces)  # what was said before the end counts
        raise Broken("the relay ended the encryption")


def handshake_failure(error: Exception) -> tuple[int, bytes] | str:
    """Why no encryption came about: a reply in the relay's name, or a cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"5.7.5 the relay's certificate is not believed: {error.verify_message}"
        return 454, said.encode()
    why = getattr(error, "reason", None) or str(error)
    return f"no encryption came about: {why.replace('_', ' ').lower()}"
