"""Encryption and login: before anything else is said, and never skipped."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from handing import hand_over, read_until, transport_to, up_to_the_body

from newsletter.config import SmtpServer
from newsletter.mail.sink import Login, Sink
from newsletter.mail.smtp import SmtpTransport
from newsletter.mail.transport import RelayProblem


def test_starttls_with_a_certificate_that_is_believed(
    raw: bytes, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """smtp+starttls encrypts before anything else is said, and logs in after it."""
    with Sink(tls=server_tls, login=Login("me", "s3cret")) as sink:
        transport = transport_to(
            sink, security="starttls", user="me", password="s3cret", tls=client_tls
        )
        hand_over(transport, raw)
        hand_over(transport, raw)
        transport.close()
        assert [mail.raw for mail in sink.received] == [raw, raw]


def test_a_certificate_that_is_not_believed(raw: bytes, server_tls: ssl.SSLContext) -> None:
    """Nothing is said to a relay that cannot prove who it is; the error says why."""
    with Sink(tls=server_tls) as sink:
        with pytest.raises(RelayProblem, match="certificate") as caught:
            hand_over(transport_to(sink, security="starttls"), raw)
        assert caught.value.stage == "starttls"
        assert sink.received == []


@pytest.mark.parametrize("said", [None, "454 4.7.0 not now", "drop"])
def test_starttls_is_never_skipped(said: str | None, raw: bytes) -> None:
    """A relay without STARTTLS, or one that will not, gets no mail: no fall-back to plain text."""
    with Sink(reply=lambda at, _: said if at == "starttls" else None) as sink:
        with pytest.raises(RelayProblem) as caught:
            hand_over(transport_to(sink, security="starttls"), raw)
        assert caught.value.stage == "starttls"
        assert sink.received == []


def test_what_was_said_before_the_encryption_does_not_count(
    raw: bytes, relay: Callable[..., int], client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """Replies slipped in behind the answer to STARTTLS are not taken for the relay's own."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(b"220 relay\r\n")
        read_until(connection, b"\r\n")
        connection.sendall(b"250-relay\r\n250 STARTTLS\r\n")
        read_until(connection, b"\r\n")
        connection.sendall(b"220 go\r\n250 slipped in\r\n")
        with server_tls.wrap_socket(connection, server_side=True) as encrypted:
            read_until(encrypted, b"never")

    server = SmtpServer("127.0.0.1", relay(behave), "starttls", None, None)
    with pytest.raises(RelayProblem) as caught:
        hand_over(SmtpTransport(server, 5, tls=client_tls), raw)
    assert caught.value.stage == "starttls"


def test_tls_from_the_first_byte(
    raw: bytes, relay: Callable[..., int], client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """smtps:// encrypts before the greeting."""
    mails: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        with server_tls.wrap_socket(connection, server_side=True) as encrypted:
            up_to_the_body(encrypted)
            mails.append(read_until(encrypted, b"\r\n.\r\n"))
            encrypted.sendall(b"250 2.0.0 taken\r\n")
            read_until(encrypted, b"QUIT\r\n")

    server = SmtpServer("127.0.0.1", relay(behave), "tls", None, None)
    transport = SmtpTransport(server, 5, tls=client_tls)
    hand_over(transport, raw)
    transport.close()
    assert len(mails) == 1
    with pytest.raises(RelayProblem, match="certificate"):
        hand_over(SmtpTransport(server, 5), raw)


@pytest.mark.parametrize("password", ["letmein", "gehe1m-ö"])
def test_a_wrong_password_is_about_us(password: str, raw: bytes) -> None:
    """A failed login is permanent, names its stage, and does not tell the password."""
    with Sink(login=Login("me", "s3cret")) as sink:
        with pytest.raises(RelayProblem) as caught:
            hand_over(transport_to(sink, user="me", password=password), raw)
        assert (caught.value.stage, caught.value.permanent) == ("auth", True)
        assert password not in str(caught.value)
        assert sink.received == []


def test_a_relay_without_login(sink: Sink, raw: bytes) -> None:
    """A user is set but the relay offers no login: said as such."""
    with pytest.raises(RelayProblem) as caught:
        hand_over(transport_to(sink, user="me", password="x"), raw)
    assert caught.value.stage == "auth"
