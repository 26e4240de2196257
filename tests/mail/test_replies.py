"""Replies cut out of a stream: the same however it is cut, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import BadInput
from newsletter.mail.replies import MAX_LINE, MAX_LINES, NotSmtp, Replies, readable
from newsletter.mail.transport import Offer

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
reply = st.tuples(
    st.integers(200, 599),
    st.lists(words.map(str.encode), min_size=1, max_size=4),
    st.sampled_from([b"\r\n", b"\n"]),
)


def spelled(code: int, lines: list[bytes], end: bytes) -> bytes:
    head = str(code).encode()
    return b"".join(head + b"-" + line + end for line in lines[:-1]) + head + b" " + lines[-1] + end


def read(stream: bytes, pieces: list[int]) -> list[tuple[int, bytes]]:
    replies = Replies()
    found = []
    while stream:
        replies.add(stream[: pieces[0]])
        stream, pieces = stream[pieces[0] :], [*pieces[1:], pieces[0]]
        while (one := replies.next()) is not None:
            found.append(one)
    assert not replies.pending
    return found


@given(said=st.lists(reply, max_size=4), pieces=st.lists(st.integers(1, 50), min_size=1))
def test_the_same_however_cut(
    said: list[tuple[int, list[bytes], bytes]], pieces: list[int]
) -> None:
    """All codes and texts come out, of one line or several, in any pieces."""
    stream = b"".join(spelled(*each) for each in said)
    wanted = [(code, b"\n".join(lines)) for code, lines, _ in said]
    assert read(stream, pieces) == read(stream, [10**6]) == wanted


@pytest.mark.parametrize(
    "said",
    [b"hello\r\n", b"\r\n", b"2500 x\r\n", b"199 x\r\n", b"600 x\r\n", b"25 x\r\n", b"250\tx\r\n",
     b"250-a\r\n251 b\r\n", b"250-a\r\nb\r\n", b"250-x\r\n" * (MAX_LINES + 1),
     b"250 " + b"x" * MAX_LINE + b"\r\n", b"x" * (MAX_LINE + 1)],
)  # fmt: skip
def test_what_is_no_reply(said: bytes) -> None:
    """Garbage, two codes in one reply, a line or a reply without end."""
    for pieces in ([10**6], [1], [4096]):
        with pytest.raises(NotSmtp):
            read(said, pieces)


def test_the_longest_that_is_one() -> None:
    """A hundred lines are a reply; a code alone is one, too."""
    said = b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n250\r\n"
    [(code, text), bare] = read(said, [1000])
    assert (code, text.count(b"x"), bare) == (250, MAX_LINES, (250, b""))


def test_a_reply_for_people() -> None:
    """Control characters, line ends and the like become blanks; the text has an end."""
    said = readable(550, b" 5.1.1 a\x1b[31m\nb\xe2\x80\xa8c\xff" + b"x" * 2000, "rcpt")
    assert said.text.startswith("5.1.1 a [31m b c\ufffd")
    assert (len(said.text), said.enhanced) == (500, "5.1.1")


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b".", b"\r\n", b"\0", b"\xc3"])).map(b"".join))
def test_bytes_that_are_no_mail(raw: bytes) -> None:
    """An offer's lines all end in CRLF, it has no NUL, and it is ASCII unless it says otherwise."""
    ends_well = raw.endswith(b"\r\n") and raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    for smtputf8 in (True, False):
        may = ends_well and b"\0" not in raw and (smtputf8 or raw.isascii())
        try:
            Offer(None, "a@example.org", "b@example.org", raw, smtputf8=smtputf8)
        except BadInput:
            assert not may
        else:
            assert may


@pytest.mark.parametrize(
    "address",
    ["", "ada", "@", "a@", "a b@c.org", "a@b.org>\r\nRCPT TO:<c@d.org", "a@b.org\0", "<a@b.org>",
     "a@b.org\n", "a@b\x7f.org", "jörg@example.org"],
)  # fmt: skip
def test_an_envelope_cannot_hold_a_command(address: str) -> None:
    """An address that could end its command early is refused before there is an offer, and one
    that needs SMTPUTF8 unless the offer says so."""
    for sender, recipient in (("a@example.org", address), (address, "a@example.org")):
        with pytest.raises(BadInput):
            Offer(None, sender, recipient, b"a: b\r\n\r\n", clean=True)
