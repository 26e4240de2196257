"""Answers that come too early, twice, too slowly or to the wrong question; and their text.

With and without PIPELINING, against a real receiver.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from relaying import (
    ADA,
    accepted,
    any_done,
    hand_over,
    mail,
    offered,
    pool_to,
    read_until,
    run,
    until,
    up_to_the_body,
)

from newsletter.mail.sink import Sink
from newsletter.mail.transport import (
    Done,
    Refused,
    Reply,
    Returned,
    TransportError,
    TryLater,
    Unknown,
)

EVE = "eve@example.org"


def test_a_goodbye_behind_the_answer_to_a_dot(relays: Sink, raw: bytes) -> None:
    """Accepted, and then 421 or a cut: the mail is accepted, the next one merely returned."""
    for said in ("250 2.0.0 taken\r\n421 4.3.2 enough", "250 2.0.0 taken\r\nwhat?"):
        relays.received.clear()
        relays.reply = lambda at, who, said=said: said if (at, who) == ("dot", ADA) else None
        with pool_to(relays) as pool:
            ends = run(pool, [mail(raw), mail(raw, EVE)])
        assert all(map(accepted, ends.values()))
        assert len(relays.received) == 2


def test_recipients_refused_in_a_row(raw: bytes, relay: Callable[..., int]) -> None:
    """A refused recipient whose DATA gets a 354 all the same: no lone dot, which would deliver an
    empty mail; the connection ends, and the others' answers are their own."""
    heard = b""

    def behave(connection: socket.socket) -> None:
        nonlocal heard
        connection.sendall(b"220 relay\r\n")
        heard += read_until(connection, b"\r\n")
        connection.sendall(b"250-relay\r\n250 PIPELINING\r\n")
        said = read_until(connection, b"DATA\r\n")
        heard += said
        if b"eve" in said:
            connection.sendall(b"250 ok\r\n550 5.1.1 no eve\r\n354 go on\r\n")
            heard += read_until(connection, b"never")
            return
        connection.sendall(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        said = read_until(connection, b"\r\n.\r\n")
        connection.sendall(b"250 2.0.0 taken\r\n")
        said = said.partition(b"\r\n.\r\n")[2] or read_until(connection, b"DATA\r\n")
        heard += said
        connection.sendall(b"250 ok\r\n550 5.1.1 no eve\r\n354 go on\r\n")
        heard += read_until(connection, b"never")

    with pool_to(relay(behave)) as pool:
        ends = run(pool, [mail(raw), mail(raw, EVE), mail(raw, "eve2@example.org")])
    assert accepted(ends.pop(ADA))
    assert [str(each.reply) for each in ends.values() if isinstance(each, Refused)] == [
        "550 5.1.1 no eve"
    ] * 2
    assert b"\n.\r\n" not in heard


@pytest.mark.parametrize(
    ("said", "kind"),
    [(b"552 5.3.4 too big\r\n", Refused), (b"452 4.3.1 full\r\n", TryLater),
     (b"250 2.0.0 taken\r\n", TryLater), (b"", TryLater), (b"blah\r\n", TryLater)],
)  # fmt: skip
@pytest.mark.parametrize("extensions", [(), (b"PIPELINING",)])
def test_an_answer_in_the_middle_of_a_body(
    said: bytes,
    kind: type[TransportError],
    extensions: tuple[bytes, ...],
    raw: bytes,
    relay: Callable[..., int],
) -> None:
    """A relay that answers or hangs up while it is written to: its refusal is read, and a yes is
    none, because it has not seen the whole mail. No dot is ever written."""
    rest = b""

    def behave(connection: socket.socket) -> None:
        nonlocal rest
        up_to_the_body(connection, *extensions)
        connection.recv(100)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        rest = read_until(connection, b"never")

    with pool_to(relay(behave)) as pool:
        offer = mail(raw + b"x\r\n" * 1_000_000)
        pool.offer(offer)
        [*_, last] = until(pool, any_done)
        assert isinstance(last, Done)
        assert type(last.result) is kind
        assert last.result.stage == "body"
    assert b"\r\n.\r\n" not in rest


@pytest.mark.parametrize(
    ("said", "kind"), [(b"552 5.3.4 too big\r\n", Refused), (b"250 2.0.0 taken\r\n", TryLater)]
)
def test_an_answer_just_before_the_dot(
    said: bytes, kind: type[TransportError], raw: bytes, relay: Callable[..., int]
) -> None:
    """What the relay said while the caller made its record is read before the dot is written."""
    rest = b""

    def behave(connection: socket.socket) -> None:
        nonlocal rest
        up_to_the_body(connection)
        connection.recv(100_000)
        connection.sendall(said)
        rest = read_until(connection, b"never")

    with pool_to(relay(behave)) as pool:
        offer = offered(pool, mail(raw))
        time.sleep(0.1)
        pool.finish(offer, behind := mail(raw, EVE))
        events = until(pool, lambda found: len(found) == 2)
        ends = {each.offer: each.result for each in events if isinstance(each, Done)}
        assert type(ends[offer]) is kind
        assert isinstance(ends[behind], Returned)
    assert b"\r\n.\r\n" not in rest


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data", "dot"])
def test_two_answers_to_one_question(stage: str, relays: Sink, raw: bytes) -> None:
    """An answer too many would shift every later one by a step: the line is given up, and no
    answer is ever taken for another mail's."""
    yes = {"connect": "220 hi", "data": "354 go"}.get(stage, "250 2.0.0 ok {}")
    count = 0

    def reply(at: str, who: str) -> str | None:
        nonlocal count
        count += at == stage
        if at == stage and count == 1:
            return f"{yes.format(who)}\r\n{yes.format(who)}"
        return f"250 2.0.0 ok {who}" if at in ("rcpt", "dot") else None

    relays.reply = reply
    with pool_to(relays) as pool:
        ends = run(pool, [mail(raw, f"r{number}@example.org") for number in range(4)])
    for recipient, result in ends.items():
        said = result if isinstance(result, Reply) else result.reply
        assert said is None or said.text.endswith(recipient)
        arrived = [found.recipients for found in relays.received].count((recipient,))
        assert arrived == accepted(result)
    assert sum(map(accepted, ends.values())) >= 3


@pytest.mark.parametrize("stage", ["connect", "rcpt", "dot"])
def test_a_dripping_reply_has_one_deadline(stage: str, relays: Sink, raw: bytes) -> None:
    """A byte now and then does not keep a reply alive: the time is for the whole of it."""
    relays.reply = lambda at, _: f"slowly 0.02 250 {'x' * 200}" if at == stage else None
    began = time.monotonic()
    with pool_to(relays, timeout=0.5, dot_timeout=0.5) as pool:
        result = hand_over(pool, raw)
    assert isinstance(result, TransportError)
    assert result.stage == stage
    assert isinstance(result, Unknown) is (stage == "dot")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("how", ["slowly 0.02", "after 0.3"])
def test_slow_is_not_broken(how: str, relays: Sink, raw: bytes) -> None:
    """An answer to the dot in many pieces, or late, is an answer; so are a hundred lines."""
    hundred = "\r\n".join(["250-2.0.0 going on"] * 99 + ["250 taken"])
    with pool_to(relays, timeout=20) as pool:
        for said in (f"{how} 250 2.0.0 taken", hundred):
            relays.reply = lambda at, _, said=said: said if at == "dot" else None
            assert accepted(hand_over(pool, raw))


def test_a_reply_is_made_harmless_and_short(relays: Sink, raw: bytes) -> None:
    """What a relay says is shown to operators: no control characters, no endless text."""
    relays.reply = lambda at, _: f"550 5.1.1 \x1b[31m{'x' * 2000}" if at == "rcpt" else None
    with pool_to(relays) as pool:
        result = hand_over(pool, raw)
    assert isinstance(result, Refused)
    assert "\x1b" not in result.reply.text
    assert len(result.reply.text) <= 500
    assert result.reply.enhanced == "5.1.1"
