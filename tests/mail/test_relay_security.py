"""Encryption and login: before anything else is said, and never skipped."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from relaying import accepted, hand_over, mail, pool_to, read_until, run, until, up_to_the_body

from newsletter.errors import ConfigError
from newsletter.mail.pool import Pool
from newsletter.mail.sink import Login, Sink
from newsletter.mail.tls import client_context
from newsletter.mail.transport import Done, RelayProblem, Unknown

ME = Login("me", "s3cret")


@pytest.mark.parametrize("pipelining", [True, False])
def test_starttls_with_a_certificate_that_is_believed(
    pipelining: bool, raw: bytes, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """smtp+starttls encrypts before anything else is said, and logs in after it."""
    with (
        Sink(tls=server_tls, login=ME, pipelining=pipelining) as sink,
        pool_to(
            sink, security="starttls", user="me", password="s3cret", tls=client_tls, size=2
        ) as pool,
    ):
        ends = run(pool, [mail(raw * 50, f"r{number}@example.org") for number in range(9)])
        assert all(map(accepted, ends.values()))
        assert [found.raw for found in sink.received] == [raw * 50] * 9
        assert sink.connections == 2


def refused(pool: Pool, raw: bytes) -> RelayProblem:
    """The problem that handing a mail over meets."""
    result = hand_over(pool, raw)
    assert isinstance(result, RelayProblem)
    return result


def test_a_certificate_that_is_not_believed(
    raw: bytes, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Nothing is said to a relay that cannot prove who it is, be it unknown to all authorities or
    another one than was asked for; the error says why."""
    with Sink(tls=server_tls) as sink:
        with pool_to(sink, security="starttls") as pool:
            problem = refused(pool, raw)
            assert problem.stage == "starttls"
            assert "certificate is not believed" in str(problem)
        with pool_to(sink, security="starttls", host="localhost", tls=client_tls) as pool:
            assert "not valid for 'localhost'" in str(refused(pool, raw))
        assert sink.received == []


def test_a_certificate_that_expired(raw: bytes, expired_tls: ssl.SSLContext) -> None:
    """It is not believed either, by whoever would believe its maker."""
    file = str(expired_tls.certificate_file)  # type: ignore[attr-defined]
    with (
        Sink(tls=expired_tls) as sink,
        pool_to(sink, security="starttls", tls=client_context("check", file)) as pool,
    ):
        problem = refused(pool, raw)
        assert problem.stage == "starttls"
        assert "expired" in str(problem)
        assert sink.received == []


def test_certificates_by_the_settings(
    raw: bytes, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """smtp_ca_file believes those in the file, smtp_certificate = "ignore" anybody; a file that
    cannot be read is an error with its name."""
    file = str(server_tls.certificate_file)  # type: ignore[attr-defined]
    with Sink(tls=server_tls) as sink:
        for context in (client_context("check", file), client_context("ignore")):
            assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
            with pool_to(sink, security="starttls", tls=context) as pool:
                assert accepted(hand_over(pool, raw))
    (tmp_path / "no.pem").write_text("nothing")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=name):
            client_context("check", str(tmp_path / name))


@pytest.mark.parametrize("said", [None, "454 4.7.0 not now", "drop", "silence", "what?"])
def test_starttls_is_never_skipped(said: str | None, raw: bytes) -> None:
    """A relay without STARTTLS, or one that will not, gets no mail: no fall-back to plain text."""
    with (
        Sink(reply=lambda at, _: said if at == "starttls" else None) as sink,
        pool_to(sink, security="starttls", timeout=0.2 if said == "silence" else 5) as pool,
    ):
        assert refused(pool, raw).stage == "starttls"
        assert sink.received == []


@pytest.mark.parametrize("then", ["fails", "ends", "stalls"])
def test_a_handshake_that_fails(then: str, raw: bytes, relay: Callable[..., int]) -> None:
    """What is no TLS after the 220, a cut, or nothing at all: no mail, no plain text, in time."""
    rest = b""

    def behave(connection: socket.socket) -> None:
        nonlocal rest
        connection.sendall(b"220 relay\r\n")
        read_until(connection, b"\r\n")
        connection.sendall(b"250-relay\r\n250 STARTTLS\r\n")
        read_until(connection, b"\r\n")
        connection.sendall(b"220 go\r\n")
        rest = connection.recv(10_000)
        if then == "fails":
            connection.sendall(b"220 I do not speak TLS\r\n")
        if then == "stalls":
            read_until(connection, b"never")

    with pool_to(relay(behave), security="starttls", timeout=0.3) as pool:
        assert refused(pool, raw).stage == "starttls"
    assert rest.startswith(b"\x16\x03")  # a ClientHello, and nothing before it


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

    with pool_to(relay(behave), security="starttls", tls=client_tls) as pool:
        assert refused(pool, raw).stage == "starttls"


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

    port = relay(behave)
    with pool_to(port, security="tls", tls=client_tls) as pool:
        assert accepted(hand_over(pool, raw))
        pool.close()
    assert len(mails) == 1
    with pool_to(port, security="tls") as pool:
        problem = refused(pool, raw)
    assert problem.stage == "connect"
    assert "certificate" in str(problem)


def test_a_cut_in_the_encryption(
    raw: bytes, relay: Callable[..., int], client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """An encrypted stream that ends, or holds what is none, is a broken line: half a yes to the
    dot is no yes."""
    for cut in (b"", b"\x00 not TLS at all \x00\x00"):

        def behave(connection: socket.socket, cut: bytes = cut) -> None:
            with server_tls.wrap_socket(connection, server_side=True) as encrypted:
                up_to_the_body(encrypted)
                read_until(encrypted, b"\r\n.\r\n")
                encrypted.sendall(b"250 2.0.0 ta")
                plain = socket.socket(fileno=encrypted.detach())
                with plain:
                    plain.sendall(cut)

        with pool_to(relay(behave), security="tls", tls=client_tls) as pool:
            assert isinstance(hand_over(pool, raw), Unknown)


@pytest.mark.parametrize(
    ("methods", "password"),
    [(("PLAIN",), "s3cret"), (("LOGIN",), "s3cret"), (("LOGIN", "PLAIN", "X"), "s3crét % /"),
     (("PLAIN", "LOGIN"), "x" * 600)],
)  # fmt: skip
def test_logging_in(methods: tuple[str, ...], password: str, raw: bytes) -> None:
    """AUTH PLAIN or LOGIN, whichever the relay has; the password may hold any letters, and may be
    longer than a line."""
    with (
        Sink(login=Login("me", password, methods)) as sink,
        pool_to(sink, user="me", password=password) as pool,
    ):
        assert accepted(hand_over(pool, raw))


@pytest.mark.parametrize("methods", [("PLAIN",), ("LOGIN",)])
@pytest.mark.parametrize("password", ["letmein", "gehe1m-ö"])
def test_a_wrong_password_is_about_us(password: str, methods: tuple[str, ...], raw: bytes) -> None:
    """A failed login is permanent, names its stage, and does not tell the password."""
    with (
        Sink(login=Login("me", "s3cret", methods)) as sink,
        pool_to(sink, user="me", password=password) as pool,
    ):
        problem = refused(pool, raw)
        assert (problem.stage, problem.permanent) == ("auth", True)
        assert password not in str(problem)
        assert (sink.received, sink.connections) == ([], 1)


@pytest.mark.parametrize("said", ["454 4.7.0 not now", "421 4.3.2 later", "drop", "334 more?"])
def test_a_login_that_does_not_work_now(said: str, raw: bytes) -> None:
    """A relay that cannot check a login just now is tried again; it is nobody's failure."""
    with (
        Sink(login=ME, reply=lambda at, _: said if at == "auth" else None) as sink,
        pool_to(sink, user="me", password="s3cret") as pool,
    ):
        problem = refused(pool, raw)
        assert (problem.stage, problem.permanent) == ("auth", False)
        sink.reply = None
        assert accepted(hand_over(pool, raw))


def test_a_relay_without_login(sink: Sink, raw: bytes) -> None:
    """A user is set but the relay offers no login that we know: said as such."""
    with pool_to(sink, user="me", password="x") as pool:
        assert refused(pool, raw).stage == "auth"
    with (
        Sink(login=Login("me", "x", ("CRAM-MD5",))) as other,
        pool_to(other, user="me", password="x") as pool,
    ):
        assert "neither AUTH PLAIN nor AUTH LOGIN" in str(refused(pool, raw))
    with pool_to(sink, user="m\0e", password="x") as pool:
        assert "NUL" in str(refused(pool, raw))


def test_a_stalled_handshake_blocks_nobody(
    raw: bytes, relay: Callable[..., int], client_tls: ssl.SSLContext
) -> None:
    """While a relay does not go on with its TLS, the loop goes on with everything else."""

    def behave(connection: socket.socket) -> None:
        read_until(connection, b"never")

    with pool_to(relay(behave), security="tls", tls=client_tls, timeout=0.4) as pool:
        pool.offer(mail(raw))
        assert pool.poll(0.05) == []
        [event] = until(pool, bool)
        assert isinstance(event, Done)
        assert "no reply in time" in str(event.result)
