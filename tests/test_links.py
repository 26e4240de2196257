"""Links: one purpose each, good as long as they should be, and telling nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from newsletter.errors import BadLink, ExpiredLink
from newsletter.links import Links, Purpose

BASE = "https://news.example.org"
LINKS = Links(BASE, ("k" * 40,))
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
AT = datetime(2026, 3, 1, 12, 0, 0, 987654, tzinfo=UTC)
WEEK = timedelta(days=7)
ID = "0123456789abcdef0123"
IDS = st.lists(st.text(), max_size=3)
MOMENTS = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(IDS, st.sampled_from(PURPOSES))
def test_read_gives_what_was_named(ids: list[str], purpose: Purpose) -> None:
    """A link names what it was made for, whatever that is, and is plain ASCII without a slash."""
    token = LINKS.token(purpose, *ids, at=AT)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert LINKS.read(purpose, token, now=AT) == tuple(ids)


@given(IDS, st.sampled_from(PURPOSES), MOMENTS)
@example([ID], "unsubscribe", AT)
@example(["a" * 100], "confirm", AT)
@example(['"\\/', "ü\u2028"], "access", AT)
def test_tokens_are_those_of_itsdangerous(ids: list[str], purpose: Purpose, at: datetime) -> None:
    """Byte for byte, unless itsdangerous would compress, which it also reads without."""

    class SignerAt(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(at.timestamp())

    theirs = URLSafeTimedSerializer(
        ["k" * 40],
        salt=f"newsletter.{purpose}",
        signer=SignerAt,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
    ours = LINKS.token(purpose, *ids, at=at)
    made = theirs.dumps(ids)
    assert ours == made or made.startswith(".")
    assert theirs.loads(ours) == ids
    assert LINKS.read(purpose, made, now=at) == tuple(ids)


def test_url_is_made_of_base_url() -> None:
    """The address starts with base_url, whatever a request says of its host."""
    assert LINKS.url("confirm", ID, at=AT) == f"{BASE}/confirm/{LINKS.token('confirm', ID, at=AT)}"


@pytest.mark.parametrize("made", PURPOSES)
@pytest.mark.parametrize("read", PURPOSES)
def test_purposes_are_not_interchangeable(made: Purpose, read: Purpose) -> None:
    """A link that leaves cannot confirm, and one that opens preferences gives no access."""
    token = LINKS.token(made, ID, at=AT)
    if made == read:
        assert LINKS.read(read, token, now=AT) == (ID,)
    else:
        with pytest.raises(BadLink):
            LINKS.read(read, token, now=AT)


def test_other_installation() -> None:
    """A link of another installation, made with another key, is not ours."""
    token = Links(BASE, ("j" * 40,)).token("confirm", ID, at=AT)
    with pytest.raises(BadLink):
        LINKS.read("confirm", token, now=AT)


def test_rotated_key() -> None:
    """After a rotation old links stay good, and new ones are made with the new key only."""
    old = LINKS.token("unsubscribe", ID, at=AT)
    rotated = Links(BASE, ("k" * 40, "n" * 40))
    assert rotated.read("unsubscribe", old, now=AT) == (ID,)
    fresh = rotated.token("unsubscribe", ID, at=AT)
    assert Links(BASE, ("n" * 40,)).read("unsubscribe", fresh, now=AT) == (ID,)
    with pytest.raises(BadLink):
        LINKS.read("unsubscribe", fresh, now=AT)


def test_expiry() -> None:
    """A confirmation link is good for its time, to the second, and then says what it named."""
    token = LINKS.token("confirm", ID, at=AT)
    start = AT.replace(microsecond=0)
    assert LINKS.read("confirm", token, now=start + WEEK, good_for=WEEK) == (ID,)
    with pytest.raises(ExpiredLink) as caught:
        LINKS.read("confirm", token, now=start + WEEK + timedelta(seconds=1), good_for=WEEK)
    assert caught.value.payload == (ID,)


def test_unsubscribe_never_expires() -> None:
    """Without a limit a link of any age is good."""
    token = LINKS.token("unsubscribe", ID, at=datetime(1999, 1, 1, tzinfo=UTC))
    assert LINKS.read("unsubscribe", token, now=datetime(2099, 1, 1, tzinfo=UTC)) == (ID,)


def test_clock_set_back() -> None:
    """A clock that went back a little spoils no link; one from the far future is refused."""
    token = LINKS.token("confirm", ID, at=AT)
    assert LINKS.read("confirm", token, now=AT - timedelta(minutes=4), good_for=WEEK) == (ID,)
    with pytest.raises(ExpiredLink):
        LINKS.read("confirm", token, now=AT - timedelta(minutes=6), good_for=WEEK)
    # Leaving works even then.
    token = LINKS.token("unsubscribe", ID, at=AT)
    assert LINKS.read("unsubscribe", token, now=AT - timedelta(days=4000)) == (ID,)


def test_same_moment_same_token() -> None:
    """A mail sent again is the same mail: the token depends on its arguments only."""
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    assert LINKS.token("confirm", ID, at=AT) == LINKS.token("confirm", ID, at=elsewhere)
    assert LINKS.token("confirm", ID, at=AT) != LINKS.token("confirm", ID[::-1], at=AT)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_changed_character(purpose: Purpose) -> None:
    """Whichever character is changed, dropped or doubled: refused, or naming the very same.

    The last character of base64 has bits that mean nothing, so a few changes change nothing.
    """
    token = LINKS.token(purpose, ID, at=AT)
    for place, character in enumerate(token):
        for other in ("A", "b", "9", "-", "_", ".", "", character * 2, "\0", "\u00e9", "%"):
            changed = token[:place] + other + token[place + 1 :]
            if changed == token:
                continue
            try:
                assert LINKS.read(purpose, changed, now=AT) == (ID,)
                assert place == len(token) - 1
            except BadLink as error:
                assert not isinstance(error, ExpiredLink)


@given(st.text())
@example("")
@example("\ud800")
@example(f"{LINKS.token('confirm', ID, at=AT)}\ud800")
@example("a" * 100_000)
def test_any_text_is_a_bad_link(token: str) -> None:
    """Whatever comes as a link is refused, never a crash."""
    with pytest.raises(BadLink):
        LINKS.read("confirm", token, now=AT)


@pytest.mark.parametrize("cut", [1, 10, 27, 40])
def test_cut_link(cut: int) -> None:
    """A link that a mail program broke in two is told to be incomplete."""
    with pytest.raises(BadLink, match="not complete"):
        LINKS.read("confirm", LINKS.token("confirm", ID, at=AT)[:-cut], now=AT)


def test_nothing_to_read_in_it() -> None:
    """A link holds public ids and a time; in no form is there anything about a person."""
    token = LINKS.token("preferences", ID, at=AT)
    payload = token.split(".")[0]
    assert base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)) == f'["{ID}"]'.encode()
