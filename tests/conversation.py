"""A session and a relay on a wire without a network, which may be cut at any byte."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from newsletter.mail.envelope import Extensions
from newsletter.mail.session import Patience, Session
from newsletter.mail.sink_session import Received
from newsletter.mail.sink_session import Session as Server
from newsletter.mail.transport import Event, Offer, Offered, Result

RAW = b"Subject: x\r\n\r\n.a line that begins with a dot\r\n..\r\nand another\r\n"
PATIENCE = Patience(60, 600)


class Wire:
    """What a server writes, and whether it hung up: an asyncio transport without a network."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.said += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


class Relay:
    """A server on a wire; script: (stage, recipient) -> what to say instead of yes."""

    tls = None
    smtputf8 = True
    size = 1_000_000
    methods = ()

    def __init__(self, script: Callable[[str, str], str | None], *, pipelining: bool) -> None:
        self.pipelining = pipelining
        self.script = script
        self.received: list[Received] = []
        self.wire = Wire()
        self.heard = bytearray()
        self.server = Server(self)
        self.server.connection_made(self.wire)  # type: ignore[arg-type]
        self.wire.said.clear()

    def opened(self, session: Server) -> None: ...
    def closed(self, session: Server) -> None: ...

    def scripted(self, stage: str, argument: str) -> str | None:
        return self.script(stage, argument)

    def admits(self, user: str, password: str) -> bool:
        return True

    def take(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None:
        self.received.append(Received(sender, recipients, raw, 0))

    def hear(self, data: bytes) -> None:
        self.heard += data
        if not self.wire.closed:
            self.server.data_received(data)


class Line:
    """A session and a relay on one wire, which may be cut.

    pieces: lengths in which the relay's replies arrive, over and over. breaks_at: how many bytes
    of ours arrive before the wire is cut; what the relay said until then arrives or is lost.
    A mail whose key is "let go" is abandoned: behind the dot of another one, or when it is offered.
    """

    def __init__(
        self,
        relay: Relay,
        offers: list[Offer],
        *,
        pieces: list[int] | None = None,
        breaks_at: int | None = None,
        replies_are_lost: bool = False,
        most: int = 10**6,
    ) -> None:
        self.relay, self.offers = relay, offers[::-1]
        self.events: list[Event] = []
        self.ends: dict[Offer, Result] = {}
        self.session = Session(
            Extensions(pipelining=relay.pipelining, size=0, smtputf8=True),
            PATIENCE,
            most,
            self.events.append,
        )
        self.pieces = cycle(pieces or [10**6])
        self.left = breaks_at if breaks_at is not None else 10**9
        self.replies_are_lost = replies_are_lost
        self.armed: set[Offer] = set()

    @property
    def is_cut(self) -> bool:
        return self.left <= 0 or self.relay.wire.closed

    def run(self) -> dict[Offer, Result]:
        """Hand the mails over until nothing moves any more."""
        while not self.session.over and self.step():
            pass
        if not self.session.over:
            self.session.expire()
        assert not self.session.out or self.session.out == b"QUIT\r\n"
        self.look()
        return self.ends

    def step(self) -> bool:
        if self.session.idle and self.offers:
            self.session.begin(self.offers.pop(), 0.0)
        self.speak()
        self.look()
        return self.listen() or bool(self.session.out) or (self.session.idle and bool(self.offers))

    def speak(self) -> None:
        words, self.session.out = self.session.out, b""
        if not words:
            return
        arrives = words[: max(0, self.left)]
        self.left -= len(words)
        if arrives:
            self.relay.hear(arrives)
        if len(words) > 1:
            self.session.sent(whole=False)
        self.session.sent(whole=True)

    def listen(self) -> bool:
        said = self.relay.wire.said
        if self.is_cut and (self.replies_are_lost or not said):
            self.session.lost("the line broke")
            return False
        if not said:
            return False
        piece = next(self.pieces)
        data = bytes(said[:piece])
        del said[:piece]
        self.session.receive(data, 0.0)
        return True

    def look(self) -> None:
        """What happened; an offered mail is finished, and the next one goes behind its dot."""
        while self.events:
            event = self.events.pop(0)
            if isinstance(event, Offered):
                # As the pool does: what came meanwhile is read before a dot is written.
                while self.relay.wire.said and not self.session.over:
                    self.listen()
                if event.offer.key == "let go":
                    if not self.session.over:
                        self.session.abandon(event.offer)
                    continue
                self.armed.add(event.offer)
                following = self.offers.pop() if self.offers else None
                self.session.finish(event.offer, following, 0.0)
                if following is not None and following.key == "let go" and not self.events:
                    self.session.abandon(following)
            else:
                assert event.offer not in self.ends, "said twice"
                self.ends[event.offer] = event.result
