"""Each stage of handing a mail over, refused, cut and confused, against a real receiver."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from handing import ADA, SENDER, hand_over, read_until, transport_to, up_to_the_body

from newsletter.config import SmtpServer, smtp_server
from newsletter.errors import BadInput
from newsletter.mail.sink import Sink
from newsletter.mail.smtp import SmtpTransport
from newsletter.mail.transport import (
    Refused,
    RelayProblem,
    TransportError,
    TryLater,
    Unknown,
)


def test_a_mail_arrives_as_it_is(sink: Sink, raw: bytes) -> None:
    """Envelope and bytes arrive unchanged, lines that begin with a dot included."""
    transport = transport_to(sink)
    reply = hand_over(transport, raw)
    transport.close()
    assert (reply.code, reply.stage, reply.enhanced) == (250, "dot", "2.0.0")
    [mail] = sink.received
    assert (mail.sender, mail.recipients, mail.raw) == (SENDER, (ADA,), raw)


def test_nothing_is_accepted_before_the_dot(sink: Sink, raw: bytes) -> None:
    """An offered mail that is abandoned never arrives, and the next one does."""
    transport = transport_to(sink)
    transport.offer(SENDER, ADA, raw)
    transport.abandon()
    with pytest.raises(TryLater):
        transport.finish()
    hand_over(transport, raw, "eve@example.org")
    transport.close()
    assert [mail.recipients for mail in sink.received] == [("eve@example.org",)]


def test_a_forgotten_offer_is_not_continued(sink: Sink, raw: bytes) -> None:
    """Offering the next mail, or closing, never becomes part of the one that is on the line."""
    transport = transport_to(sink)
    transport.offer(SENDER, ADA, raw)
    hand_over(transport, raw, "eve@example.org")
    transport.offer(SENDER, ADA, raw)
    transport.close()
    assert [(mail.recipients, mail.raw) for mail in sink.received] == [(("eve@example.org",), raw)]


def test_one_connection_serves_many_mails(sink: Sink, raw: bytes) -> None:
    """Neither an accepted nor a refused mail costs a new connection."""
    sink.reply = lambda stage, argument: "550 5.1.1 who?" if "eve" in argument else None
    transport = transport_to(sink)
    for recipient in (ADA, "eve@example.org", "ada@example.net", "eve@example.net", ADA):
        if "eve" in recipient:
            with pytest.raises(Refused):
                hand_over(transport, raw, recipient)
        else:
            hand_over(transport, raw, recipient)
    transport.close()
    assert (len(sink.received), sink.connections) == (3, 1)


GARBAGE = "what is this"
ENDLESS = "\r\n".join(["250-still going"] * 200)
LONG = "250 " + "x" * 20_000

BEFORE_THE_DOT = [
    *((stage, said, RelayProblem) for stage in ("connect", "ehlo", "mail")
      for said in ("421 4.3.2 closing", "451 4.3.0 later", "554 5.7.1 no", "drop", "silence",
                   GARBAGE, ENDLESS, LONG, "999 what")),
    *((stage, said, TryLater) for stage in ("rcpt", "data")
      for said in ("421 4.3.2 closing", "450 4.2.1 later", "drop", "silence", GARBAGE, ENDLESS,
                   LONG)),
    *((stage, said, Refused) for stage in ("rcpt", "data") for said in ("550 5.1.1 no", "599 x")),
    *((stage, "530 5.7.0 log in", RelayProblem) for stage in ("rcpt", "data", "dot")),
    ("data", "250 2.0.0 ok", TryLater),
    ("dot", "421 4.3.2 closing", TryLater),
    ("dot", "451 4.3.0 later", TryLater),
    ("dot", "554 5.7.1 no", Refused),
    *(("dot", said, Unknown)
      for said in ("drop", "silence", GARBAGE, ENDLESS, LONG, "354 more?", "")),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "said", "error"), BEFORE_THE_DOT)
def test_what_goes_wrong_is_named_by_its_stage(
    stage: str, said: str, error: type[TransportError], raw: bytes
) -> None:
    """Every refusal, cut and nonsense is the error that says what is known; the transport then
    carries the next mail."""
    with Sink(reply=lambda at, _: said if at == stage else None) as sink:
        transport = transport_to(sink, timeout=0.5 if said == "silence" else 5)
        with pytest.raises(error) as caught:
            hand_over(transport, raw)
        assert type(caught.value) is error
        assert caught.value.stage == stage
        known = said[:3].isdigit() and said[3:4] == " " and len(said) < 100
        if known and said[:3] not in ("354", "999"):
            assert str(caught.value.reply) == said
        else:
            assert caught.value.reply is None
        taken = stage == "dot" and said.startswith("2")
        assert len(sink.received) == taken
        sink.reply = None
        hand_over(transport, raw)
        transport.close()
        assert len(sink.received) == taken + 1


def test_a_relay_that_refuses_us_for_good_says_so(raw: bytes) -> None:
    """5yz to our sender is permanent, 4yz and a dead line are not; nobody's address is charged."""
    for said, permanent in (("550 5.7.1 not you", True), ("451 4.7.1 slow", False)):
        with Sink(reply=lambda at, _, said=said: said if at == "mail" else None) as sink:
            transport = transport_to(sink)
            with pytest.raises(RelayProblem) as caught:
                hand_over(transport, raw)
            transport.close()
        assert caught.value.permanent is permanent
    with pytest.raises(RelayProblem) as caught:
        hand_over(transport, raw)  # the sink is gone
    assert caught.value.stage == "connect"
    assert not caught.value.permanent


def test_taken_and_cut_is_unknown(raw: bytes) -> None:
    """The relay took the mail and the line broke before it said so: Unknown, and never again."""
    with Sink(reply=lambda at, _: "take-drop" if at == "dot" else None) as sink:
        transport = transport_to(sink)
        with pytest.raises(Unknown) as caught:
            hand_over(transport, raw)
        assert len(sink.received) == 1
    assert (caught.value.stage, caught.value.reply) == ("dot", None)


@pytest.mark.parametrize("said", ["drop", "421 4.3.2 enough for one connection"])
def test_a_relay_may_end_a_connection_between_mails(said: str, raw: bytes) -> None:
    """A kept connection that turns out dead is replaced without a word; nobody is put off."""
    count = 0

    def reply(stage: str, argument: str) -> str | None:
        nonlocal count
        count += stage == "mail"
        return said if stage == "mail" and count == 2 else None

    with Sink(reply=reply) as sink:
        transport = transport_to(sink)
        for _ in range(3):
            hand_over(transport, raw)
        transport.close()
        assert (len(sink.received), sink.connections) == (3, 2)


def test_a_kept_connection_that_was_hung_up(raw: bytes) -> None:
    """The same when the relay hung up while nothing was said."""
    with Sink() as sink:
        transport = transport_to(sink)
        hand_over(transport, raw)
        port = sink.port
    with Sink(port=port) as sink:
        hand_over(transport, raw)
        transport.close()
        assert len(sink.received) == 1


@pytest.mark.parametrize(
    ("said", "error"),
    [(b"552 5.3.4 too big\r\n", Refused), (b"452 4.3.1 full\r\n", TryLater),
     (b"250 2.0.0 taken\r\n", TryLater), (b"", TryLater), (b"blah\r\n", TryLater)],
)  # fmt: skip
def test_an_answer_before_the_dot(
    said: bytes, error: type[TransportError], raw: bytes, relay: Callable[..., int]
) -> None:
    """A relay that answers or hangs up in the middle of the body: its refusal is read, and a yes
    is not one, because it has not seen the whole mail. No dot is ever written."""
    rest = b""

    def behave(connection: socket.socket) -> None:
        nonlocal rest
        up_to_the_body(connection)
        connection.recv(100)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        rest = read_until(connection, b"never")

    server = SmtpServer("127.0.0.1", relay(behave), "none", None, None)
    transport = SmtpTransport(server, 5)
    with pytest.raises(error) as caught:
        transport.offer(SENDER, ADA, raw + b"x\r\n" * 300_000)
        time.sleep(0.2)
        transport.finish()
    assert type(caught.value) is error
    assert caught.value.stage in ("body", "dot")
    transport.close()
    assert b"\r\n.\r\n" not in rest


def test_replies_that_come_too_early_are_not_believed(sink: Sink, raw: bytes) -> None:
    """Two replies at once would shift every later one by a step: the line is given up."""
    sink.reply = lambda stage, _: "250 ok\r\n354 go on" if stage == "rcpt" else None
    transport = transport_to(sink)
    with pytest.raises(TryLater) as caught:
        hand_over(transport, raw)
    transport.close()
    assert (caught.value.stage, sink.received) == ("data", [])


def test_a_dripping_reply_has_one_deadline(raw: bytes, relay: Callable[..., int]) -> None:
    """A byte now and then does not keep a reply alive: the time is for the whole of it."""

    def behave(connection: socket.socket) -> None:
        for byte in b"220 " + b"x" * 200:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    server = SmtpServer("127.0.0.1", relay(behave), "none", None, None)
    began = time.monotonic()
    with pytest.raises(RelayProblem):
        hand_over(SmtpTransport(server, 0.3), raw)
    assert time.monotonic() - began < 2


def test_a_reply_is_made_harmless_and_short(sink: Sink, raw: bytes) -> None:
    """What a relay says is shown to operators: no control characters, no endless text."""
    sink.reply = lambda stage, _: f"550 5.1.1 \x1b[31m{'x' * 2000}" if stage == "rcpt" else None
    transport = transport_to(sink)
    with pytest.raises(Refused) as caught:
        hand_over(transport, raw)
    transport.close()
    assert "\x1b" not in caught.value.reply.text
    assert len(caught.value.reply.text) <= 500
    assert caught.value.reply.enhanced == "5.1.1"


@pytest.mark.parametrize(
    "address", ["", "ada", "a b@c.org", "a@b.org>\r\nRCPT TO:<c@d.org", "a@b.org\0", "<a@b.org>"]
)
def test_an_envelope_cannot_hold_a_command(address: str, sink: Sink, raw: bytes) -> None:
    """An address that could end its command early is refused before anything is said."""
    transport = transport_to(sink)
    for sender, recipient in ((SENDER, address), (address, ADA)):
        with pytest.raises(BadInput):
            transport.offer(sender, recipient, raw)
    assert sink.connections == 0


def test_bytes_that_are_no_mail_of_ours_are_refused(sink: Sink, raw: bytes) -> None:
    """The last gate stands before the network, whoever made the bytes."""
    with pytest.raises(BadInput):
        transport_to(sink).offer(SENDER, ADA, raw + b"\n.\n")
    assert sink.connections == 0


def test_addresses_outside_ascii(raw: bytes) -> None:
    """A domain goes as A-labels; a local part needs SMTPUTF8, else it is that recipient's 5.6.7."""
    with Sink() as sink:
        transport = transport_to(sink)
        hand_over(transport, raw, "jörg@bücher.example.org")
        hand_over(transport, raw, "ada@bücher.example.org")
        transport.close()
        assert [mail.recipients[0] for mail in sink.received] == [
            "jörg@xn--bcher-kva.example.org",
            "ada@xn--bcher-kva.example.org",
        ]
    with Sink(smtputf8=False) as sink:
        transport = transport_to(sink)
        with pytest.raises(Refused) as caught:
            hand_over(transport, raw, "jörg@example.org")
        assert caught.value.reply.enhanced == "5.6.7"
        hand_over(transport, raw, "ada@bücher.example.org")
        with pytest.raises(RelayProblem):
            transport.offer("jörg@example.org", ADA, raw)
        transport.close()
        assert (len(sink.received), sink.connections) == (1, 1)


def test_nobody_listens(raw: bytes) -> None:
    """A closed port is a problem with the relay that may pass."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = SmtpTransport(smtp_server(f"smtp://127.0.0.1:{port}"), 1)
    with pytest.raises(RelayProblem) as caught:
        hand_over(transport, raw)
    assert (caught.value.stage, caught.value.permanent) == ("connect", False)


def test_the_greeting_names_this_machine(raw: bytes) -> None:
    """EHLO says the name that was given, else the machine's full name or its address."""
    said: list[str] = []
    with Sink(reply=lambda at, argument: said.append(argument) if at == "ehlo" else None) as sink:
        for hostname in ("news.example.org", None):
            transport = transport_to(sink, hostname=hostname)
            hand_over(transport, raw)
            transport.close()
    assert said[0] == "news.example.org"
    assert said[1] == "[127.0.0.1]" or "." in said[1]
