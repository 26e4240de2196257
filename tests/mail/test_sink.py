"""The receiver that the demo and the other tests rely on, spoken to by hand."""

from __future__ import annotations

import base64
import contextlib
import smtplib
import socket
from pathlib import Path

import pytest

from newsletter.mail.sink import Login, Sink


def talk(sink: Sink, said: bytes) -> list[str]:
    """Everything said in one go; the replies until the sink hangs up."""
    with socket.create_connection(("127.0.0.1", sink.port), 10) as connection:
        connection.sendall(said)
        read = b""
        while piece := connection.recv(65536):
            read += piece
    return read.decode().splitlines()


MAIL = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"


def test_a_pipelined_conversation(sink: Sink) -> None:
    """RFC 2920: all commands at once, mails among them, are answered in order."""
    two = MAIL + b"Subject: 1\r\n\r\n..x\r\n.\r\n" + MAIL + b".\r\n"
    replies = talk(sink, b"EHLO me\r\n" + two + b"NOOP\r\nRSET\r\nQUIT\r\n")
    codes = [reply[:3] for reply in replies if reply[3] == " "]
    assert " ".join(codes) == "220 250 250 250 354 250 250 250 354 250 250 250 221"
    offers = {reply[4:].split()[0] for reply in replies if reply.startswith("250")}
    assert {"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE"} <= offers
    assert [mail.raw for mail in sink.received] == [b"Subject: 1\r\n\r\n.x\r\n", b""]


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r"])
def test_only_the_right_end_ends_a_mail(end: bytes, sink: Sink) -> None:
    """Looser ends, by which one mail becomes two in some receivers, are part of the mail."""
    talk(sink, b"EHLO me\r\n" + MAIL + b"x" + end + b"y\r\n.\r\nQUIT\r\n")
    assert [mail.raw for mail in sink.received] == [
        (b"x" + end + b"y\r\n").replace(b"\r\n.", b"\r\n")
    ]


def test_mails_in_pieces_and_together(sink: Sink) -> None:
    """However the network cuts the stream, the mails are the same."""
    said = b"EHLO me\r\n" + (MAIL + b"a: b\r\n\r\n.. .\r\nz\r\n.\r\n") * 3 + b"QUIT\r\n"
    with socket.create_connection(("127.0.0.1", sink.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in said:
            connection.sendall(bytes([byte]))
        while connection.recv(65536):
            pass
    assert [mail.raw for mail in sink.received] == [b"a: b\r\n\r\n. .\r\nz\r\n"] * 3


def test_wrong_turns_are_refused(sink: Sink) -> None:
    """Commands out of order, unknown or malformed get their 5yz, and nothing is received."""
    replies = talk(
        sink,
        b"RCPT TO:<b@example.org>\r\nDATA\r\nMAIL a@example.org\r\nWHAT\r\n__INIT__ x\r\n"
        b"MAIL FROM:<a@example.org>\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<>\r\nAUTH LOGIN\r\n"
        b"STARTTLS\r\n\r\nQUIT\r\n",
    )
    codes = [reply[:3] for reply in replies]
    assert " ".join(codes) == "220 503 503 501 500 500 250 503 501 504 503 500 221"
    assert sink.received == []


@pytest.mark.parametrize("said", [b"EHLO " + b"x" * 5000, b"x\r\n" * 100, b"\0" * 3000])
def test_commands_are_bounded(said: bytes, sink: Sink) -> None:
    """A line without end, or errors without end, end the connection."""
    with contextlib.suppress(ConnectionResetError):
        assert len(talk(sink, said)) < 30


def test_each_mail_is_a_file(tmp_path: Path) -> None:
    """The bytes as received, numbered; half a mail is never seen under its name."""
    folder = tmp_path / "mail" / "box"
    with Sink(folder) as sink:
        talk(sink, b"EHLO me\r\n" + (MAIL + b"x\r\n.\r\n") * 2 + b"QUIT\r\n")
    assert sorted(path.name for path in folder.iterdir()) == ["000001.eml", "000002.eml"]
    assert (folder / "000001.eml").read_bytes() == b"x\r\n"


def test_the_script_answers(sink: Sink) -> None:
    """The script sees each stage with its argument, and what it says is said."""
    seen: list[tuple[str, str]] = []

    def reply(stage: str, argument: str) -> str | None:
        seen.append((stage, argument))
        return "550 5.1.1 no" if argument == "eve@example.org" else None

    sink.reply = reply
    with smtplib.SMTP("127.0.0.1", sink.port, local_hostname="me") as client:
        refused = client.sendmail("a@example.org", ["b@example.org", "eve@example.org"], b"x\r\n")
    assert refused == {"eve@example.org": (550, b"5.1.1 no")}
    assert seen == [
        ("connect", ""), ("ehlo", "me"), ("mail", "a@example.org"), ("rcpt", "b@example.org"),
        ("rcpt", "eve@example.org"), ("data", "b@example.org"), ("dot", "b@example.org"),
    ]  # fmt: skip
    assert sink.received[0].recipients == ("b@example.org",)


def test_it_starts_and_stops(sink: Sink) -> None:
    """Both may be repeated; a stopped one hangs up, and a taken port is said at the start."""
    with socket.create_connection(("127.0.0.1", sink.port), 10) as connection:
        connection.recv(100)
        with pytest.raises(OSError):
            Sink(port=sink.port).start()
        assert sink.start() is sink
        sink.stop()
        sink.stop()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", sink.port), 10)


def test_what_a_script_can_say() -> None:
    """Late, byte by byte, without end, in the middle of a mail; what comes after it waits its
    turn."""
    said = {"mail": "after 0.05 250 late", "rcpt": "slowly 0.001 250 drop by drop"}
    with Sink(reply=lambda stage, _: said.get(stage)) as sink:
        replies = talk(sink, b"EHLO me\r\n" + MAIL + b"x\r\n.\r\nQUIT\r\n")
        assert replies[-5:] == [
            "250 late", "250 drop by drop", "354 go on, end with a dot", "250 2.0.0 taken",
            "221 2.0.0 bye",
        ]  # fmt: skip
        said = {"body": "552 too much"}
        with socket.create_connection(("127.0.0.1", sink.port), 10) as connection:
            connection.sendall(b"EHLO me\r\n" + MAIL + b"half")
            assert until(connection, b"552 too much\r\n")
        said = {"mail": "endless 250-more"}
        with socket.create_connection(("127.0.0.1", sink.port), 10) as connection:
            connection.sendall(b"EHLO me\r\n" + MAIL)
            assert until(connection, b"250-more\r\n" * 1000)


def until(connection: socket.socket, end: bytes) -> bool:
    read = b""
    while end not in read:
        piece = connection.recv(65536)
        if not piece:
            return False
        read += piece
    return True


def test_what_it_offers() -> None:
    """SIZE and the login's methods as told, PIPELINING and SMTPUTF8 unless told otherwise; both
    ways to log in, with their answers in the command or after it."""
    plain = base64.b64encode(b"\0me\0s3cret")
    user, password = base64.b64encode(b"me"), base64.b64encode(b"s3cret")
    with Sink(login=Login("me", "s3cret"), size=1000, pipelining=False, smtputf8=False) as sink:
        replies = talk(sink, b"EHLO me\r\nQUIT\r\n")
        assert {"250-SIZE 1000", "250 AUTH PLAIN LOGIN"} <= set(replies)
        assert not {"PIPELINING", "SMTPUTF8"} & {reply[4:] for reply in replies}
        for said in (b"PLAIN " + plain, b"PLAIN\r\n" + plain,
                     b"LOGIN\r\n" + user + b"\r\n" + password):  # fmt: skip
            replies = talk(sink, b"EHLO me\r\nAUTH " + said + b"\r\nQUIT\r\n")
            assert "235 2.7.0 welcome" in replies
        for said in (b"PLAIN !", b"PLAIN " + user, b"LOGIN\r\n!\r\n!", b"X"):
            replies = talk(sink, b"EHLO me\r\nAUTH " + said + b"\r\n" + MAIL + b"QUIT\r\n")
            assert "530 5.7.0 log in first" in replies
