"""The beginning of a connection without a network: cut anywhere, and said by anybody."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.config import SmtpServer
from newsletter.mail.envelope import Extensions
from newsletter.mail.greeting import Greeting

PLAIN = SmtpServer("relay.example.org", 25, "none", None, None)
ALL = SmtpServer("relay.example.org", 587, "starttls", "me", "s3cret")


def talk(server: SmtpServer, answers: list[bytes], piece: int = 10**6) -> tuple[Greeting, bytes]:
    """Let a relay give its answers, each in pieces of this length; what we said to them."""
    greeting = Greeting(server, "me.example.org", 60, 0.0)
    said = greeting.out
    for answer in answers:
        for at in range(0, len(answer), piece):
            greeting.receive(answer[at : at + piece], 0.0)
        if greeting.wants_tls:
            said += b"(TLS)"
            greeting.encrypted(0.0)
        said += greeting.out
        greeting.out = b""
        if greeting.problem or greeting.extensions:
            break
    return greeting, said


@pytest.mark.parametrize("piece", [1, 7, 10**6])
def test_all_of_it(piece: int) -> None:
    """EHLO, STARTTLS, EHLO, AUTH; what was offered before the encryption counts no more."""
    greeting, said = talk(
        ALL,
        [b"220-relay\r\n220 ready\r\n", b"250-relay\r\n250-SMTPUTF8\r\n250 StartTLS\r\n",
         b"220 go\r\n", b"250-relay\r\n250-size 1000\r\n250-pipelining\r\n250 auth plain\r\n",
         b"235 welcome\r\n"],
        piece,
    )  # fmt: skip
    login = b64encode(b"\0me\0s3cret")
    assert said == (
        b"EHLO me.example.org\r\nSTARTTLS\r\n(TLS)EHLO me.example.org\r\nAUTH PLAIN "
        + login
        + b"\r\n"
    )
    assert greeting.extensions == Extensions(pipelining=True, size=1000, smtputf8=False)
    assert greeting.problem is None


@pytest.mark.parametrize(
    ("line", "extensions"),
    [(b"SIZE", Extensions(size=0)), (b"SIZE 0", Extensions(size=0)), (b"HELP", Extensions()),
     (b"SIZE 12", Extensions(size=12)), (b"SIZE x", Extensions(size=0)),
     (b"SIZE " + b"9" * 5000, Extensions(size=0)), (b"SMTPUTF8", Extensions()),
     (b"8BITMIME\r\n250-SMTPUTF8", Extensions(smtputf8=True))],
)  # fmt: skip
def test_what_is_offered(line: bytes, extensions: Extensions) -> None:
    """SIZE without a number is no limit, one without end is none either; SMTPUTF8 needs
    8BITMIME."""
    greeting, _ = talk(PLAIN, [b"220 relay\r\n", b"250-relay\r\n250-" + line + b"\r\n250 OK\r\n"])
    assert greeting.extensions == extensions


def test_a_login_that_takes_two_ways() -> None:
    """Where AUTH PLAIN is not good for this user, LOGIN is tried; where the password is wrong, it
    is not."""
    start = [b"220 relay\r\n", b"250-relay\r\n250 AUTH PLAIN LOGIN\r\n"]
    server = SmtpServer("relay.example.org", 25, "none", "me", "s3cret")
    greeting, said = talk(
        server, [*start, b"534 5.7.9 too weak\r\n", b"334 a\r\n", b"334 b\r\n", b"235 ok\r\n"]
    )
    assert greeting.extensions is not None
    assert said.endswith(b"AUTH LOGIN\r\nbWU=\r\nczNjcmV0\r\n")
    greeting, said = talk(server, [*start, b"535 5.7.8 no\r\n"])
    assert greeting.problem is not None
    assert b"LOGIN" not in said


@given(
    noise=st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"220 hi\r\n", b"250 ok\r\n", b"334 \r\n", b"250-AUTH PLAIN LOGIN\r\n"]),
        max_size=9,
    ),
    server=st.sampled_from([PLAIN, ALL]),
)
def test_noise(noise: list[bytes], server: SmtpServer) -> None:
    """Bytes of any kind are a problem, an answer, or waited out; never an error of ours, and never
    a way around the encryption."""
    greeting, said = talk(server, noise)
    if not (greeting.problem or greeting.extensions):
        greeting.expire()
        assert greeting.problem is not None
    if server is ALL:
        assert b"AUTH" not in said or b"(TLS)" in said
        assert greeting.extensions is None or b"AUTH" in said
