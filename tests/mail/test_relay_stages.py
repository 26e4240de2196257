"""Each stage of handing a mail over, refused, cut and confused, against a real receiver.

With and without PIPELINING. What the network does is in test_relay_network.py, encryption and
login in test_relay_security.py, every byte of a stream in test_session.py.
"""

from __future__ import annotations

import pytest
from relaying import (
    ADA,
    SENDER,
    accepted,
    any_done,
    hand_over,
    mail,
    offered,
    pool_to,
    run,
    until,
)

from newsletter.mail.sink import Sink
from newsletter.mail.transport import (
    Done,
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
    dot = 0.5 if said == "silence" else None
    with (
        Sink(reply=lambda at, _: said if at == stage else None, pipelining=pipelining) as sink,
        pool_to(sink, timeout=0.2 if said == "silence" else 20, dot_timeout=dot) as pool,
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
        if said == "silence":  # its short patience may be too short for the next one
            return
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
        assert [at for at in said if at != "body"] == ["mail", "rcpt", "data", "dot"]
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
