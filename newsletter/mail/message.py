"""One mail as the bytes that go over the wire: headers, a text part, an HTML part.

The same letter and headers give the same bytes, on every machine and in every release of Python:
a mail that is tried again is the same mail, and its SHA-256 can stand in the record. The standard
library's parser checks the result in the tests.

Bodies are quoted-printable (newsletter.mail.quoted), so the wire never sees a bare CR or LF, a
NUL, or a long line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol

from newsletter.errors import BadInput
from newsletter.mail import quoted
from newsletter.mail.fields import (
    ALWAYS,
    CHECKPOINT_HEADER,
    CONTROLS,
    HEADER_NAMES,
    MAX_LINE,
    SIGNATURE_HEADER,
    Headers,
    boundary,
    clean_line,
    feedback_id_of,
    fields,
    is_ascii,
    list_id_of,
    wire_address,
)
from newsletter.mail.quoted import Pieces

__all__ = [
    "CHECKPOINT_HEADER",
    "Headers",
    "Written",
    "around_parts",
    "build",
    "check_wire",
    "clean_line",
    "feedback_id_of",
    "is_ascii",
    "list_id_of",
    "wire_address",
]


class Written(Protocol):
    """What `build` needs of a letter; newsletter.mail.letters.Letter has it."""

    @property
    def subject(self) -> str: ...
    @property
    def pieces(self) -> tuple[Pieces, Pieces]:
        """The text part's and the HTML part's."""


def build(letter: Written, headers: Headers) -> bytes:
    """The whole mail, with CRLF line ends, ending in one.

    Control characters in names, the subject and the bodies are dropped; anywhere else they are
    refused, with everything else that is not valid there.

    Raises BadInput naming the header that cannot be written.
    """
    text, html = letter.pieces
    before_text, before_html, end = around_parts(headers)
    raw = b"".join(
        (
            *(f"{name}: {value}\r\n".encode() for name, value in fields(letter.subject, headers)),
            before_text,
            quoted.body(text),
            before_html,
            quoted.body(html),
            end,
        )
    )
    check_wire(raw, also=headers.idempotency[:1] if headers.idempotency else ())
    return raw


def around_parts(headers: Headers) -> tuple[bytes, bytes, bytes]:
    """What stands between the header fields and the text, between text and HTML, and at the end.

    RFC 2046 §5.1.4: the last part is the best one.
    """
    line = boundary(headers)
    text, html = (
        f"--{line}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        for subtype in ("plain", "html")
    )
    return f"\r\n{text}".encode(), html.encode(), f"--{line}--\r\n".encode()


def check_wire(raw: bytes, *, also: Collection[str] = ()) -> None:
    """The last gate before the network: what must be true of any mail's bytes.

    CRLF line ends only (else a receiver could read two mails where we sent one, CVE-2023-51764),
    no NUL, no line over 998 bytes, a body of ASCII, and only header fields that we send, each
    once but for signatures, with all that every mail has. also: fields beside `HEADER_NAMES`.

    Raises BadInput naming what is wrong.
    """
    pairs = raw.count(b"\r\n")
    if not pairs == raw.count(b"\r") == raw.count(b"\n") or b"\0" in raw:
        raise BadInput("The mail has a line end that is not CRLF, or a NUL.")
    if not raw.endswith(b"\r\n") or max(map(len, raw.split(b"\r\n"))) > MAX_LINE:
        raise BadInput(f"The mail has a line over {MAX_LINE} bytes, or does not end in CRLF.")
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank or not body.isascii():
        raise BadInput("The mail has no body, or one that is not ASCII.")
    try:
        lines = re.sub("\r\n[ \t]", " ", head.decode()).split("\r\n")
    except UnicodeDecodeError as error:
        raise BadInput("The headers of the mail are not UTF-8.") from error
    names = [line.partition(":")[0] for line in lines]
    names = [name for name in names if name != SIGNATURE_HEADER]
    if len(set(names)) != len(names) or not ALWAYS <= set(names) <= {*HEADER_NAMES, *also}:
        raise BadInput("The mail's headers are not the ones that we send, each once.")
    if any(CONTROLS.search(line) for line in lines):
        raise BadInput("A header of the mail holds a control character.")
