"""DKIM signatures (RFC 6376) for any mail, with all keys that belong to its From address.

The relaxed forms of headers and body are signed, so that what relays do to blanks and folding
does not matter. The fields that readers see and act upon are sealed: they are named once more
than they are there, so that none can be added without breaking the signature (§8.15). The same
mail, keys and time give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from email.utils import parseaddr
from functools import lru_cache
from typing import Literal

from newsletter.errors import BadInput
from newsletter.mail.dkim_key import Key

# "any": whatever a mail can hold. "relaxed": the caller promises that relaxed_body(body) == body,
# as newsletter.mail.message builds it; to find that out costs more than to hash it.
Bodies = Literal["any", "relaxed"]

# Sealed also when the mail has none of them: what somebody who sends it on to others would add.
_SEALED = (b"from", b"to", b"cc", b"reply-to", b"subject")
# Sealed when they are there.
_SEALED_THERE = (
    b"sender", b"date", b"message-id", b"mime-version", b"content-type",
    b"content-transfer-encoding", b"list-id", b"list-unsubscribe", b"list-unsubscribe-post",
)  # fmt: skip
# Signed as often as they are there: relays add a Feedback-ID of their own. What speaks to the
# relay, such as an idempotency header, is not signed: the relay may take it away.
_SIGNED = (
    b"feedback-id", b"auto-submitted", b"content-language", b"consent-log-checkpoint",
    b"in-reply-to", b"references", b"list-help", b"list-subscribe", b"list-post", b"list-owner",
    b"list-archive",
)  # fmt: skip
# For each name: how often it is named beyond what is there, without one and with one.
_RULES = (
    *((name, 1, 1) for name in _SEALED),
    *((name, 0, 1) for name in _SEALED_THERE),
    *((name, 0, 0) for name in _SIGNED),
)

_BLANKS = re.compile(rb"[ \t]+")
_NAME = b"DKIM-Signature: "
_LINE = 76
_PIECE = _LINE - 4  # of the signature, on a line that begins with " b="


class Signer:
    """Signs with `keys`; bodies: what the mails' bodies may be. For several threads at once."""

    def __init__(self, keys: Sequence[Key], *, bodies: Bodies = "any") -> None:
        self.keys = tuple(keys)
        self.bodies = bodies
        self._keys_for = lru_cache(maxsize=256)(self._find_keys)

    def keys_for(self, domain: str) -> tuple[Key, ...]:
        """The keys that sign mail From this domain: its own, and those of the domains above it.

        Such signatures are aligned for DMARC in its relaxed mode (RFC 9989).
        """
        return self._keys_for(domain.lower())

    def headers(self, raw: bytes, *, at: datetime) -> bytes:
        """The DKIM-Signature fields to put before a mail: one for each key of its From domain.

        raw: the mail with CRLF line ends, as before dot-stuffing. at: aware; the time that the
        signatures say they were made.

        Returns b"" when no key belongs to the domain. Raises BadInput when the mail has no From
        field, or several: it could be read as somebody else's.
        """
        return self.fields(raw, int(at.timestamp()))

    def fields(self, raw: bytes, time: int) -> bytes:
        """As `headers`, with the time in seconds since 1970."""
        end = raw.find(b"\r\n\r\n")
        head, start = (raw, len(raw)) if end < 0 else (raw[:end], end + 4)
        # §2.8 has only blanks and tabs in folds.
        unfolded = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
        fields = [_relaxed(line) for line in unfolded.split(b"\r\n")]
        sender, order, h = _plan(tuple([name for name, _ in fields]))
        keys = self._keys_for(_domain_of(fields[sender][1]))
        if not keys:
            return b""
        body = b64encode(self._body_hash(raw, start))
        signed = hashlib.sha256(b"".join([fields[number][1] for number in order]))
        return b"".join([_field(key, signed.copy(), h, body, time) for key in keys])

    def _body_hash(self, raw: bytes, start: int) -> bytes:
        if _is_relaxed(raw, start, look_inside=self.bodies == "any"):
            return hashlib.sha256(memoryview(raw)[start:]).digest()
        return hashlib.sha256(relaxed_body(raw[start:])).digest()

    def _find_keys(self, domain: str) -> tuple[Key, ...]:
        return tuple(k for k in self.keys if f".{domain}".endswith(f".{k.domain}"))


def relaxed_body(body: bytes) -> bytes:
    """The form of a body that is signed (RFC 6376 §3.4.4).

    A last line without its end gets one, as it will have on the wire.
    """
    text = body if body.endswith(b"\r\n") else body + b"\r\n"
    text = _BLANKS.sub(b" ", text).replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def _is_relaxed(raw: bytes, start: int, *, look_inside: bool) -> bool:
    """Whether what begins at `start` is its own relaxed form; may say no where it is."""
    # An empty body ends like that too: with the blank line above it.
    ends = raw.endswith(b"\r\n") and not raw.endswith(b"\r\n\r\n")
    if not ends or not look_inside:
        return ends
    return all(raw.find(blanks, start) < 0 for blanks in (b"\t", b"  ", b" \r\n"))


@lru_cache(maxsize=1024)  # most fields of a digest's mails are the same in all of them
def _relaxed(line: bytes) -> tuple[bytes, bytes]:
    """A field's name in lower case, and its line as it is signed (§3.4.2); `line` is unfolded."""
    name, _, value = line.partition(b":")
    name = name.rstrip(b" \t").lower()
    return name, b"%b:%b\r\n" % (name, _BLANKS.sub(b" ", value).strip(b" "))


@lru_cache(maxsize=256)
def _plan(names: tuple[bytes, ...]) -> tuple[int, tuple[int, ...], bytes]:
    """What to sign in a mail with fields of these names, from above.

    Returns where the From field is, which fields are signed in which order, and the tag h=.
    Raises BadInput when there is not one From field.
    """
    if names.count(b"from") != 1:
        raise BadInput("A mail is signed with one From field, no less and no more.", "From")
    order: list[int] = []
    listed: list[bytes] = []
    for name, without, with_one in _RULES:
        # §5.4.2: of several, the lowest counts first.
        found = [number for number in reversed(range(len(names))) if names[number] == name]
        order += found
        listed += [name] * (len(found) + (with_one if found else without))
    return names.index(b"from"), tuple(order), _folded(listed)


@lru_cache(maxsize=256)
def _domain_of(sender: bytes) -> str:
    """The domain of a From field, in ASCII and lower case; "" when there is none."""
    address = parseaddr(sender.removeprefix(b"from:").strip().decode(errors="replace"))[1]
    domain = address.rpartition("@")[2].lower()
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return ""


def _folded(names: Sequence[bytes]) -> bytes:
    """The tag h=, on lines that end behind a colon."""
    lines, line = [], b" h="
    for name in names:
        if len(line) + len(name) >= _LINE:
            lines.append(line)
            line = b" "
        line += name + b":"
    return b"\r\n".join((*lines, line[:-1] + b";"))


def _field(key: Key, signed: hashlib._Hash, h: bytes, body: bytes, time: int) -> bytes:
    """One signature over the headers in `signed` and itself, as a whole field."""
    value = (
        b"v=1; a=%b-sha256; c=relaxed/relaxed;\r\n d=%b; s=%b;\r\n t=%d; bh=%b;\r\n%b\r\n b="
        % (
            key.algorithm.encode(),
            key.domain.encode(),
            key.selector.encode(),
            time,
            body,
            h,
        )
    )
    # §3.7: last and without its line end, the tag b= still empty. No blanks but one at each fold.
    signed.update(b"dkim-signature:" + value.replace(b"\r\n", b""))
    text = b64encode(key.sign(signed.digest()))
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return b"".join((_NAME, value, b"\r\n ".join(pieces), b"\r\n"))
