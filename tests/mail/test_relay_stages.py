"""Each stage of handing a mail over, refused, cut and confused, against a real receiver.

With and without PIPELINING. What the network does is in test_relay_network.py, encryption and
login in test_relay_security.py, every byte of a stream in test_session.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from relaying import (
    ADA,
    SENDER,
    accepted,
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
    Event,
    Offered,
    Refused,
    RelayProblem,
    Reply,
    Returned,
    TransportError,
    TryLater,
    Unknown,
)

EVE = "eve@example.org"


@pytest.fixture(params=["pipelined", "in lockstep"])
def relays(request: pytest.FixtureRequest) -> Iterator[Sink]:
    """A receiver that offers PIPELINING, and one that does not."""
    with Sink(pipelining=request.param == "pipelined") as running:
        yield running


def any_done(events: list[Event]) -> bool:
    return any(isinstance(each, Done) for each in events)


def test_a_mail_arrives_as_it_is(relays: Sink, raw: bytes) -> None:
    """Envelope and bytes arrive unchanged, lines that begin with a dot included."""
    with pool_to(relays) as pool:
        reply = hand_over(pool, raw)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.stage, reply.enhanced) == (250, "dot", "2.0.0")
    [found] = relays.received
    assert (found.sender, found.recipients, found.raw) == (SENDER, (ADA,), raw)


def test_nothing_is_accepted_before_the_dot(relays: Sink, raw: bytes) -> None:
    """An offered mail that is abandoned never arrives, and the next one does."""
    with pool_to(relays) as pool:
        offer = offered(pool, mail(raw))
        pool.abandon(offer)
        for use in (pool.finish, pool.abandon):
            with pytest.raises(ValueError, match="not offered"):
                use(offer)
        hand_over(pool, raw, EVE)
    assert [found.recipients for found in relays.received] == [(EVE,)]


def test_a_mail_that_is_not_offered_yet(relays: Sink, raw: bytes) -> None:
    """A dot is not written before the relay waits for it, nor a mail begun where nothing is free;
    both are mistakes of the caller's."""
    with pool_to(relays) as pool:
        offer = mail(raw)
        pool.offer(offer)
        with pytest.raises(ValueError, match="no connection is free"):
            pool.offer(mail(raw))
        with pytest.raises(ValueError, match="not offered yet"):
            pool.finish(offer)
        assert until(pool, bool) == [Offered(offer)]


def test_one_connection_serves_many_mails(relays: Sink, raw: bytes) -> None:
    """Neither an accepted nor a refused mail costs a new connection; each gets its own answer."""

    def reply(stage: str, argument: str) -> str | None:
        if stage == "rcpt" and argument.startswith("eve"):
            return f"550 5.1.1 no {argument}"
        return f"250 2.0.0 taken {argument}" if stage == "dot" else None

    relays.reply = reply
    names = ["ada", "eve1", "bob", "eve2", "eve3", "cay", "dan", "eve4"]
    with pool_to(relays) as pool:
        ends = run(pool, [mail(raw, f"{name}@example.org") for name in names])
        assert pool.open == 1
    for recipient, result in ends.items():
        said = result if isinstance(result, Reply) else result.reply
        assert said is not None
        assert said.text.endswith(recipient)
        assert accepted(result) is not recipient.startswith("eve")
    assert (len(relays.received), relays.connections) == (4, 1)


GARBAGE = "what is this"
ENDLESS = "endless 250-still going"
LONG = "250 " + "x" * 20_000
# What it says: does the connection have any use after it, and is it a reply?
NO_REPLY = (GARBAGE, ENDLESS, LONG, "drop", "silence", "999 what", "250-a\r\n251 b", "")

FAULTS = [
    *((stage, said, RelayProblem) for stage in ("connect", "ehlo", "mail")
      for said in ("421 4.3.2 closing", "451 4.3.0 later", *NO_REPLY, "354 what?")),
    ("connect", "554 5.7.1 no", RelayProblem),
    *(("mail", said, RelayProblem)
      for said in ("550 5.7.1 not you", "553 5.1.8 who are you", "452 4.3.1 full")),
    *((stage, said, TryLater) for stage in ("rcpt", "data")
      for said in ("421 4.3.2 closing", "450 4.2.1 grey", "451 4.7.1 later", "452 4.5.3 many",
                   *NO_REPLY)),
    *((stage, said, Refused) for stage in ("rcpt", "data")
      for said in ("550 5.1.1 no", "550 5.7.1 policy", "554 5.7.1 no", "599 x")),
    *((stage, "530 5.7.0 log in", RelayProblem) for stage in ("rcpt", "data", "dot")),
    ("rcpt", "354 go on", TryLater),
    ("data", "250 2.0.0 ok", TryLater),
    ("dot", "421 4.3.2 closing", TryLater),
    ("dot", "451 4.3.0 later", TryLater),
    ("dot", "552 5.3.4 too big", Refused),
    ("dot", "554 5.7.1 no", Refused),
    *(("dot", said, Unknown) for said in (*NO_REPLY, "354 more?")),
    *(("body", said, TryLater)
      for said in ("421 4.3.2 closing", "452 4.3.1 full", "250 2.0.0 ok", "354 more?", "drop",
                   GARBAGE, ENDLESS)),
    ("body", "552 5.3.4 too big", Refused),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "said", "kind"), FAULTS)
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
def test_what_goes_wrong_is_named_by_its_stage(
    stage: str, said: str, kind: type[TransportError], pipelining: bool, raw: bytes
) -> None:
    """Every refusal, cut and nonsense is the outcome that says what is known; the next mail then
    goes through."""
    with (
        Sink(reply=lambda at, _: said if at == stage else None, pipelining=pipelining) as sink,
        pool_to(sink, timeout=0.1 if said == "silence" else 5, dot_timeout=0.5) as pool,
    ):
        if stage == "body":  # it comes while the caller makes its record
            pool.offer(mail(raw))
            [*_, last] = until(pool, any_done)
            assert isinstance(last, Done)
            result = last.result
        else:
            result = hand_over(pool, raw)
        assert type(result) is kind
        assert isinstance(result, TransportError)
        assert result.stage == stage
        known = said[:3].isdigit() and said[:1] in "45" and said[3:4] == " "
        assert str(result.reply) == (said if known else "None")
        taken = stage == "dot" and said.startswith("2")
        assert len(sink.received) == taken
        sink.reply = None
        assert accepted(hand_over(pool, raw))
        assert len(sink.received) == taken + 1


@pytest.mark.parametrize("said", ["500 5.5.1 what?", "502 no", "554 no"])
def test_a_relay_of_the_old_kind(said: str, raw: bytes) -> None:
    """Where EHLO is refused HELO is said, and nothing is used that was not offered."""
    with Sink(reply=lambda at, _: said if at == "ehlo" else None) as sink, pool_to(sink) as pool:
        results = run(pool, [mail(raw), mail(raw, EVE)])
        assert all(map(accepted, results.values()))
    with (
        Sink(reply=lambda at, _: said if at in ("ehlo", "helo") else None) as sink,
        pool_to(sink) as pool,
    ):
        result = hand_over(pool, raw)
        assert isinstance(result, RelayProblem)
        assert (result.stage, result.permanent) == ("ehlo", True)


@pytest.mark.parametrize("code", ["250", "251", "252"])
def test_ways_to_say_yes(code: str, relays: Sink, raw: bytes) -> None:
    """A recipient that will be forwarded, or cannot be verified, is accepted (RFC 5321 §4.2.3)."""
    relays.reply = lambda at, _: f"{code} 2.1.5 well" if at == "rcpt" else None
    with pool_to(relays) as pool:
        assert accepted(hand_over(pool, raw))


def test_taken_and_cut_is_unknown(relays: Sink, raw: bytes) -> None:
    """The relay took the mail and the line broke before it said so: Unknown; the mail behind the
    dot was not begun."""
    relays.reply = lambda at, who: "take-drop" if (at, who) == ("dot", ADA) else None
    with pool_to(relays) as pool:
        first = offered(pool, mail(raw))
        pool.finish(first, behind := mail(raw, EVE))
        events = until(pool, lambda found: len(found) == 2)
        ends = {each.offer: each.result for each in events if isinstance(each, Done)}
        assert isinstance(ends[first], Unknown)
        assert isinstance(ends[behind], Returned)
        assert len(relays.received) == 1
        assert accepted(run(pool, [behind])[EVE])


@pytest.mark.parametrize("said", ["drop", "421 4.3.2 enough for one connection", GARBAGE])
def test_a_relay_may_end_a_connection_between_mails(said: str, relays: Sink, raw: bytes) -> None:
    """A kept connection that turns out dead is replaced; the mail is returned, nobody put off."""
    count = 0

    def reply(stage: str, _argument: str) -> str | None:
        nonlocal count
        count += stage == "mail"
        return said if stage == "mail" and count == 2 else None

    relays.reply = reply
    with pool_to(relays) as pool:
        ends = run(pool, [mail(raw, f"r{number}@example.org") for number in range(3)])
        assert all(map(accepted, ends.values()))
    assert (len(relays.received), relays.connections) == (3, 2)


def test_a_kept_connection_that_was_hung_up(raw: bytes) -> None:
    """The same when the relay hung up while nothing was said."""
    with Sink() as sink:
        port = sink.port
        with pool_to(port) as pool:
            hand_over(pool, raw)
            sink.stop()
            with Sink(port=port) as sink:
                assert accepted(hand_over(pool, raw))
                assert len(sink.received) == 1


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


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data", "dot"])
def test_a_dripping_reply_has_one_deadline(stage: str, relays: Sink, raw: bytes) -> None:
    """A byte now and then does not keep a reply alive: the time is for the whole of it."""
    relays.reply = lambda at, _: f"slowly 0.02 250 {'x' * 200}" if at == stage else None
    began = time.monotonic()
    with pool_to(relays, timeout=0.2, dot_timeout=0.2) as pool:
        result = hand_over(pool, raw)
    assert isinstance(result, TransportError)
    assert result.stage == stage
    assert isinstance(result, Unknown) is (stage == "dot")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("how", ["slowly 0.02", "after 0.3"])
def test_slow_is_not_broken(how: str, relays: Sink, raw: bytes) -> None:
    """An answer to the dot in many pieces, or late, is an answer; so are a hundred lines."""
    hundred = "\r\n".join(["250-2.0.0 going on"] * 99 + ["250 taken"])
    with pool_to(relays, timeout=2) as pool:
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


def test_a_mail_that_is_too_large(raw: bytes) -> None:
    """What the relay said that it does not take is refused in its name, without a word to it."""
    said: list[str] = []
    with (
        Sink(reply=lambda at, _: said.append(at), size=len(raw)) as sink,
        pool_to(sink) as pool,
    ):
        assert accepted(hand_over(pool, raw))
        said.clear()
        first = offered(pool, mail(raw))
        large = mail(raw + b"x\r\n", EVE)
        pool.finish(first, large)
        ends = {each.offer: each.result for each in until(pool, lambda found: len(found) == 2)
                if isinstance(each, Done)}  # fmt: skip
        assert accepted(ends[first])
        result = ends[large]
        assert isinstance(result, Refused)
        assert (result.stage, str(result.reply)[:9]) == ("mail", "552 5.3.4")
        assert said == ["mail", "rcpt", "data", "body", "dot"]
        assert isinstance(run(pool, [large])[EVE], Refused)
        assert accepted(hand_over(pool, raw))
        assert sink.connections == 1


def test_addresses_outside_ascii(raw: bytes) -> None:
    """A local part outside ASCII needs SMTPUTF8, else it is that recipient's 5.6.7; a sender with
    one is our problem."""
    with Sink() as sink, pool_to(sink) as pool:
        run(pool, [mail(raw, "jörg@xn--bcher-kva.example.org"), mail(raw)])
        assert {found.recipients[0] for found in sink.received} == {
            "jörg@xn--bcher-kva.example.org",
            ADA,
        }
    with Sink(smtputf8=False) as sink, pool_to(sink) as pool:
        result = hand_over(pool, raw, "jörg@example.org")
        assert isinstance(result, Refused)
        assert result.reply.enhanced == "5.6.7"
        assert accepted(hand_over(pool, raw))
        ours = mail(raw, sender="jörg@example.org")
        assert isinstance(run(pool, [ours])[ADA], RelayProblem)
        assert (len(sink.received), sink.connections) == (1, 1)


def test_the_greeting_names_this_machine(raw: bytes) -> None:
    """EHLO says the name that was given, else the machine's full name or its address."""
    said: list[str] = []
    with Sink(reply=lambda at, argument: said.append(argument) if at == "ehlo" else None) as sink:
        for hostname in ("news.example.org", None):
            with pool_to(sink, hostname=hostname) as pool:
                hand_over(pool, raw)
    assert said[0] == "news.example.org"
    assert said[1] == "[127.0.0.1]" or "." in said[1]
