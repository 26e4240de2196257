"""The bytes of a mail, checked with the standard library's parser and on the raw lines."""

from __future__ import annotations

import base64
import email
import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.errors import BadInput
from newsletter.mail.message import (
    CHECKPOINT_HEADER,
    Headers,
    build,
    check_wire,
    clean_line,
    feedback_id_of,
    list_id_of,
)

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", min_size=20)


@dataclass(frozen=True)
class Written:
    """A letter as build sees it."""

    subject: str = "The meadow in March"
    text: str = "Hello,\n\nthe meadow is green.\n"
    html: str = "<p>Hello,</p>\n<p>the meadow is green.</p>\n"

    @property
    def pieces(self) -> tuple[tuple[str], tuple[str]]:
        return (self.text,), (self.html,)


HEADERS = Headers(
    from_name="Field Notes",
    from_address="notes@example.org",
    to_address="ada@example.org",
    message_id="<d1@example.org>",
    date=datetime(2026, 3, 1, 12, tzinfo=UTC),
)
FULL = replace(
    HEADERS,
    reply_to="editor@example.org",
    list_id="field-notes.news.example.org",
    list_title="Field Notes",
    list_unsubscribe_url="https://news.example.org/unsubscribe/abc",
    list_unsubscribe_mailto="leave@example.org?subject=leave",
    feedback_id="d1:field-notes:digest:news-abcde",
    idempotency=("X-Relay-Key", "d1"),
    auto_submitted=True,
    language="en",
)


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=policy.default)  # type: ignore[arg-type]


def decoded(raw: bytes, name: str) -> str:
    value = email.message_from_bytes(raw, policy=policy.compat32)[name]
    return str(make_header(decode_header(str(value).replace("\r\n", ""))))


def body(raw: bytes, number: int) -> str:
    part: Any = list(parsed(raw).iter_parts())[number]
    return part.get_payload(decode=True).decode().replace("\r\n", "\n")


def test_all_headers_stand_there_once_and_in_words() -> None:
    """A mail has exactly the headers that were asked for, with the values that were meant."""
    mail = parsed(build(Written(), FULL))
    assert dict(mail.items()) == {
        "From": "Field Notes <notes@example.org>",
        "To": "ada@example.org",
        "Reply-To": "editor@example.org",
        "Subject": "The meadow in March",
        "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID": "<d1@example.org>",
        "List-Id": "Field Notes <field-notes.news.example.org>",
        "List-Unsubscribe": "<https://news.example.org/unsubscribe/abc>,"
        " <mailto:leave@example.org?subject=leave>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Feedback-ID": "d1:field-notes:digest:news-abcde",
        "X-Relay-Key": "d1",
        "Auto-Submitted": "auto-generated",
        "Content-Language": "en",
        "MIME-Version": "1.0",
        "Content-Type": mail["Content-Type"],
    }
    assert len(mail.keys()) == len(set(mail.keys()))


def test_two_parts_text_first() -> None:
    """multipart/alternative, plain text before HTML, both UTF-8 in quoted-printable."""
    mail = parsed(build(Written(text="Grüße\n", html="<p>Grüße</p>\n"), HEADERS))
    assert mail.get_content_type() == "multipart/alternative"
    parts = list(mail.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert {part.get_content_charset() for part in parts} == {"utf-8"}
    assert {part["Content-Transfer-Encoding"] for part in parts} == {"quoted-printable"}
    assert mail.defects == [] and not any(part.defects for part in parts)


def test_the_same_mail_is_the_same_bytes() -> None:
    """A mail that is built again, by any Python, has the same SHA-256."""
    headers = replace(FULL, feedback_id=None, idempotency=None)
    raw = build(Written(subject="Grüße aus dem März, und mehr davon " * 3), headers)
    assert raw == build(Written(subject="Grüße aus dem März, und mehr davon " * 3), headers)
    found = hashlib.sha256(raw).hexdigest()
    assert found == "c4c332b7ef285a739f65986bf414548b04327d6389d961d2f485bf2857f5eb7e"
    assert build(Written(), replace(HEADERS, message_id="<d2@example.org>")) != raw


@given(token=TOKEN.filter(lambda token: len(token) <= 400))
@example(token="a" * 400)
def test_header_addresses_are_never_encoded(token: str) -> None:
    """RFC 8058: the one-click address stands in the raw bytes as it is, whatever its length."""
    url = f"https://news.example.org/unsubscribe/{token}"
    raw = build(Written(), replace(HEADERS, list_unsubscribe_url=url))
    found = re.findall(rb"^List-Unsubscribe: <(https://[^>\s]+)>\r\n", raw, re.MULTILINE)
    assert found == [url.encode()]
    assert raw.count(b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n") == 1


@given(url=TOKEN, mailto=st.booleans())
def test_a_mailto_stands_beside_it(url: str, mailto: bool) -> None:
    """RFC 2369: both ways out in one field, the https one first."""
    raw = build(
        Written(),
        replace(
            HEADERS,
            list_unsubscribe_url=f"https://news.example.org/{url[:400]}",
            list_unsubscribe_mailto="leave@example.org" if mailto else None,
        ),
    )
    unfolded = raw.replace(b"\r\n ", b" ").split(b"\r\n")
    line = next(line for line in unfolded if line.startswith(b"List-Unsubscribe:"))
    assert b"=?" not in line
    assert line.endswith(b", <mailto:leave@example.org>") == mailto


@given(name=st.text(max_size=300), subject=st.text(max_size=1200), title=st.text(max_size=300))
@example(name="Eve\r\nBcc: all@example.org", subject="Hi\r\nX-Evil: 1\r\n\r\nbody", title="\0\n")
@example(name='Jörg "Joe" (the) Editor, of: <things>', subject="=?utf-8?q?evil?=", title="a\u2028b")
@example(name='a\\"b, c', subject="x" * 1000, title="word " * 60)
@example(name="\ud800", subject="𝒳" * 500, title="=?utf-8?b?eA==?=")
def test_names_and_subjects_cannot_inject(name: str, subject: str, title: str) -> None:
    """Whatever a name or a subject holds, the header fields are the intended ones, and it reads
    back as it was meant, without control characters."""
    headers = replace(HEADERS, from_name=name, list_id="a.example.org", list_title=title)
    raw = build(Written(subject=subject), headers)
    mail = email.message_from_bytes(raw, policy=policy.compat32)
    assert mail.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "List-Id", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert decoded(raw, "Subject") == clean_line(subject)
    # The name is what stands before the address, unquoted, and then decoded (RFC 2047 §5 (3)).
    phrase, address = parseaddr(str(mail["From"]).replace("\r\n", ""))
    assert address == "notes@example.org"
    assert str(make_header(decode_header(phrase))) == clean_line(name)
    head = raw.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))
    assert all(len(word) <= 75 for word in re.findall(rb"=\?[^ \r\n]+\?=", head))


@given(text=st.text(), html=st.text())
@example(text=".\n..\n.x\nFrom here\n", html="\r\n.\r\nMAIL FROM:<eve@example.org>\r\n")
@example(text="\r.\r", html="\n.\n\0\x0b" + "x" * 5000)
@example(text="a \nb\t\n", html="--=_boundary--\u2028\ud800")
@example(text="a", html="a" * 74 + "\t\n" + "b" * 73 + " ")
def test_bodies_survive_and_cannot_smuggle(text: str, html: str) -> None:
    """A body comes back as it was, but for control characters; its bytes hold no lone dot between
    any kind of line ends, no bare CR or LF, no NUL and no line over 76."""
    raw = build(Written(text=text, html=html), HEADERS)
    check_wire(raw)
    for number, given_text in enumerate((text, html)):
        wanted = given_text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        wanted = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "", wanted)
        assert body(raw, number).rstrip("\n") == wanted.rstrip("\n")
    assert not re.search(rb"[\r\n]\.[\r\n]", raw)
    content = raw.partition(b"\r\n\r\n")[2]
    assert content.isascii() and max(map(len, content.split(b"\r\n"))) <= 76


@pytest.mark.parametrize("field", ["from_address", "to_address", "reply_to"])
@pytest.mark.parametrize(
    "address",
    ["ada@example.org\r\nBcc: all@example.org", "ada@example.org\0", "ada@example.org, b@c.org",
     "<ada@example.org>", "ada example@example.org", "ada", "a\u2028b@example.org",
     "ada@example.org\n."],
)  # fmt: skip
def test_bad_addresses_are_refused(field: str, address: str) -> None:
    """An address that is none is never written; the error names the header."""
    with pytest.raises(BadInput) as caught:
        build(Written(), replace(HEADERS, **{field: address}))
    assert caught.value.field in {"From", "To", "Reply-To"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", "d1@example.org"),
        ("message_id", "<d1@example.org>\r\nX: y"),
        ("message_id", "<d1@münchen.example>"),
        ("list_id", "Field Notes <x.example.org>"),
        ("list_id", "x..example.org"),
        ("list_unsubscribe_url", "https://news.example.org/a b"),
        ("list_unsubscribe_url", "https://news.example.org/>\r\nX: y"),
        ("list_unsubscribe_url", "javascript:alert(1)"),
        ("list_unsubscribe_url", "https://news.example.org/" + "a" * 1000),
        ("list_unsubscribe_mailto", "leave@example.org>, <https://evil.example"),
        ("language", "en\r\nX: y"),
        ("feedback_id", "a:b:c"),
        ("feedback_id", "a:b:c:four"),
        ("feedback_id", "a:b:c:sixteencharacters"),
        ("feedback_id", "a:b c:digest:sender"),
        ("idempotency", ("X-Key", "a b")),
        ("idempotency", ("X-Key", "a\r\nY: z")),
        ("idempotency", ("X-Key:", "a")),
        ("idempotency", ("message-id", "a")),
        ("idempotency", ("DKIM-Signature", "a")),
    ],
)
def test_values_of_ours_are_checked_too(field: str, value: str) -> None:
    """A Message-ID, list name, link or language that is not one is refused, never mended."""
    with pytest.raises(BadInput):
        build(Written(), replace(FULL, **{field: value}))


def test_a_date_without_a_zone_is_refused() -> None:
    """RFC 5322 §3.3 wants the zone, and a naive time would be read as anybody's."""
    with pytest.raises(BadInput, match="time zone"):
        build(Written(), replace(HEADERS, date=datetime(2026, 3, 1)))  # noqa: DTZ001


def test_international_domains_become_a_labels() -> None:
    """An IDN domain is written in ASCII, so that the mail needs no SMTPUTF8."""
    raw = build(Written(), replace(HEADERS, to_address="ada@bücher.example.org"))
    assert b"\r\nTo: ada@xn--bcher-kva.example.org\r\n" in raw
    assert raw.isascii()


def test_a_local_part_outside_ascii_is_raw_utf8() -> None:
    """RFC 6532: never an encoded word inside an address (RFC 2047 §5)."""
    raw = build(Written(), replace(HEADERS, to_address="jörg@example.org"))
    assert "\r\nTo: jörg@example.org\r\n".encode() in raw
    check_wire(raw)


@pytest.mark.parametrize(
    ("slug", "host", "wanted"),
    [
        ("notes", "news.example.org", "notes.news.example.org"),
        ("notes", "", "notes.localhost"),
        ("notes", "bücher.example", "notes.xn--bcher-kva.example"),
        ("notes", "::1", "notes.--1"),
    ],
)
def test_the_list_id_is_a_dotted_name(slug: str, host: str, wanted: str) -> None:
    """RFC 2919: whatever the host, the list's name can stand in the header."""
    assert list_id_of(slug, host) == wanted
    build(Written(), replace(HEADERS, list_id=wanted))


@pytest.mark.parametrize(
    ("host", "sender_id"),
    [
        ("example.org", "example-org"),
        ("News.Example.Org", "news-exam-[0-9a-f]{5}"),
        ("xn--bcher-kva.example", "xn-bcher-[0-9a-f]{5}"),
        ("", "[0-9a-f]{5}"),
        ("::1", "1-[0-9a-f]{5}"),
    ],
)
def test_the_feedback_id_ends_in_who_sends(host: str, sender_id: str) -> None:
    """Google asks for 5 to 15 characters that stay the same; the setting comes first."""
    found = feedback_id_of("d1", "notes", host)
    assert re.fullmatch(f"d1:notes:digest:{sender_id}", found)
    assert found == feedback_id_of("d1", "notes", host.lower())
    build(Written(), replace(HEADERS, feedback_id=found))
    assert feedback_id_of("d1", "notes", host, "fieldnotes") == "d1:notes:digest:fieldnotes"


def test_mails_of_a_series_have_one_boundary() -> None:
    """So that what they have in common is the same bytes; others have their own."""
    names = ("<d1@example.org>", "<d2@example.org>")
    own = [build(Written(), replace(HEADERS, message_id=name)) for name in names]
    series = [build(Written(), replace(HEADERS, message_id=name, series="s")) for name in names]
    boundaries = [parsed(raw).get_boundary() for raw in (*own, *series)]
    assert len(set(boundaries)) == 3
    assert boundaries[2] == boundaries[3]


def test_signatures_pass_the_last_gate() -> None:
    """As many as there are keys, on top; the configured field only when it is named."""
    plain = build(Written(), HEADERS)
    check_wire(b"DKIM-Signature: v=1; a=rsa-sha256;\r\n b=x\r\nDKIM-Signature: v=1\r\n" + plain)
    with pytest.raises(BadInput):
        check_wire(b"X-Relay-Key: 1\r\n" + plain)
    check_wire(b"X-Relay-Key: 1\r\n" + plain, also=("X-Relay-Key",))


GOOD = build(Written(), replace(FULL, idempotency=None))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        GOOD + b"\n",
        GOOD + b"\r",
        GOOD.replace(b"green", b"gr\0en"),
        GOOD.replace(b"green", b"gr\ren"),
        GOOD + b"x" * 999 + b"\r\n",
        GOOD[:-2],
        GOOD.replace(b"green", "grün".encode()),
        GOOD.replace(b"Subject:", b"Bcc: eve@example.org\r\nSubject:"),
        GOOD.replace(b"Subject:", b"Subject: one\r\nSubject:"),
        GOOD.replace(b"Subject:", b"X-Subject:"),
        GOOD.replace(b"Subject: ", b"Subject: \x1b["),
        GOOD.replace(b"Subject: ", b"Subject: \xff"),
        GOOD.replace(b"Message-ID: <d1@example.org>\r\n", b""),
        GOOD.partition(b"\r\n\r\n")[0] + b"\r\n",
    ],
)
def test_the_last_gate_refuses_what_is_not_our_mail(raw: bytes) -> None:
    """Bytes that did not come out of build as they are do not get to the network."""
    check_wire(GOOD)
    assert raw != GOOD
    with pytest.raises(BadInput):
        check_wire(raw)


@given(note=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=900))
def test_a_checkpoint_comes_back_to_the_byte(note: str) -> None:
    """The signed note is base64 on lines of at most 76; joined and decoded, it is the same."""
    raw = build(Written(), replace(HEADERS, checkpoint=note))
    head = raw.partition(b"\r\n\r\n")[0].decode()
    field = re.search(rf"^{CHECKPOINT_HEADER}: [^\r]*(?:\r\n [^\r]*)*", head, re.MULTILINE)
    assert field
    assert max(map(len, field[0].split("\r\n"))) <= 76
    value = "".join(field[0].partition(":")[2].split())
    assert base64.b64decode(value, validate=True).decode() == note
    assert "".join(str(parsed(raw)[CHECKPOINT_HEADER]).split()) == value


def test_without_a_checkpoint_there_is_no_such_header() -> None:
    """A letter that is no digest, or is from before the first checkpoint, has none."""
    assert CHECKPOINT_HEADER.encode() not in build(Written(), HEADERS)
