"""The header fields of a mail: which there are, in which order, and how their values are written.

They are written here and not by email.generator, which turns long List-Unsubscribe addresses into
encoded words (cpython#85725), lets NUL through, and folds differently from release to release.
Whatever a name or a subject holds, it cannot become a field of its own.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput

MAX_LINE = 998  # RFC 5322 §2.1.1, without the CRLF
_FOLD_AT = 76  # RFC 2047 §2: a line with an encoded word is at most 76 characters
_WORD_BYTES = 45  # base64 of it is 60 characters; with =?utf-8?b??= still below 75

# C0, DEL, C1 (with NEL), and the line and paragraph separators: what could end a header line here
# or in a program that reads it. Bidirectional overrides could make a name read as another one.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_SURROGATES = re.compile("[\ud800-\udfff]")

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_PHRASE = re.compile(rf"{_ATEXT}(?: {_ATEXT})*")
_MESSAGE_ID = re.compile(rf"<{_DOT_ATOM}@{_DOT_ATOM}>")
_LIST_ID = re.compile(_DOT_ATOM)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")  # RFC 5646 §2.1, roughly
_URL = re.compile(r"https?://[!-;=?-~]+")  # visible ASCII without < and >
_MAILTO = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_FEEDBACK_ID = re.compile(r"[!-9;-~]+(?::[!-9;-~]+){2}:[A-Za-z0-9-]{5,15}")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_WORD = re.compile(r"[!-~]+")

# A note of many lines that must come back to the byte: base64, folded, so that nothing on the way
# takes it for words.
CHECKPOINT_HEADER = "Consent-Log-Checkpoint"
# Put on top of what is built here: one for each key.
SIGNATURE_HEADER = "DKIM-Signature"
# Every other field that a mail of ours can have; each stands in it at most once.
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
    "Feedback-ID",
    "Auto-Submitted",
    CHECKPOINT_HEADER,
    "Content-Language",
    "MIME-Version",
    "Content-Type",
)
ALWAYS = frozenset({"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"})


@dataclass(frozen=True, kw_only=True)
class Headers:
    """Who writes to whom, and what mail programs are told about it.

    Addresses are bare (ada@example.org); names are text of any language. date is aware.
    message_id: with its angle brackets. list_id: a dotted name, without brackets (`list_id_of`).
    list_unsubscribe_url: the one-click address (RFC 8058 §3.1); list_unsubscribe_mailto: an
        address, with "?subject=..." if wanted.
    feedback_id: what complaints are counted by (`feedback_id_of`); never one mail's own.
    idempotency: a field by which the relay knows a mail that it took already, and its value.
    auto_submitted: the mail answers something that a person just did (RFC 3834 §5).
    checkpoint: a signed checkpoint of the consent log, whose witness the mailbox becomes.
    language: a BCP 47 tag for Content-Language.
    series: what the boundary between the parts is made of, equal for mails that have all else of
        their bodies in common; None makes it the mail's own.
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
    feedback_id: str | None = None
    idempotency: tuple[str, str] | None = None
    auto_submitted: bool = False
    checkpoint: str | None = None
    language: str | None = None
    series: str | None = None


def fields(subject: str, headers: Headers) -> list[tuple[str, str]]:
    """The header fields in their order, each with its value as it stands on the wire, folded.

    Raises BadInput naming the field that cannot be written.
    """
    media_type = f'multipart/alternative;\r\n boundary="{boundary(headers)}"'
    return [*_address_fields(headers), *_own_fields(subject, headers), ("Content-Type", media_type)]


def boundary(headers: Headers) -> str:
    """The line between the parts, without its dashes (RFC 2046 §5.1.1)."""
    # "=_" cannot stand in quoted-printable text (RFC 2045 §6.7), so no part can hold the boundary.
    made_of = headers.series or headers.message_id
    return "=_" + hashlib.sha256(made_of.encode()).hexdigest()[:40]


def clean_line(text: str) -> str:
    """`text` as one line: controls and line ends become a blank, blanks are joined and trimmed."""
    return " ".join(_SURROGATES.sub("", CONTROLS.sub(" ", text)).split())


def list_id_of(slug: str, host: str) -> str:
    """The List-Id of the publication `slug` of the installation at `host` (base_url's host name).

    RFC 2919 §2: a list is named below a domain that its owner has, or below "localhost".
    """
    name = host if host.isascii() else host.encode("idna").decode()
    # An IPv6 address is no dot-atom.
    return f"{slug}.{name.strip('[]').replace(':', '-') or 'localhost'}"


def feedback_id_of(digest: str, slug: str, host: str, sender_id: str | None = None) -> str:
    """The Feedback-ID of the mails of one digest, by which Gmail counts complaints.

    digest: its public id. sender_id: 5 to 15 characters; None makes one of the host's name.
    """
    if sender_id is None:
        name = re.sub("[^a-z0-9]+", "-", host.lower()).strip("-")
        mark = hashlib.sha256(host.lower().encode()).hexdigest()[:5]
        fits = 5 <= len(name) <= 15
        sender_id = name if fits else f"{name[:9].strip('-')}-{mark}".strip("-")
    return f"{digest}:{slug}:digest:{sender_id}"


def _address_fields(headers: Headers) -> list[tuple[str, str]]:
    sender = _mailbox("From", headers.from_address)
    name = clean_line(headers.from_name)
    found = [
        ("From", _named("From", name, f"<{sender}>") if name else sender),
        ("To", _mailbox("To", headers.to_address)),
    ]
    if headers.reply_to:
        found.append(("Reply-To", _mailbox("Reply-To", headers.reply_to)))
    return found


def _own_fields(subject: str, headers: Headers) -> list[tuple[str, str]]:
    found = [
        ("Subject", subject_value(subject)),
        ("Date", date_value(headers.date)),
        ("Message-ID", message_id_value(headers.message_id)),
    ]
    if headers.list_id:
        list_id = f"<{_checked('List-Id', headers.list_id, _LIST_ID)}>"
        title = clean_line(headers.list_title or "")
        found.append(("List-Id", _named("List-Id", title, list_id) if title else list_id))
    found += _unsubscribe_fields(headers)
    if headers.feedback_id:
        value = _checked("Feedback-ID", headers.feedback_id, _FEEDBACK_ID)
        found.append(("Feedback-ID", value))
    if headers.idempotency:
        found.append(_idempotency_field(*headers.idempotency))
    if headers.auto_submitted:
        found.append(("Auto-Submitted", "auto-generated"))
    if headers.checkpoint:
        found.append((CHECKPOINT_HEADER, _encoded_checkpoint(headers.checkpoint)))
    if headers.language:
        language = _checked("Content-Language", headers.language, _LANGUAGE)
        found.append(("Content-Language", language))
    found.append(("MIME-Version", "1.0"))
    return found


def subject_value(subject: str) -> str:
    """A subject as it stands in its field, folded."""
    return _unstructured("Subject", clean_line(subject))


def date_value(date: datetime) -> str:
    """A date as it stands in its field. Raises BadInput for one without a time zone."""
    if date.utcoffset() is None:
        raise BadInput("The date of a mail needs its time zone.", "Date")
    return format_datetime(date)


def message_id_value(message_id: str) -> str:
    """`message_id` if it is one. Raises BadInput."""
    return _checked("Message-ID", message_id, _MESSAGE_ID)


def unsubscribe_url_value(url: str) -> str:
    """`url` if it can stand in List-Unsubscribe. Raises BadInput."""
    return _checked("List-Unsubscribe", url, _URL)


def _idempotency_field(name: str, value: str) -> tuple[str, str]:
    ours = {each.lower() for each in (*HEADER_NAMES, SIGNATURE_HEADER)}
    if not _FIELD.fullmatch(name) or name.lower() in ours:
        raise BadInput(f"{name[:80]!r} cannot be the idempotency header.", name[:80])
    return name, _checked(name, value, _WORD)


def _unsubscribe_fields(headers: Headers) -> list[tuple[str, str]]:
    targets = []
    if headers.list_unsubscribe_url:
        targets.append(unsubscribe_url_value(headers.list_unsubscribe_url))
    if headers.list_unsubscribe_mailto:
        address = headers.list_unsubscribe_mailto.removeprefix("mailto:")
        targets.append("mailto:" + _checked("List-Unsubscribe", address, _MAILTO))
    if not targets:
        return []
    # Folded only between the addresses; an address is never cut nor encoded (RFC 2047 §5).
    found = [("List-Unsubscribe", ",\r\n ".join(f"<{target}>" for target in targets))]
    if headers.list_unsubscribe_url:
        found.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))  # RFC 8058 §3.1
    return found


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
    if CONTROLS.search(address):
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


def is_ascii(*addresses: str | None) -> bool:
    """Whether a mail with these addresses can go without SMTPUTF8 (RFC 6531 §3.4).

    Of all that stands in the fields, only addresses can be other than ASCII. Raises BadInput when
    one is no address.
    """
    return all(wire_address(address).isascii() for address in addresses if address)


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
