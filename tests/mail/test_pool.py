"""The pool of connections: how many there are, how they end, and waiting for all of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
from relaying import (
    ADA,
    accepted,
    end_of,
    hand_over,
    mail,
    offered,
    pool_to,
    read_until,
    run,
    until,
    up_to_the_body,
)

from newsletter.config import smtp_server
from newsletter.mail.pool import Pool
from newsletter.mail.sink import Sink
from newsletter.mail.transport import Done, Offer, Offered, RelayProblem, Reply, Returned, Unknown

EVE = "eve@example.org"


def test_connections_are_opened_slowly(raw: bytes) -> None:
    """One connection until the relay took a MAIL FROM, then as many as there are mails for; a
    relay that does not work is asked by one again."""
    said: list[str | None] = ["451 4.3.0 later", None]
    with (
        Sink(reply=lambda at, _: said[0] if at == "mail" else None) as sink,
        pool_to(sink, size=5) as pool,
    ):
        assert pool.free() == 1
        assert isinstance(hand_over(pool, raw), RelayProblem)
        assert (pool.free(), pool.open) == (1, 0)
        said.pop(0)
        offered(pool, mail(raw))
        assert pool.free() == 4
        for number in range(4):
            pool.offer(mail(raw, f"r{number}@example.org"))
        assert (pool.free(), pool.open) == (0, 5)
        until(pool, lambda events: len(events) == 4)
        assert sink.connections == 6


def test_a_relay_that_takes_few_connections(raw: bytes) -> None:
    """Where the relay takes fewer connections than there might be, the mails go over those; none
    of it is a problem with the relay."""
    count = 0

    def reply(stage: str, _: str) -> str | None:
        nonlocal count
        count += stage == "connect"
        return "421 4.7.0 too many connections" if stage == "connect" and count > 2 else None

    with Sink(reply=reply) as sink, pool_to(sink, size=8) as pool:
        ends = run(pool, [mail(raw, f"r{number}@example.org") for number in range(60)])
        assert all(map(accepted, ends.values()))
        assert pool.open == 2
        assert sink.connections <= 2 + 6


def test_a_connection_is_used_for_so_many_mails(raw: bytes) -> None:
    """After that many mails a connection ends with a QUIT, and the next mail gets a new one."""
    with Sink() as sink, pool_to(sink, mails_per_connection=4) as pool:
        ends = run(pool, [mail(raw, f"r{number}@example.org") for number in range(10)])
        assert all(map(accepted, ends.values()))
        assert sink.connections == 3
        first = offered(pool, mail(raw, "x@example.org"))
        assert sink.connections == 3
        pool.finish(first, second := mail(raw, "y@example.org"))
        events = until(pool, lambda found: len(found) == 2)
        assert isinstance(events[0], Offered | Done)
        pool.finish(second)
        end_of(pool, second)
        assert pool.open == 0


def test_poll_waits_no_longer_than_it_is_told(sink: Sink) -> None:
    """Without anything to do it returns at its timeout, or when somebody wakes it."""
    with pool_to(sink) as pool:
        began = time.monotonic()
        assert pool.poll(0.1) == []
        assert 0.09 < time.monotonic() - began < 10
        bell = threading.Timer(0.1, pool.wake)
        bell.start()
        began = time.monotonic()
        assert pool.poll(10) == []
        assert time.monotonic() - began < 9
        bell.join()
        for _ in range(100_000):  # more than its bell holds
            pool.wake()
        assert pool.poll(10) == []
        began = time.monotonic()
        assert pool.poll(0.1) == []
        assert time.monotonic() - began > 0.09
    pool.wake()
    assert pool.close() == []


@pytest.mark.parametrize("pipelining", [True, False])
def test_letting_go_of_a_mail(pipelining: bool, raw: bytes) -> None:
    """A mail without a dot can be abandoned wherever it is; nothing is said of it, it does not
    arrive, and the mail before it keeps its answer."""
    with Sink(pipelining=pipelining) as sink, pool_to(sink) as pool:
        offer = mail(raw, EVE)
        pool.offer(offer)
        pool.abandon(offer)  # while its connection is being opened
        assert (pool.open, pool.poll(0.1)) == (0, [])
        first = offered(pool, mail(raw))
        pool.finish(first, behind := mail(raw, EVE))
        with pytest.raises(ValueError, match="not on its way"):
            pool.abandon(first)
        pool.abandon(behind)
        assert accepted(end_of(pool, first))
        assert (pool.open, pool.poll(0.1)) == (0, [])
        assert accepted(hand_over(pool, raw, "bob@example.org"))
        pool.offer(again := mail(raw, EVE))
        pool.abandon(again)
        assert [found.recipients[0] for found in sink.received] == [ADA, "bob@example.org"]


def test_closing(raw: bytes) -> None:
    """At the end idle connections say QUIT, mails without a dot are returned, those with one get
    their answer if it comes in time, and are unknown else."""
    for grace, seconds, kind in ((20, 0.3, Reply), (0.05, 5, Unknown)):
        with Sink(
            reply=lambda at, _, s=seconds: f"after {s} 250 2.0.0 ok" if at == "dot" else None
        ) as sink:
            offers = [mail(raw, f"r{number}@example.org") for number in range(4)]
            with pool_to(sink, size=3) as pool:
                offered(pool, offers[0])
                offered(pool, offers[1])
                pool.finish(offers[0], offers[2])
                pool.offer(offers[3])
                ends = {each.offer: each.result for each in pool.close(grace)
                        if isinstance(each, Done)}  # fmt: skip
                assert {offer: type(ends[offer]) for offer in offers} == {
                    offers[0]: kind,
                    offers[1]: Returned,
                    offers[2]: Returned,
                    offers[3]: Returned,
                }
                assert pool.close() == []
            assert [found.recipients[0] for found in sink.received] == [offers[0].recipient]


def test_a_goodbye(relay: Callable[..., int], raw: bytes) -> None:
    """An idle connection ends with QUIT, one with half a mail without: it would be part of it."""
    heard: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        up_to_the_body(connection)
        heard.append(read_until(connection, b"\r\n.\r\n"))
        if heard[-1].endswith(b"\r\n.\r\n"):
            connection.sendall(b"250 2.0.0 taken\r\n")
            heard.append(read_until(connection, b"never"))

    port = relay(behave)
    with pool_to(port) as pool:
        hand_over(pool, raw)
        pool.close()
    with pool_to(port) as pool:
        offered(pool, mail(raw))
        pool.close()
    time.sleep(0.1)
    assert heard[1] == b"QUIT\r\n"
    assert b"QUIT" not in heard[2]


def test_many_at_once(raw: bytes) -> None:
    """Several connections, a thousand mails, a fifth of them refused: all arrive once, each with
    its own answer."""

    def reply(stage: str, argument: str) -> str | None:
        if stage == "rcpt" and "0@" in argument:
            return f"550 5.1.1 no {argument}"
        if stage == "dot" and "5@" in argument:
            return f"451 4.7.1 later {argument}"
        return f"250 2.0.0 taken {argument}" if stage == "dot" else None

    for pipelining in (True, False):
        with Sink(reply=reply, pipelining=pipelining) as sink:
            pool = Pool(smtp_server(sink.url), size=4, timeout=30, mails_per_connection=90)
            offers = [Offer(f"r{n}@example.org", "a@example.org", f"r{n}@example.org", raw)
                      for n in range(1000)]  # fmt: skip
            ends = run(pool, offers)
            pool.close()
            for recipient, result in ends.items():
                said = result if isinstance(result, Reply) else result.reply
                assert said is not None
                assert said.text.endswith(recipient)
                assert accepted(result) is ("0@" not in recipient and "5@" not in recipient)
            taken = {found.recipients[0] for found in sink.received}
            assert len(taken) == len(sink.received) == 800
            assert 2 < sink.connections < 40
