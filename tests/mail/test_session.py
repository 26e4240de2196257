"""The conversation about mails without a network: cut and broken at every byte, in both ways."""

from __future__ import annotations

import re
from itertools import product

import pytest
from conversation import PATIENCE, RAW, Line, Relay
from hypothesis import given
from hypothesis import strategies as st

from newsletter.mail.envelope import Extensions
from newsletter.mail.session import Patience, Session
from newsletter.mail.transport import (
    Done,
    Event,
    Offer,
    Offered,
    Refused,
    RelayProblem,
    Reply,
    Returned,
    TryLater,
    Unknown,
)

FATES = {
    "ok": ("dot", "250 2.0.0 taken {}"),
    "gone": ("rcpt", "550 5.1.1 nobody {}"),
    "grey": ("rcpt", "450 4.7.1 later {}"),
    "full": ("data", "452 4.3.1 full {}"),
    "spam": ("dot", "554 5.7.1 spam {}"),
    "slow": ("dot", "451 4.3.0 slow {}"),
    "long": ("dot", "250-2.0.0 taken\r\n250-of several\r\n250 lines {}"),
    "twice": ("rcpt", "450-4.7.1 in two\r\n450 4.7.1 lines {}"),
}


def mails(fates: list[str]) -> list[Offer]:
    return [
        Offer(fate, "a@example.org", f"{fate.replace(' ', '-')}.{number}@example.net", RAW)
        for number, fate in enumerate(fates)
    ]


def script(stage: str, argument: str) -> str | None:
    at, said = FATES.get(argument.partition(".")[0], ("", ""))
    return said.format(argument) if stage == at else None


fates = st.lists(st.sampled_from(sorted(FATES)), min_size=1, max_size=6)
# Lengths of what arrives at a time: a few bytes, or all that was said.
pieces = st.lists(st.integers(1, 100) | st.just(10**6), min_size=1, max_size=8)


@given(
    fates=fates,
    pipelining=st.booleans(),
    pieces=pieces,
)
def test_however_the_replies_are_cut(fates: list[str], pipelining: bool, pieces: list[int]) -> None:
    """Each mail gets its own answer, wherever the network cuts the stream of the relay; the text
    of each reply names its recipient, so an answer that moved to another mail would show."""
    offers = mails(fates)
    relay = Relay(script, pipelining=pipelining)
    ends = Line(relay, offers, pieces=pieces).run()
    assert list(ends) == offers
    taken = []
    for offer, result in ends.items():
        reply = result if isinstance(result, Reply) else result.reply
        assert reply is not None
        stage, said = FATES[offer.key]
        assert reply.stage == stage
        assert reply.text.endswith(offer.recipient)
        code = int(said[:3])
        kind = Reply if code < 300 else TryLater if code < 500 else Refused
        assert type(result) is kind
        if kind is Reply:
            taken.append(offer.recipient)
    assert [each.recipients for each in relay.received] == [(each,) for each in taken]
    assert {each.raw for each in relay.received} <= {RAW}


def judge(line: Line, offers: list[Offer]) -> None:
    """What must be true whatever happened to the line."""
    taken = [each.recipients[0] for each in line.relay.received]
    assert len(set(taken)) == len(taken)
    unknown = 0
    for offer in offers:
        result = line.ends.get(offer)
        if isinstance(result, Reply):
            assert offer.recipient in taken
            assert offer in line.armed
        elif isinstance(result, Unknown):
            assert offer in line.armed
            unknown += 1
        else:
            # Refused, put off, returned, let go, not begun: then it is surely not accepted.
            assert offer not in line.armed or result is not None
            assert offer.key != "let go" or not isinstance(result, Reply | Unknown)
            assert offer.recipient not in taken
    assert unknown <= 1
    # Where the relay waits for a mail it hears that mail, or nothing more.
    assert b"DATA\r\nMAIL" not in line.relay.heard
    assert all(each.raw == RAW for each in line.relay.received), "half a mail was delivered"


@given(
    data=st.data(),
    fates=st.lists(st.sampled_from([*sorted(FATES), "let go", "let go"]), min_size=1, max_size=6),
    pipelining=st.booleans(),
    replies_are_lost=st.booleans(),
    pieces=pieces,
)
def test_wherever_the_line_breaks(
    data: st.DataObject,
    fates: list[str],
    pipelining: bool,
    replies_are_lost: bool,
    pieces: list[int],
) -> None:
    """Cut after any byte of what we say: what was accepted is known or uncertain, what was not is
    never called accepted, and at most one mail is uncertain."""
    offers = mails(fates)
    whole = Relay(script, pipelining=pipelining)
    Line(whole, offers).run()
    breaks_at = data.draw(st.integers(0, len(whole.heard)))
    relay = Relay(script, pipelining=pipelining)
    line = Line(
        relay, offers, pieces=pieces, breaks_at=breaks_at, replies_are_lost=replies_are_lost
    )
    line.run()
    judge(line, offers)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("piece", [1, 10**6])
def test_every_three_mails(pipelining: bool, piece: int) -> None:
    """All ends of one mail before and behind all ends of another, whole or byte by byte."""
    for wanted in product([*FATES, "let go"], repeat=3):
        offers = mails(list(wanted))
        line = Line(Relay(script, pipelining=pipelining), offers, pieces=[piece])
        line.run()
        judge(line, offers)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("replies_are_lost", [True, False])
def test_every_byte_of_two_mails(pipelining: bool, replies_are_lost: bool) -> None:
    """The same, exhaustively: after each byte, those of the dot too, and with what it means there.

    Before the dot nothing is uncertain; from the dot's first byte until its answer the mail is;
    the one behind it is returned.
    """
    offers = mails(["ok", "ok"])
    whole = Relay(script, pipelining=pipelining)
    Line(whole, offers).run()
    dots = [found.start() + 2 for found in re.finditer(rb"\r\n\.\r\n", bytes(whole.heard))]
    assert len(dots) == 2
    for breaks_at in range(len(whole.heard)):
        relay = Relay(script, pipelining=pipelining)
        line = Line(relay, offers, breaks_at=breaks_at, replies_are_lost=replies_are_lost)
        ends = line.run()
        judge(line, offers)
        first = ends[offers[0]]
        if breaks_at < dots[0] - len(RAW):
            assert isinstance(first, TryLater | RelayProblem)
        elif dots[0] < breaks_at < dots[0] + 3:
            # The relay has a part of the dot, and the kernel had all of it: nobody can know.
            assert isinstance(first, Unknown)
            assert isinstance(ends.get(offers[1], Returned(None, "mail")), Returned)
            assert not relay.received


SAID = ["drop", "silence", "421 4.3.2 closing", "what is this", "", "250", "354 go on", "250-more",
        "250 ok\r\n250 ok", "354 go on\r\n354 go on", "550 5.7.1 no", "451 4.3.0 later",
        "250 ok\r\n354 go on", "999 what", "250-a\r\n251 b", "530 5.7.0 log in", "2",
        "250 " + "x" * 9000]  # fmt: skip
STAGES = ["mail", "rcpt", "data", "body", "dot", "rset"]


@given(
    fates=fates,
    faults=st.dictionaries(
        st.tuples(st.sampled_from(STAGES), st.integers(0, 5)), st.sampled_from(SAID), max_size=3
    ),
    pipelining=st.booleans(),
    pieces=pieces,
)
def test_a_relay_out_of_its_mind(
    fates: list[str],
    faults: dict[tuple[str, int], str],
    pipelining: bool,
    pieces: list[int],
) -> None:
    """Whatever it answers, and however often: nothing that it did not accept is called accepted
    unless it said so, each mail has one end, and no mail gets another one's answer."""
    passed: dict[str, int] = {}

    def wild(stage: str, argument: str) -> str | None:
        count = passed[stage] = passed.get(stage, -1) + 1
        return faults.get((stage, count), script(stage, argument))

    offers = mails(fates)
    line = Line(Relay(wild, pipelining=pipelining), offers, pieces=pieces)
    ends = line.run()
    lied = any(said[:1] == "2" or "250" in said for said in faults.values())
    for offer, result in ends.items():
        reply = result if isinstance(result, Reply) else result.reply
        if isinstance(result, Reply):
            assert offer in line.armed
            assert lied or offer.recipient in [each.recipients[0] for each in line.relay.received]
        if reply is not None and "@" in reply.text:
            assert reply.text.endswith(offer.recipient)
    assert sum(isinstance(result, Unknown) for result in ends.values()) <= 1
    dots = bytes(line.relay.heard).count(b"\r\n.\r\n")
    assert dots <= len(line.armed)


@given(said=st.binary(max_size=300), pipelining=st.booleans())
def test_noise(said: bytes, pipelining: bool) -> None:
    """Bytes of any kind end the connection or are waited out; nothing is accepted by them alone."""
    events: list[Event] = []
    session = Session(Extensions(pipelining=pipelining), PATIENCE, 100, events.append)
    [offer] = mails(["ok"])
    session.begin(offer, 0.0)
    session.out = b""
    session.sent(whole=True)
    session.receive(said, 0.0)
    if not session.over:
        session.expire()
    assert all(not isinstance(event, Done) or not isinstance(event.result, Reply | Unknown)
               for event in events)  # fmt: skip


def test_what_travels_behind_a_dot() -> None:
    """With PIPELINING one piece holds the dot and the next envelope, DATA at its end; without it
    the dot travels alone."""
    for pipelining in (True, False):
        events: list[Event] = []
        session = Session(Extensions(pipelining, 0), PATIENCE, 100, events.append)
        first, second = mails(["ok", "ok"])
        session.begin(first, 0.0)
        for said in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            session.sent(whole=True)
            session.out = b""
            session.receive(said, 0.0)
        assert session.out == b"Subject: x\r\n\r\n..a line that begins with a dot\r\n...\r\n" + (
            b"and another\r\n"
        )
        session.sent(whole=True)
        assert events == [Offered(first)]
        session.finish(first, second, 0.0)
        behind = b"MAIL FROM:<a@example.org> SIZE=63\r\nRCPT TO:<ok.1@example.net>\r\nDATA\r\n"
        assert session.out == b".\r\n" + (behind if pipelining else b"")


def test_a_dot_that_never_left() -> None:
    """A dot of which the kernel took no byte is as if it had not been armed: put off, and not
    uncertain; one byte of it is enough for that."""
    for bytes_left in (False, True):
        events: list[Event] = []
        session = Session(Extensions(pipelining=True), PATIENCE, 100, events.append)
        first, second = mails(["ok", "ok"])
        session.begin(first, 0.0)
        session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n", 0.0)
        session.sent(whole=True)
        session.finish(first, second, 0.0)
        if bytes_left:
            session.sent(whole=False)
        session.lost("reset")
        ends = {each.offer: type(each.result) for each in events if isinstance(each, Done)}
        assert ends == {first: Unknown if bytes_left else TryLater, second: Returned}


def test_an_answer_that_came_before_the_dot_left() -> None:
    """A refusal that crossed an unwritten dot is the mail's, and a yes is nobody's."""
    for said, kind in ((b"552 5.3.4 too big\r\n", Refused), (b"250 2.0.0 taken\r\n", TryLater)):
        events: list[Event] = []
        session = Session(Extensions(pipelining=True), PATIENCE, 100, events.append)
        [offer] = mails(["ok"])
        session.begin(offer, 0.0)
        session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n", 0.0)
        session.sent(whole=True)
        session.finish(offer, None, 0.0)
        session.receive(said, 0.0)
        last = events[-1]
        assert isinstance(last, Done)
        assert (type(last.result), session.over, session.out) == (kind, True, b"")


def test_deadlines() -> None:
    """Each reply has its time, the one to a dot more; a dripping reply does not get more."""
    events: list[Event] = []
    session = Session(Extensions(pipelining=True), Patience(10, 100), 100, events.append)
    first, second = mails(["ok", "ok"])
    session.begin(first, 1000.0)
    assert session.deadline == 1010
    session.receive(b"250 ok\r\n250", 1005.0)
    session.receive(b" o", 1009.0)
    assert session.deadline == 1015
    session.receive(b"k\r\n354 go\r\n", 1009.5)
    assert session.deadline == 1019.5  # for the body
    session.sent(whole=True)
    assert session.deadline > 10**9  # the caller's time
    session.finish(first, second, 2000.0)
    assert session.deadline == 2100
    session.sent(whole=True)
    session.receive(b"250 2.0.0 taken\r\n", 2050.0)
    assert session.deadline == 2060
    session.expire()
    [*_, last] = events
    assert isinstance(last, Done)
    assert (last.offer, type(last.result)) == (second, Returned)


def test_silence_between_mails() -> None:
    """A connection that nobody needs says goodbye before the relay is tired of it."""
    events: list[Event] = []
    session = Session(Extensions(pipelining=True), PATIENCE, 100, events.append)
    [offer] = mails(["gone"])
    session.begin(offer, 0.0)
    session.receive(b"250 ok\r\n550 5.1.1 no\r\n503 no\r\n", 1000.0)
    assert session.idle
    assert session.deadline == 1030
    session.out = b""
    session.expire()
    assert (session.out, session.over, len(events)) == (b"QUIT\r\n", True, 1)


def test_after_a_refused_recipient() -> None:
    """The transaction of a refused recipient is reset before the next one begins, in the same
    piece; a relay that will not gets no mail, and that mail is merely returned."""
    for answer, kind in ((b"250 ok\r\n", None), (b"500 what?\r\n", Returned)):
        for pipelining in (True, False):
            events: list[Event] = []
            session = Session(Extensions(pipelining=pipelining), PATIENCE, 100, events.append)
            first, second = mails(["gone", "ok"])
            session.begin(first, 0.0)
            for said in (b"250 ok\r\n", b"550 5.1.1 no\r\n", *[b"503 no\r\n"] * pipelining):
                session.receive(said, 0.0)
            session.out = b""
            session.begin(second, 0.0)
            assert session.out.startswith(b"RSET\r\nMAIL" if pipelining else b"RSET\r\n")
            session.receive(answer, 0.0)
            assert session.over is (kind is not None)
            ends = [each.result for each in events if isinstance(each, Done)]
            assert [type(each) for each in ends] == [Refused, kind][: len(ends)]
            assert len(ends) == 1 + (kind is not None)
