"""Finding the relay and keeping the line to it: name servers, ports, resets, silence, restarts.

What the kernel does for us is not repeated here: a lost packet is sent again, and a peer that
vanished is noticed by its silence, which has its deadline (below) and TCP's own keepalive.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from relaying import (
    accepted,
    end_of,
    hand_over,
    mail,
    offered,
    pool_to,
    read_until,
    up_to_the_body,
)

from newsletter.mail.pool import Pool
from newsletter.mail.sink import Sink
from newsletter.mail.transport import (
    Done,
    Offered,
    RelayProblem,
    Reply,
    TransportError,
    TryLater,
    Unknown,
)

EVE = "eve@example.org"
RESET = struct.pack("ii", 1, 0)


def problem_of(pool: Pool, raw: bytes) -> RelayProblem:
    """The problem that handing a mail over meets; it may pass."""
    result = hand_over(pool, raw)
    assert isinstance(result, RelayProblem)
    assert result.stage == "connect"
    assert not result.permanent
    return result


def test_nobody_listens(raw: bytes) -> None:
    """A closed port is a problem with the relay, with its address in the text; it may pass."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pool_to(port) as pool:
        assert f"127.0.0.1, port {port}: connection refused" in str(problem_of(pool, raw))
        with Sink(port=port) as sink:
            assert accepted(hand_over(pool, raw))
            assert len(sink.received) == 1


def test_nobody_answers(raw: bytes) -> None:
    """A connection that does not come about is given up in time, and blocks nobody meanwhile."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pool_to(full.getsockname()[1], timeout=0.3) as pool:
            pool.offer(mail(raw))
            began = time.monotonic()
            assert pool.poll(0.05) == []
            result = end_of(pool)
            assert isinstance(result, RelayProblem)
            assert "no connection in time" in str(result)
            assert 0.25 < time.monotonic() - began < 15
        for each in waiting:
            each.close()


def test_a_host_that_is_none(raw: bytes) -> None:
    """A name that does not exist, or is no name, is told as such."""
    for host in ("no-such-relay.invalid", "a..b", "x" * 70 + ".example.org"):
        with pool_to(25, host=host) as pool:
            assert host in str(problem_of(pool, raw))


@contextmanager
def name_server(answer: Callable[[], list[str]]) -> Iterator[list[str]]:
    """Puts another one in the place of the system's: `answer` gives the addresses of any host."""
    real, asked = socket.getaddrinfo, []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [each for place in answer() for each in real(place, port, type=socket.SOCK_STREAM)]

    socket.getaddrinfo = look_up  # type: ignore[assignment]
    try:
        yield asked
    finally:
        socket.getaddrinfo = real


def test_a_name_server_that_hangs(sink: Sink, raw: bytes) -> None:
    """Asking for the relay's address blocks nobody and has its deadline; the next try asks anew,
    and the late answer disturbs nothing."""
    hanging = threading.Event()
    with (
        name_server(lambda: ["127.0.0.1"] if hanging.wait(10) else []) as asked,
        pool_to(sink, host="relay.example.org", timeout=0.3) as pool,
    ):
        pool.offer(mail(raw))
        assert pool.poll(0.05) == []
        result = end_of(pool)
        assert isinstance(result, RelayProblem)
        assert "no answer from a name server in time" in str(result)
        hanging.set()
        while not accepted(hand_over(pool, raw)):
            assert not sink.received
        assert len(asked) >= 2


def test_a_name_server_that_fails(sink: Sink, raw: bytes) -> None:
    """SERVFAIL and the like pass; no address at all is the same."""
    answers: list[Any] = [socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), [], ["127.0.0.1"]]

    def answer() -> list[str]:
        one = answers.pop(0)
        if isinstance(one, OSError):
            raise one
        return one  # type: ignore[no-any-return]

    with name_server(answer), pool_to(sink, host="relay.example.org") as pool:
        assert "temporary failure" in str(problem_of(pool, raw))
        assert "no address" in str(problem_of(pool, raw))
        assert accepted(hand_over(pool, raw))


def test_several_addresses(sink: Sink, raw: bytes) -> None:
    """Each address of the relay is tried, and what it is called is asked for each time anew."""
    answers = [["127.0.0.3", "127.0.0.2", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]]
    with (
        name_server(lambda: answers.pop(0)) as asked,
        pool_to(sink, host="relay.example.org", mails_per_connection=1) as pool,
    ):
        assert accepted(hand_over(pool, raw))
        assert accepted(hand_over(pool, raw))
        assert "refused" in str(problem_of(pool, raw))
        assert asked == ["relay.example.org"] * 3


STAGES: list[tuple[bytes, type[TransportError]]] = [
    (b"", RelayProblem),
    (b"EHLO", RelayProblem),
    (b"MAIL", RelayProblem),
    (b"RCPT", TryLater),
    (b"DATA", TryLater),
    (b"\r\n.\r\n", Unknown),
]


@pytest.mark.parametrize(("said", "kind"), STAGES)
def test_a_reset_at_each_stage(
    said: bytes, kind: type[TransportError], raw: bytes, relay: Callable[..., int]
) -> None:
    """A line reset by somebody in the middle means what it means at that stage."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(b"220 relay\r\n")
        for answer in (b"250 relay\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b""):
            end = b"\r\n" if answer else b"\r\n.\r\n"
            if said in read_until(connection, end):
                break
            connection.sendall(answer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with pool_to(relay(behave)) as pool:
        assert type(hand_over(pool, raw)) is kind


def test_a_reset_behind_the_yes(raw: bytes, relay: Callable[..., int]) -> None:
    """The relay says 250 to the dot and resets the line at once: accepted. What was read counts."""

    def behave(connection: socket.socket) -> None:
        up_to_the_body(connection)
        read_until(connection, b"\r\n.\r\n")
        connection.sendall(b"250 2.0.0 taken\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with pool_to(relay(behave)) as pool:
        for _ in range(5):
            assert accepted(hand_over(pool, raw))


def test_a_relay_that_does_not_read(raw: bytes, relay: Callable[..., int]) -> None:
    """A body that the relay does not take has its deadline, and its refusal before that is read."""
    released = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        up_to_the_body(connection)
        released.wait(10)

    with pool_to(relay(behave), timeout=0.1) as pool:
        began = time.monotonic()
        result = hand_over(pool, raw + b"x\r\n" * 3_000_000)
        released.set()
        assert isinstance(result, TryLater)
        assert "did not take the mail in time" in str(result)
        assert 0.5 < time.monotonic() - began < 15  # a tenth of a second for each MiB


def test_late_is_not_never(raw: bytes) -> None:
    """The answer to the dot has a time of its own: within it a late one counts, after it nobody
    knows; what comes then is for nobody."""
    for seconds, patience, kind in ((0.3, 10, Reply), (5, 0.5, Unknown)):
        with (
            Sink(
                reply=lambda at, _, s=seconds: f"after {s} 250 ok" if at == "dot" else None
            ) as sink,
            pool_to(sink, timeout=20, dot_timeout=patience) as pool,
        ):
            assert type(hand_over(pool, raw)) is kind
            assert len(sink.received) == 1


def test_an_answer_that_nobody_read_yet(sink: Sink, raw: bytes) -> None:
    """An answer that is there when the process comes back from standing still is an answer,
    however late it is read."""
    with pool_to(sink, timeout=20, dot_timeout=0.2) as pool:
        offer = offered(pool, mail(raw))
        pool.finish(offer)
        time.sleep(0.4)
        assert accepted(end_of(pool, offer))
        pool.finish(last := offered(pool, mail(raw)))
        time.sleep(0.4)
        [event] = pool.close(0)
        assert isinstance(event, Done)
        assert (event.offer, accepted(event.result)) == (last, True)


def test_a_relay_that_restarts(raw: bytes) -> None:
    """A relay that comes and goes: each mail that was called accepted arrived, no mail arrives
    twice, and what may have arrived unseen is called unknown."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ending = threading.Event()
    arrived: list[str] = []

    def come_and_go() -> None:
        while not ending.is_set():
            with Sink(port=port) as sink:
                ending.wait(0.1)
            arrived.extend(found.recipients[0] for found in sink.received)

    relay = threading.Thread(target=come_and_go)
    relay.start()
    waiting = [mail(raw, f"r{number}@example.org") for number in range(400)]
    ends: dict[str, list[str]] = {"accepted": [], "unknown": []}
    with pool_to(port, size=4) as pool:
        until_ = time.monotonic() + 20
        out = 0
        while (waiting or out) and time.monotonic() < until_:
            while waiting and pool.free():
                pool.offer(waiting.pop())
                out += 1
            for event in pool.poll(0.2):
                if isinstance(event, Offered):
                    following = waiting.pop() if waiting else None
                    out += following is not None
                    pool.finish(event.offer, following)
                    continue
                out -= 1
                if isinstance(event.result, Reply):
                    ends["accepted"].append(event.offer.key)
                elif isinstance(event.result, Unknown):
                    ends["unknown"].append(event.offer.key)
                else:
                    waiting.append(event.offer)
                    if isinstance(event.result, RelayProblem):
                        time.sleep(0.01)
    ending.set()
    relay.join()
    assert len(ends["accepted"]) + len(ends["unknown"]) == 400
    assert len(arrived) == len(set(arrived))
    assert set(ends["accepted"]) <= set(arrived) <= {*ends["accepted"], *ends["unknown"]}
