"""Handing mails over, as the tests of the transport do it."""

from __future__ import annotations

import socket

from newsletter.config import SmtpServer
from newsletter.mail.sink import Sink
from newsletter.mail.smtp import SmtpTransport
from newsletter.mail.transport import Reply

SENDER, ADA = "bounces@example.org", "ada@example.org"


def transport_to(sink: Sink, timeout: float = 5, **over: object) -> SmtpTransport:
    server = SmtpServer("127.0.0.1", sink.port, "none", None, None)
    values = {name: over.pop(name) for name in ("security", "user", "password") if name in over}
    server = SmtpServer(**{**server.__dict__, **values})
    return SmtpTransport(server, timeout, **over)  # type: ignore[arg-type]


def hand_over(transport: SmtpTransport, raw: bytes, recipient: str = ADA) -> Reply:
    transport.offer(SENDER, recipient, raw)
    return transport.finish()


def read_until(connection: socket.socket, end: bytes) -> bytes:
    read = b""
    while end not in read:
        piece = connection.recv(65536)
        if not piece:
            return read
        read += piece
    return read


def up_to_the_body(connection: socket.socket) -> None:
    connection.sendall(b"220 relay\r\n")
    for said in (b"250 relay\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        read_until(connection, b"\r\n")
        connection.sendall(said)
