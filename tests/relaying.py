"""Handing mails over through a pool, as the tests of the transport do it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from newsletter.config import SmtpServer
from newsletter.mail.pool import Pool
from newsletter.mail.sink import Sink
from newsletter.mail.transport import Done, Event, Offer, Offered, Reply, Result, Returned

SENDER, ADA = "bounces@example.org", "ada@example.org"
# A test that waits longer than this has failed.
PATIENCE = 20


@contextlib.contextmanager
def pool_to(port: int | Sink, *, size: int = 1, timeout: float = 5, **over: Any) -> Iterator[Pool]:
    """A pool to a relay on loopback. over: parts of SmtpServer, or what else Pool takes."""
    number = port if isinstance(port, int) else port.port
    server = SmtpServer("127.0.0.1", number, "none", None, None)
    parts = {field.name for field in dataclasses.fields(SmtpServer)} & set(over)
    server = dataclasses.replace(server, **{name: over.pop(name) for name in parts})
    pool = Pool(server, size=size, timeout=timeout, **over)
    try:
        yield pool
    finally:
        pool.close(0)


def mail(raw: bytes, recipient: str = ADA, sender: str = SENDER) -> Offer:
    """An offer of `raw`; its key is the recipient."""
    return Offer(recipient, sender, recipient, raw, smtputf8=not (sender + recipient).isascii())


def until(pool: Pool, done: Callable[[list[Event]], bool]) -> list[Event]:
    """All events up to where `done` says so."""
    events: list[Event] = []
    end = time.monotonic() + PATIENCE
    while not done(events):
        assert time.monotonic() < end, f"nothing more came after {events}"
        events += pool.poll(0.5)
    return events


def any_done(events: list[Event]) -> bool:
    """For `until`: some mail came to its end."""
    return any(isinstance(each, Done) for each in events)


def offered(pool: Pool, offer: Offer) -> Offer:
    """Bring `offer` to where only its dot is missing."""
    pool.offer(offer)
    [event] = until(pool, bool)
    assert event == Offered(offer), event
    return offer


def end_of(pool: Pool, offer: Offer | None = None) -> Result:
    """What became of the mail that is on its way."""
    [event] = until(pool, bool)
    assert isinstance(event, Done)
    assert offer is None or event.offer is offer
    return event.result


def hand_over(pool: Pool, raw: bytes, recipient: str = ADA) -> Result:
    """One mail, from its offer to its end."""
    offer = mail(raw, recipient)
    return run(pool, [offer])[recipient]


def run(pool: Pool, offers: Iterable[Offer], *, again: bool = True) -> dict[str, Result]:
    """Hand mails over as fast as it goes, each next one behind a dot; their ends by recipient.

    again: offers those that were returned once more.
    """
    waiting = list(offers)[::-1]
    count = len(waiting)
    ends: dict[str, Result] = {}
    end = time.monotonic() + PATIENCE
    while len(ends) < count:
        assert time.monotonic() < end, f"nothing more came after {ends}"
        while waiting and pool.free():
            pool.offer(waiting.pop())
        for event in pool.poll(0.5):
            if isinstance(event, Offered):
                pool.finish(event.offer, waiting.pop() if waiting else None)
            elif again and isinstance(event.result, Returned):
                waiting.append(event.offer)
            else:
                assert event.offer.key not in ends
                ends[event.offer.key] = event.result
    return ends


def accepted(result: Result) -> bool:
    """Whether the relay took the mail."""
    return isinstance(result, Reply)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What the client says up to `end`, or until it hangs up."""
    read = b""
    while end not in read:
        piece = connection.recv(65536)
        if not piece:
            return read
        read += piece
    return read


def up_to_the_body(connection: socket.socket, *extensions: bytes) -> None:
    """Play a relay up to 354."""
    connection.sendall(b"220 relay\r\n")
    read_until(connection, b"\r\n")
    lines = [b"relay", *extensions]
    connection.sendall(
        b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"
    )
    if b"PIPELINING" in extensions:
        read_until(connection, b"DATA\r\n")
        connection.sendall(b"250 ok\r\n250 ok\r\n354 go\r\n")
        return
    for said in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        read_until(connection, b"\r\n")
        connection.sendall(said)
