"""Signatures, as dkimpy sees them: good on every mail, and broken by every change that counts."""

from __future__ import annotations

import base64
import email
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import policy

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import example, given
from hypothesis import strategies as st
from signatures import (
    AT,
    Written,
    all_pass,
    changed_bytes,
    changed_words,
    joined,
    key,
    parts,
    passes,
    tags,
)

from newsletter.errors import BadInput
from newsletter.mail.dkim import Signer, relaxed_body
from newsletter.mail.message import HEADER_NAMES, Headers, build

RSA, ED25519 = key(), key("e1", algorithm="ed25519")
BOTH = (RSA, ED25519)
FULL = Headers(
    from_name="Field Notes",
    from_address="notes@example.org",
    to_address="ada@example.net",
    reply_to="editor@example.org",
    message_id="<d1@example.org>",
    date=AT,
    list_id="field-notes.news.example.org",
    list_title="Field Notes",
    list_unsubscribe_url="https://news.example.org/unsubscribe/abc",
    list_unsubscribe_mailto="leave@example.org?subject=leave",
    feedback_id="abcdef:field-notes:digest:newsexampleorg",
    idempotency=("Relay-Idempotency-Key", "d1"),
    auto_submitted=True,
    checkpoint="news.example.org/consent-log\n1\nAAAA\n\n— news.example.org AAAA\n",
    language="en",
)
# It speaks to the relay, which may take it away.
UNSIGNED = "Relay-Idempotency-Key"


def signed(raw: bytes, *keys, bodies="any") -> bytes:
    return Signer(keys or (RSA,), bodies=bodies).headers(raw, at=AT) + raw


@pytest.fixture(scope="module")
def full() -> bytes:
    """A mail with every field that a mail of ours can have, signed with both keys."""
    return signed(build(Written(), FULL), *BOTH)


URL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=300)


@given(
    name=st.text(max_size=60),
    subject=st.text(max_size=200),
    text=st.text(),
    html=st.text(),
    token=URL,
    over=st.fixed_dictionaries(
        {},
        optional={
            "reply_to": st.none(),
            "list_id": st.none(),
            "list_title": st.text(max_size=80),
            "feedback_id": st.none(),
            "auto_submitted": st.just(False),
            "checkpoint": st.text(min_size=1, max_size=300),
            "language": st.sampled_from([None, "de", "zh-Hant"]),
            "to_address": st.sampled_from(["jörg@example.net", "ada@münchen.example"]),
        },
    ),
)
@example(
    name="a, b <x@example.net>", subject="=?x?=", text=" \t \n.\n \n\n", html="", token="a", over={}
)
@example(name='"@example.net"', subject="", text="a  b \t\n", html="\n\n \n", token="a", over={})
def test_every_mail_of_ours_passes(name, subject, text, html, token, over) -> None:
    """Whatever the letter and the headers hold, a receiver takes both signatures for good, and
    the promise that the body is relaxed already holds."""
    url = f"https://news.example.org/unsubscribe/{token}"
    headers = replace(FULL, **({"from_name": name, "list_unsubscribe_url": url} | over))
    raw = build(Written(subject, text, html), headers)
    mail = signed(raw, *BOTH)
    assert mail.endswith(raw)
    assert all_pass(mail, BOTH)
    body = raw.partition(b"\r\n\r\n")[2]
    assert relaxed_body(body) == body
    assert signed(raw, *BOTH, bodies="relaxed") == mail


# Lines of all that matters to the relaxed forms, and a byte that is no ASCII.
LINE = st.lists(st.sampled_from([" ", "\t", "  ", "a", ".", "=", "ä", "\x0b"]), max_size=8).map(
    lambda found: "".join(found).encode()
)
BODY = st.lists(LINE, max_size=6).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
WORDS = st.lists(st.sampled_from([" ", "\t", "\r\n ", "\r\n\t", "x", ":", "ä"]), max_size=12)
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["Subject", "SUBJECT", "to", "Date", "X-Other", "List-Help", "Cc"]),
        WORDS.map("".join),
    ),
    max_size=6,
)


@given(fields=FIELDS, at=st.integers(0, 6), body=BODY | st.none())
@example(fields=[("Subject", " a"), ("SUBJECT", "\tb")], at=1, body=b"\r\n")
@example(fields=[("Subject", " ")], at=0, body=None)
def test_every_valid_mail_passes(fields, at, body) -> None:
    """Of anybody's making: folded anyhow, fields several times, in any spelling, no body at all."""
    lines = [f"{name}:{value} .\r\n" for name, value in fields]
    lines.insert(at, "fRoM:\tNotes\r\n\t<notes@EXAMPLE.org>\r\n")
    raw = "".join(lines).encode() + (b"" if body is None else b"\r\n" + body)
    assert all_pass(signed(raw, *BOTH), BOTH)


def test_blanks_around_the_colon_do_not_count() -> None:
    """RFC 6376 §3.4.2: before it, as RFC 822 allowed them, and behind it."""
    plain, old = (
        f"From{colon}notes@example.org\r\nSubject{colon}a  b\r\n\r\nHello\r\n".encode()
        for colon in (":", " \t: \t")
    )
    assert parts(signed(plain))[0] == parts(signed(old))[0]


@given(body=BODY)
def test_the_relaxed_body_is_the_one_of_dkimpy(body: bytes) -> None:
    """RFC 6376 §3.4.4, on all that blanks and line ends can do."""
    relaxed = relaxed_body(body)
    assert relaxed == Relaxed.canonicalize_body(body)
    assert relaxed_body(relaxed) == relaxed


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        # RFC 6376 §3.4.5, example 1
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
        (b"", b""),
        (b"\r\n", b""),
        (b" \t\r\n\r\n", b""),
        (b"a", b"a\r\n"),
        # On the wire the last line has its end, and the blank before it does not count.
        (b"a ", b"a\r\n"),
    ],
)
def test_relaxed_bodies(body: bytes, relaxed: bytes) -> None:
    """The examples of the standard, and the ends of a body."""
    assert relaxed_body(body) == relaxed
    raw = b"From: notes@example.org\r\n\r\n" + body
    found = tags(parts(signed(raw))[0][0])["bh"]
    assert found == base64.b64encode(hashlib.sha256(relaxed).digest()).decode()


def test_a_known_body_hash() -> None:
    """The hash of the body that the appendix of RFC 8463 signs."""
    body = b"Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n"
    found = tags(parts(signed(b"From: joe@example.org\r\n\r\n" + body))[0][0])
    assert found["bh"] == "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="


def test_what_a_signature_says(full: bytes) -> None:
    """Its algorithm, forms, domain, selector and time; no length, so that nothing can follow."""
    rsa, ed25519 = (tags(each) for each in parts(full)[0])
    assert rsa | {"h": "", "bh": "", "b": ""} == {
        "v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "example.org", "s": "s1",
        "t": str(int(AT.timestamp())), "bh": "", "h": "", "b": "",
    }  # fmt: skip
    assert ed25519["a"] == "ed25519-sha256"
    assert {**ed25519, "a": rsa["a"], "s": rsa["s"], "b": rsa["b"]} == rsa


def test_all_fields_of_ours_are_signed(full: bytes) -> None:
    """Each field that a mail of ours has, and From once more than it is there."""
    names = tags(parts(full)[0][0])["h"].split(":")
    there = {each.partition(b":")[0].decode() for each in parts(full)[1]}
    assert there == {*HEADER_NAMES, UNSIGNED}
    assert {name.lower() for name in HEADER_NAMES} <= set(names)
    assert names.count("from") == 2
    assert UNSIGNED.lower() not in names


def test_signatures_are_readable(full: bytes) -> None:
    """A signature is a field of short lines, which the standard library reads."""
    mail = email.message_from_bytes(full, policy=policy.default)
    assert len(mail.get_all("DKIM-Signature")) == 2
    assert mail.defects == []
    lines = full.partition(b"\r\nFrom:")[0].split(b"\r\n")
    assert max(map(len, lines)) <= 78


def test_every_change_of_a_word_of_a_signed_field_fails(full: bytes) -> None:
    """Each word of each field, changed, taken away or doubled, breaks both signatures."""
    tried = 0
    for mail in changed_words(full, but={UNSIGNED}):
        assert not passes(mail, *BOTH) and not passes(mail, *BOTH, number=1), mail
        tried += 1
    assert tried > 100


def test_no_signed_field_can_be_taken_away(full: bytes) -> None:
    """A mail without one of its signed fields fails."""
    signatures, fields, body = parts(full)
    for number, field in enumerate(fields):
        mail = joined(signatures, fields[:number] + fields[number + 1 :], body)
        assert passes(mail, *BOTH) == field.startswith(UNSIGNED.encode()), field


@pytest.mark.parametrize("field", [
    b"From: Eve <eve@example.org>\r\n", b"To: all@example.net\r\n", b"Cc: all@example.net\r\n",
    b"Subject: Win\r\n", b"Reply-To: eve@example.net\r\n", b"Date: Mon, 02 Mar 2026 12:00:00 Z\r\n",
    b"Message-ID: <d2@example.org>\r\n", b"MIME-Version: 1.0\r\n", b"Content-Type: text/html\r\n",
    b"List-Unsubscribe: <https://example.net/>\r\n", b"List-Id: <a.example.net>\r\n",
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
])  # fmt: skip
@pytest.mark.parametrize("above", [True, False])
def test_what_readers_act_upon_cannot_be_added(full: bytes, field: bytes, above: bool) -> None:
    """A second field of those that are sealed breaks the signature, wherever it is put."""
    signatures, fields, body = parts(full)
    more = [field, *fields] if above else [*fields, field]
    assert not passes(joined(signatures, more, body), *BOTH)


def test_fields_that_were_not_there_cannot_be_added() -> None:
    """A mail without Reply-To and Cc gets none on its way."""
    signatures, fields, body = parts(
        signed(build(Written(), replace(FULL, reply_to=None, checkpoint=None)))
    )
    assert passes(joined(signatures, fields, body), RSA)
    for field in (b"Reply-To: eve@example.net\r\n", b"Cc: all@example.net\r\n"):
        assert not passes(joined(signatures, [field, *fields], body), RSA)


def test_what_relays_add_does_no_harm(full: bytes) -> None:
    """Trace fields, a relay's own Feedback-ID and another folding leave the signatures good."""
    signatures, fields, body = parts(full)
    refolded = [re.sub(rb" +", rb"\r\n\t ", each.replace(b"\r\n ", b" ")) for each in fields]
    more = [b"Received: by relay\r\n", b"Feedback-ID: relay\r\n", *refolded]
    mail = joined(signatures, more, body.replace(b"\r\n", b" \t\r\n") + b"\r\n\r\n")
    assert all_pass(mail, BOTH)


def test_every_change_of_a_byte_of_the_body_fails(full: bytes) -> None:
    """Each byte of the body, changed or taken away, breaks the signatures; more text does too."""
    for mail in changed_bytes(full):
        assert not passes(mail, *BOTH) and not passes(mail, *BOTH, number=1), mail
    assert not passes(full + b"More.\r\n", *BOTH)


def test_a_signature_is_bound_to_all_that_it_says(full: bytes) -> None:
    """No tag of a signature can be changed: time, domain, selector, fields, forms."""
    signatures, fields, body = parts(full)
    for old, new in [
        (b"t=1772366400", b"t=1772366401"), (b"s=s1", b"s=e1"), (b"d=example.org", b"d=org"),
        (b"h=from:", b"h="), (b"relaxed/relaxed", b"relaxed/simple"), (b"v=1", b"v=1; l=0"),
        (b"from:from", b"from:FROM"),
    ]:  # fmt: skip
        assert old in signatures[0]
        mail = joined([signatures[0].replace(old, new, 1)], fields, body)
        assert not passes(mail, *BOTH), new


def test_the_same_mail_and_time_give_the_same_bytes() -> None:
    """A mail that is tried again is the same mail, whatever the time zone says it in."""
    raw = build(Written(), FULL)
    signer = Signer(BOTH)
    first = signer.headers(raw, at=AT)
    assert Signer(BOTH).headers(raw, at=AT.astimezone(timezone(timedelta(hours=2)))) == first
    assert signer.headers(raw, at=AT + timedelta(seconds=1)) != first
    assert signer.headers(raw, at=datetime(2026, 3, 1, 12, 0, 0, 999, tzinfo=UTC)) == first


@pytest.mark.parametrize(
    ("sender", "domains"),
    [
        ("notes@example.org", ["example.org", "example.org"]),
        ("notes@EXAMPLE.ORG", ["example.org", "example.org"]),
        ("notes@news.example.org", ["news.example.org", "example.org", "example.org"]),
        ("notes@deep.news.example.org", ["news.example.org", "example.org", "example.org"]),
        ("notes@badexample.org", []),
        ("notes@org", []),
        ("notes@example.org.evil.example", []),
        ("notes@bücher.example", ["xn--bcher-kva.example"]),
        ('"notes@badexample.org" <notes@example.org>', ["example.org", "example.org"]),
        ('"a\\"@badexample.org <b" <notes@example.org>', ["example.org", "example.org"]),
        ("notes (@badexample.org) <notes@example.org>", ["example.org", "example.org"]),
        ("notes", []),
        ("", []),
    ],
)
def test_keys_sign_for_their_domain_and_those_below(sender: str, domains: list[str]) -> None:
    """Relaxed alignment: one signature for each key of the From domain or one above it."""
    keys = [
        key("n", "news.example.org", "ed25519"),
        key("s2", algorithm="ed25519"),
        key("i", "bücher.example", "ed25519"),
        ED25519,
    ]
    raw = f"From: {sender}\r\nSubject: x\r\n\r\nHello\r\n".encode()
    mail = signed(raw, *keys)
    assert [tags(each)["d"] for each in parts(mail)[0]] == domains
    assert all(passes(mail, *keys, number=number) for number in range(len(domains)))


def test_several_selectors_give_several_signatures() -> None:
    """While a key is replaced, mails carry the old and the new one's, in the order given."""
    keys = [key("s2", algorithm="ed25519"), RSA, ED25519]
    mail = signed(build(Written(), FULL), *keys)
    assert [tags(each)["s"] for each in parts(mail)[0]] == ["s2", "s1", "e1"]
    assert all_pass(mail, keys)
    # Each stands by itself: a receiver that finds one record only verifies that one.
    assert passes(mail, RSA, number=1) and not passes(mail, RSA, number=0)


@pytest.mark.parametrize(
    "head",
    [b"", b"Subject: x\r\n", b"From: a@example.org\r\nSubject: x\r\nfrom : b@example.org\r\n"],
)
def test_a_mail_needs_one_from_field(head: bytes) -> None:
    """What could be read as somebody else's mail is not signed."""
    with pytest.raises(BadInput) as caught:
        signed(head + b"\r\nHello\r\n")
    assert caught.value.field == "From"


def test_long_names_of_domains_stay_on_their_lines() -> None:
    """A long domain and selector, and all of a large key's signature, make a valid field."""
    domain = ".".join(["a" * 60, "b" * 60, "c" * 50, "example"])
    long = key("s" * 60, domain, "ed25519")
    raw = f"From: notes@{domain}\r\n\r\nHello\r\n".encode()
    mail = signed(raw, long)
    assert passes(mail, long)
    assert max(map(len, mail.split(b"\r\n"))) < 998
