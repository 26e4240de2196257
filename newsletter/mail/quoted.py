"""Quoted-printable text (RFC 2045 §6.7) that is made of pieces, each encoded by itself.

A letter is one text for all its readers but for a few values. What a piece looks like on the wire
does not depend on its neighbours: a value stands on lines of its own, between soft line breaks,
so that the rest can be encoded once for a million readers.

The form is one that nothing on the way has a reason to change: lines of at most 76 bytes; no dot
and no "From " at the start of a line (RFC 5321 §4.5.2, RFC 2049 §3); no TAB, no blank at the end
of a line and no two in a row, so that DKIM's relaxed body (RFC 6376 §3.4.4) is the body itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Static text and values in turns; it begins and ends with static text, which may be empty.
Pieces = Sequence[str]

SOFT = b"=\r\n"
_ROOM = 75  # with the "=" of a soft line break: 76, RFC 2045 §6.7 (5)

_ESCAPES = {bytes([byte]): b"=%02X" % byte for byte in range(256)}
_UNSAFE = re.compile(rb"[^ -<>-~\n]")
_UNSAFE_IN_VALUE = re.compile(rb"[^ -<>-~]")
# Never in a body: C0 and DEL, but for what is a blank or ends a line.
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n"))
# As much as a line holds, with no escape cut in two; what must be escaped at its start needs two
# bytes more.
_CHUNK = re.compile(
    rb"(?:\.|F(?=rom )).{0,%d}(?<!=)(?<!=.)|.{1,%d}(?<!=)(?<!=.)" % (_ROOM - 3, _ROOM)
)


def body(pieces: Pieces) -> bytes:
    """A whole part of a mail: CRLF line ends, ending in exactly one.

    Control characters are dropped, and halves of surrogate pairs, which no charset can hold.
    """
    *some, end = pieces
    encoded = [value(text) if place % 2 else static(text) for place, text in enumerate(some)]
    return b"".join((*encoded, last(end)))


def static(text: str) -> bytes:
    """A piece that others follow, of any number of lines."""
    return _lines(_plain(text))


def last(text: str) -> bytes:
    """The piece at the end of a part: it ends in one line end, however many there were."""
    return _lines(_plain(text).rstrip(b"\n") + b"\n")


def value(text: str) -> bytes:
    """A piece of one line, on wire lines of its own; nothing for an empty one."""
    if not text:
        return b""
    plain = text.encode(errors="ignore")
    escaped = _UNSAFE_IN_VALUE.sub(lambda found: _ESCAPES[found[0]], plain)
    encoded = line(escaped.replace(b"  ", b" =20"))
    return encoded + SOFT if encoded else b""


def _plain(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines.encode(errors="ignore").translate(None, _CONTROLS)


def _lines(plain: bytes) -> bytes:
    escaped = _UNSAFE.sub(lambda found: _ESCAPES[found[0]], plain)
    escaped = escaped.replace(b"  ", b" =20").replace(b" \n", b"=20\n")
    encoded = b"\r\n".join(map(line, escaped.split(b"\n")))
    return encoded + SOFT if encoded and not encoded.endswith(b"\n") else encoded


def line(escaped: bytes) -> bytes:
    """One line, escaped already, on as many as it needs, with room for a soft line break."""
    if len(escaped) <= _ROOM and not escaped.startswith((b".", b"From ")):
        return escaped
    chunks: list[bytes] = _CHUNK.findall(escaped)
    return SOFT.join(
        _ESCAPES[chunk[:1]] + chunk[1:] if chunk.startswith((b".", b"From ")) else chunk
        for chunk in chunks
    )
