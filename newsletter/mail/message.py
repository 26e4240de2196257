"""One mail as the bytes that go over the wire: headers, a text part, an HTML part.

The same letter and headers give the same bytes, on every machine and in every release of Python:
a mail that is tried again is the same mail, and its SHA-256 can stand in the record. That is why
the few header fields that we send are written here and not by email.generator, which also turns
long List-Unsubscribe addresses into encoded words (cpython#85725) and lets NUL through. The
standard library's parser checks the result in the tests.

Bodies are quoted-printable, so the wire never sees a bare CR or LF, a NUL, or a long line.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import textwrap
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Protocol

from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput

MAX_LINE = 998  # RFC 5322 §2.1.1, without the CRLF
_FOLD_AT = 76  # RFC 2047 §2: a line with an encoded word is at most 76 characters
_WORD_BYTES = 45  # base64 of it is 60 characters; with =?utf-8?b??= still below 75

# C0, DEL, C1 (with NEL), and the line and paragraph separators: what could end a header line here
# or in a program that reads it. Bidirectional overrides could make a name read as another one.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BODY_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n"))

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_PHRASE = re.compile(rf"{_ATEXT}(?: {_ATEXT})*")
_MESSAGE_ID = re.compile(rf"<{_DOT_ATOM}@{_DOT_ATOM}>")
_LIST_ID = re.compile(_DOT_ATOM)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")  # RFC 5646 §2.1, roughly
_URL = re.compile(r"https?://[!-;=?-~]+")  # visible ASCII without < and >
_MAILTO = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")

# A note of many lines that must come back to the byte: base64, folded, so that nothing on the way
# takes it for words.
CHECKPOINT_HEADER = "Consent-Log-Checkpoint"
# Every field that a mail of ours can have; each stands in it at most once.
HEADER_NAMES = (
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Auto-Submitted",
    CHECKPOINT_HEADER,
    "Content-Language",
    "MIME-Version",
    "Content-Type",
)
_ALWAYS = frozenset({"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"})


class Written(Protocol):
    """What `build` needs of a letter; newsletter.mail.letters.Letter has it."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def html(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Headers:
    """Who writes to whom, and what mail programs are told about it.

    Addresses are bare (ada@example.org); names are text of any language. date is aware.
    message_id: with its angle brackets. list_id: a dotted name, without brackets (`list_id_of`).
    list_unsubscribe_url: the one-click address (RFC 8058 §3.1); list_unsubscribe_mailto: an
        address, with "?subject=..." if wanted.
    auto_submitted: the mail answers something that a person just did (RFC 3834 §5).
    checkpoint: a signed checkpoint of the consent log, whose witness the mailbox becomes.
    language: a BCP 47 tag for Content-Language.
    """

    from_name: str
    from_address: str
    to_address: str
    message_id: str
    date: datetime
    reply_to: str | None = None
    list_id: str | None = None
    list_title: str | None = None
    list_unsubscribe_url: str | None = None
    list_unsubscribe_mailto: str | None = None
    auto_submitted: bool = False
    checkpoint: str | None = None
    language: str | None = None


def build(letter: Written, headers: Headers) -> bytes:
    """The whole mail, with CRLF line ends, ending in one.

    Control characters in names, the subject and the bodies are dropped; anywhere else they are
    refused, with everything else that is not valid there.

    Raises BadInput naming the header that cannot be written.
    """
    boundary = "=_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:40]
    fields = [*_fields(letter.subject, headers)]
    # "=_" cannot stand in quoted-printable text (RFC 2045 §6.7), so no part can hold the boundary.
    fields.append(("Content-Type", f'multipart/alternative;\r\n boundary="{boundary}"'))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    raw = b"".join(
        (
            head.encode(),
            b"\r\n",
            _part(boundary, "plain", letter.text),
            # RFC 2046 §5.1.4: the last part is the best one.
            _part(boundary, "html", letter.html),
            f"--{boundary}--\r\n".encode(),
        )
    )
    check_wire(raw)
    return raw


def clean_line(text: str) -> str:
    """`text` as one line: controls and line ends become a blank, blanks are joined and trimmed."""
    return " ".join(_SURROGATES.sub("", _CONTROLS.sub(" ", text)).split())


def list_id_of(slug: str, host: str) -> str:
    """The List-Id of the publication `slug` of the installation at `host` (base_url's host name).

    RFC 2919 §2: a list is named below a domain that its owner has, or below "localhost".
    """
    name = host if host.isascii() else host.encode("idna").decode()
    # An IPv6 address is no dot-atom.
    return f"{slug}.{name.strip('[]').replace(':', '-') or 'localhost'}"


def _fields(subject: str, headers: Headers) -> list[tuple[str, str]]:
    sender = _mailbox("From", headers.from_address)
    name = clean_line(headers.from_name)
    fields = [
        ("From", _named("From", name, f"<{sender}>") if name else sender),
        ("To", _mailbox("To", headers.to_address)),
    ]
    if headers.reply_to:
        fields.append(("Reply-To", _mailbox("Reply-To", headers.reply_to)))
    if headers.date.utcoffset() is None:
        raise BadInput("The date of a mail needs its time zone.", "Date")
    fields += [
        ("Subject", _unstructured("Subject", clean_line(subject))),
        ("Date", format_datetime(headers.date)),
        ("Message-ID", _checked("Message-ID", headers.message_id, _MESSAGE_ID)),
    ]
    if headers.list_id:
        list_id = f"<{_checked('List-Id', headers.list_id, _LIST_ID)}>"
        title = clean_line(headers.list_title or "")
        fields.append(("List-Id", _named("List-Id", title, list_id) if title else list_id))
    fields += _unsubscribe_fields(headers)
    if headers.auto_submitted:
        fields.append(("Auto-Submitted", "auto-generated"))
    if headers.checkpoint:
        fields.append((CHECKPOINT_HEADER, _encoded_checkpoint(headers.checkpoint)))
    if headers.language:
        language = _checked("Content-Language", headers.language, _LANGUAGE)
        fields.append(("Content-Language", language))
    fields.append(("MIME-Version", "1.0"))
    return fields


def _unsubscribe_fields(headers: Headers) -> list[tuple[str, str]]:
    targets = []
    if headers.list_unsubscribe_url:
        targets.append(_checked("List-Unsubscribe", headers.list_unsubscribe_url, _URL))
    if headers.list_unsubscribe_mailto:
        address = headers.list_unsubscribe_mailto.removeprefix("mailto:")
        targets.append("mailto:" + _checked("List-Unsubscribe", address, _MAILTO))
    if not targets:
        return []
    # Folded only between the addresses; an address is never cut nor encoded (RFC 2047 §5).
    fields = [("List-Unsubscribe", ",\r\n ".join(f"<{target}>" for target in targets))]
    if headers.list_unsubscribe_url:
        fields.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))  # RFC 8058 §3.1
    return fields


def _encoded_checkpoint(note: str) -> str:
    """The note as base64, in lines of at most 76 characters, the first of which names the field."""
    text = b64encode(note.encode()).decode()
    room = _FOLD_AT - len(CHECKPOINT_HEADER) - 2
    rest = text[room:]
    lines = [
        text[:room],
        *(rest[at : at + _FOLD_AT - 1] for at in range(0, len(rest), _FOLD_AT - 1)),
    ]
    return "\r\n ".join(lines)


def _checked(name: str, value: str, allowed: re.Pattern[str]) -> str:
    # The longest field name and the folding still fit into a line.
    if not allowed.fullmatch(value) or len(value) > MAX_LINE - 40:
        raise BadInput(f"The header {name} cannot hold {value[:80]!r}.", name)
    return value


def _mailbox(name: str, address: str) -> str:
    """The address for a header: its domain as A-labels, its local part as it was written."""
    if _CONTROLS.search(address):
        raise BadInput(f"The address for {name} holds a control character.", name)
    try:
        spelling = wire_address(address)
    except BadInput as error:
        raise BadInput(f"The address for {name} is not valid: {error}", name) from error
    return spelling


def wire_address(address: str) -> str:
    """`address` as SMTP takes it: A-labels in the domain. Not ASCII only if the local part is not.

    Raises BadInput when it is no address. RFC 6531 §3.2: such a mail needs SMTPUTF8.
    """
    found = parse_address(address)
    return f"{found.spelling.rpartition('@')[0]}@{found.domain}"


def _named(field: str, name: str, rest: str) -> str:
    """A display name and what it names: `Ada Lovelace <...>`, on as many lines as needed."""
    room = _FOLD_AT - len(field) - 2
    if _PHRASE.fullmatch(name) and "=?" not in name and len(name) <= room:
        phrase = name
    elif name.isascii() and len(name) <= room - 8 and "=?" not in name:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        phrase = f'"{escaped}"'  # RFC 5322 §3.2.4
    else:
        phrase = _encoded_words(name)
    last_line = phrase.rpartition("\n")[2]
    fits = len(last_line) + len(rest) + len(field) + 3 <= _FOLD_AT
    return f"{phrase} {rest}" if fits else f"{phrase}\r\n {rest}"


def _unstructured(name: str, text: str) -> str:
    """Text for a header of free form: ASCII is folded at its blanks, the rest is encoded words."""
    if not text.isascii() or "=?" in text:
        return _encoded_words(text)
    room = _FOLD_AT - len(name) - 2
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    if any(len(line) > room for line in lines):
        return _encoded_words(text)
    return "\r\n ".join(lines)


def _encoded_words(text: str) -> str:
    """RFC 2047 §2: `text` as base64 words of at most 75 characters, one a line.

    Cut between characters: each word is decoded by itself (§5 (3)).
    """
    words: list[bytes] = []
    word = b""
    for character in text:
        # The first line also holds the name of the field.
        limit = _WORD_BYTES if words else _WORD_BYTES - 9
        encoded = character.encode()
        if len(word) + len(encoded) > limit:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words)


_LONG_END = re.compile(rb"^([^\r\n]{74,})(=(?:09|20))(?=\r$)", re.MULTILINE)


def _part(boundary: str, subtype: str, text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
    # "ignore" leaves out half surrogate pairs, which no charset can hold.
    plain = lines.encode(errors="ignore").translate(None, _BODY_CONTROLS)
    body = binascii.b2a_qp(plain.replace(b"\n", b"\r\n"), istext=True)
    # A blank at the end of a line is encoded without a look at the line's length: 76 at most
    # (RFC 2045 §6.7, rules 3 and 5).
    body = _LONG_END.sub(rb"\1=\r\n\2", body)
    head = (
        f"--{boundary}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return head.encode() + body


def check_wire(raw: bytes) -> None:
    """The last gate before the network: what must be true of any mail's bytes.

    CRLF line ends only (else a receiver could read two mails where we sent one, CVE-2023-51764),
    no NUL, no line over 998 bytes, a body of ASCII, and only header fields that we send, each
    once, with all that every mail has.

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
    if len(set(names)) != len(names) or not _ALWAYS <= set(names) <= set(HEADER_NAMES):
        raise BadInput("The mail's headers are not the ones that we send, each once.")
    if any(_CONTROLS.search(line) for line in lines):
        raise BadInput("A header of the mail holds a control character.")
