"""A digest's mail by the fast way is the one by the slow way, byte for byte."""

from __future__ import annotations

import email
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from functools import cache
from typing import Any

import pytest
from freezing import LOOKING, NAMED, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from newsletter.errors import BadInput
from newsletter.links import Links
from newsletter.mail.fields import Headers, date_value, wire_address
from newsletter.mail.frozen import FrozenLetter, greeting
from newsletter.mail.message import build
from newsletter.mail.skeleton import Skeleton

BASE = "https://news.example.org"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTE = "news.example.org/consent-log\n1\nqqqq\n\n— news.example.org/consent-log zzzz\n"
OLD: dict[str, Any] = {
    "version": 1,
    "content": {"language": "en"},
    "subject": "News for t1",
    "text": "t2",
    "html": '<p>t2</p>t2 <a href="t3">.t1</a>',
    "slots": {"name": "t1", "greeting": "t2", "unsubscribe_url": "t3"},
}
KINDS = ("installed", "installed, ar", "installed, de", "named", "version 1")


@cache
def letter(kind: str) -> FrozenLetter:
    """The frozen letter of a digest of some kind."""
    if kind == "version 1":
        return FrozenLetter(OLD)
    if kind == "named":
        return FrozenLetter(frozen("fr", NAMED))
    subject = {"installed, ar": "الغابة في مارس", "installed, de": "Der Wald im März, und was dort "
               "wächst, blüht, singt und summt"}.get(kind, "The wood in March")  # fmt: skip
    return FrozenLetter(frozen(kind.partition(", ")[2] or "en", subject=subject, checkpoint=NOTE))


def headers(kind: str, base_url: str, **over: Any) -> Headers:
    """Those of a digest's mail; what is one reader's is to be replaced."""
    values: dict[str, Any] = {
        "from_name": "Field Notes",
        "from_address": "notes@example.org",
        "to_address": "reader@example.org",
        "message_id": "<1@example.org>",
        "date": datetime(2000, 1, 1, tzinfo=UTC),
        "list_id": "field-notes.news.example.org",
        "list_title": "Field Notes",
        "list_unsubscribe_url": f"{base_url}/unsubscribe/1",
        "feedback_id": "abc:field-notes:digest:news-abcde",
        "checkpoint": letter(kind).checkpoint,
        "language": letter(kind).language,
        "series": letter(kind).series,
    }
    return Headers(**{**values, **over})


NAMES = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.text("<>&\"' .=From\n\x85", max_size=90),
    st.sampled_from(["Ada", "Ada Lovelace", "Jörg Müller", "美咲", "From me", "t2", "𝒳" * 40]),
)
DOMAINS = st.sampled_from(["example.org", "Sub.Example.net", "bücher.example", "例え.テスト"])
LOCAL_PARTS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_+-]{1,20}(\.[a-z0-9+]{1,10}){0,2}", fullmatch=True),
    st.sampled_from(["ada", "o'hara", "a=b", "{x}", "jörg", "üñï.çødé", "a" * 64]),
)
ADDRESSES = st.tuples(LOCAL_PARTS, DOMAINS).map("@".join)
BASES = st.sampled_from(
    ["https://news.example.org", "http://[::1]:8000/a", f"https://{'x' * 90}.eu"]
)
MOMENTS = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
IDS = st.text("0123456789abcdef", min_size=20, max_size=20)
OVER = st.sampled_from(
    [
        {},
        {"idempotency": ("X-Relay-Key", "1"), "reply_to": "jörg@bücher.example"},
        {"list_unsubscribe_mailto": "leave@example.org", "feedback_id": None, "from_name": "Å, B"},
        {"list_unsubscribe_mailto": "https://news.example.org/@x", "series": None},
    ]
)


@given(
    kind=st.sampled_from(KINDS),
    name=NAMES,
    address=ADDRESSES,
    base_url=BASES,
    at=MOMENTS,
    public_id=IDS,
    over=OVER,
)
@example("named", None, "a@example.org", BASE, NOON, "0" * 20, {})
@example("named", "=?utf-8?q?x?=", "ö@example.org", BASE, NOON, "0" * 20, {})
@example("installed", "x" * 200, "a@example.org", BASE, NOON, "0" * 20, {})
@settings(max_examples=300)
def test_the_fast_way_gives_the_same_bytes(
    kind: str,
    name: str | None,
    address: str,
    base_url: str,
    at: datetime,
    public_id: str,
    over: dict[str, Any],
) -> None:
    """Over names of any letters, languages, templates, links, and addresses with and without
    international domains and local parts."""
    links = Links(base_url, ("k" * 40,))
    shared = headers(kind, base_url, **over)
    url = links.url("unsubscribe", public_id, at=at)
    values = {
        "name": name or "",
        "greeting": greeting(name, shared.language or "en"),
        "address": address,
        "unsubscribe_url": url,
        "preferences_url": links.url("preferences", public_id[::-1], at=at),
    }
    message_id = f"<{public_id}@example.org>"
    slow = build(
        letter(kind).fill(values),
        replace(
            shared,
            to_address=address,
            message_id=message_id,
            date=at,
            list_unsubscribe_url=url,
            idempotency=("X-Relay-Key", public_id) if shared.idempotency else None,
            # Without a series the boundary is of one mail; the skeleton's are all of its first.
            series=shared.series or shared.message_id,
        ),
    )
    assert slow == Skeleton(letter(kind), shared).fill(
        to_address=wire_address(address),
        date=date_value(at),
        message_id=message_id,
        unsubscribe_url=url,
        key=public_id,
        values=values,
    )


VALUES = {
    "name": "Ada",
    "greeting": "Hello Ada,",
    "address": "ada@example.org",
    "unsubscribe_url": "https://news.example.org/unsubscribe/1",
    "preferences_url": "https://news.example.org/preferences/1",
}
ONE: dict[str, Any] = {
    "to_address": "ada@example.org",
    "date": date_value(NOON),
    "message_id": "<1@example.org>",
    "unsubscribe_url": "https://news.example.org/unsubscribe/1",
    "key": "1",
    "values": VALUES,
}


def test_one_reader_is_not_seen_by_the_next() -> None:
    """A skeleton that was filled in for somebody is as it was before."""
    skeleton = Skeleton(letter("named"), headers("named", BASE))
    first = skeleton.fill(**ONE)
    other = skeleton.fill(**{**ONE, "values": dict.fromkeys(VALUES, "https://x.example/")})
    assert b"Ada" not in other
    assert skeleton.fill(**ONE) == first


def test_only_the_values_differ() -> None:
    """Two readers' mails have all other lines in common, the boundary too."""
    skeleton = Skeleton(letter("installed"), headers("installed", BASE))
    ada, bob = (
        skeleton.fill(**{**ONE, "to_address": f"{name}@example.org",
                         "values": {**VALUES, "greeting": f"Hello {name},"}}).split(b"\r\n")
        for name in ("ada", "bob")
    )  # fmt: skip
    assert len(ada) == len(bob)
    differ = [(one, two) for one, two in zip(ada, bob, strict=True) if one != two]
    assert differ == [
        (b"To: ada@example.org", b"To: bob@example.org"),
        (b"Hello ada,=", b"Hello bob,="),
        (b"Hello ada,=", b"Hello bob,="),
    ]


def test_a_mail_program_reads_it() -> None:
    """The standard library finds the fields, both parts, and the reader's words in them."""
    raw = Skeleton(letter("named"), headers("named", BASE)).fill(**ONE)
    mail: Any = email.message_from_bytes(raw, policy=policy.default)  # type: ignore[arg-type]
    assert mail["Subject"] == "Ada, The wood in March"
    assert mail["Feedback-ID"] == "abc:field-notes:digest:news-abcde"
    text = mail.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert text.startswith("AdaHello Ada,\n.ada@example.orghttps://news.example.org/unsub")
    assert '<p title="Ada"' in mail.get_body(("html",)).get_content()
    assert not mail.defects


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("to_address", "a@example.org\r\nBcc: eve@example.org"),
        ("to_address", "a@example.org, eve@example.org"),
        ("to_address", "a@example.org\u2028x"),
        ("to_address", ""),
        ("message_id", "1@example.org"),
        ("message_id", "<1@example.org>\r\nX: y"),
        ("unsubscribe_url", "https://news.example.org/>, <https://evil.example"),
        ("unsubscribe_url", "javascript:alert(1)"),
        ("unsubscribe_url", "https://news.example.org/" + "a" * 1000),
        ("key", "1\n2"),
    ],
)
def test_the_last_look_at_what_stands_in_a_field(place: str, value: str) -> None:
    """What could end a field, or be two, is refused, whoever promised that it was checked."""
    skeleton = Skeleton(letter("installed"), headers("installed", BASE))
    with pytest.raises(BadInput):
        skeleton.fill(**{**ONE, place: value})


def test_what_no_mail_can_be_made_of_is_said_at_once() -> None:
    """A field that cannot be written is an error before the first reader's turn."""
    with pytest.raises(BadInput, match="Feedback-ID"):
        Skeleton(letter("installed"), headers("installed", BASE, feedback_id="a:b:c:d e"))
    with pytest.raises(BadInput, match="idempotency"):
        Skeleton(letter("installed"), headers("installed", BASE, idempotency=("Subject", "1")))


def test_a_digest_that_looks_at_its_readers_has_no_skeleton() -> None:
    """It is rendered for each; to fill it in would be wrong."""
    looking = FrozenLetter(frozen(templates=LOOKING))
    assert looking.text is None
    with pytest.raises(ValueError, match="no skeleton"):
        Skeleton(looking, headers("installed", BASE))
