"""One connection to the relay: its socket, its encryption, and the conversation over it.

Nothing here waits. The pool says when the socket can be read or written and when a deadline is
over; the mails' ends are told by the session.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from newsletter.config import SmtpServer
from newsletter.mail import dial
from newsletter.mail.greeting import Greeting
from newsletter.mail.replies import readable
from newsletter.mail.session import Patience, Session
from newsletter.mail.tls import Tls, handshake_failure
from newsletter.mail.transport import Done, Event, Offer, RelayProblem, Returned, Stage

_MOST = 16384


@dataclass(frozen=True, slots=True)
class Route:
    """What all connections of a pool have in common.

    hostname: for EHLO, None for this machine's. mails: most of them on one connection.
    tls: makes the context when it is needed.
    """

    server: SmtpServer
    hostname: str | None
    patience: Patience
    mails: int
    tls: Callable[[], ssl.SSLContext]


class Connection:
    """A connection that is being opened for `waiting`, its first mail, or serves mails.

    problem: why it never came to mails; `waiting` is then still the mail that it was for.
    over: it is of no use any more; `close` it. Its session has told the ends of its mails.
    """

    def __init__(
        self,
        route: Route,
        selector: BaseSelector,
        events: Callable[[Event], None],
        waiting: Offer,
        now: float,
    ) -> None:
        self._route = route
        self._selector = selector
        self._emit = events
        self._addresses: list[dial.Address] = []
        self._line: socket.socket | None = None
        self._watched = 0  # the events that the selector watches for
        self._deadline = now + route.patience.reply
        self._give_up_at = self._deadline  # for all addresses together
        self._tls: Tls | None = None
        self._greeting: Greeting | None = None
        self._unsent = b""
        self.session: Session | None = None
        self.waiting: Offer | None = waiting
        self.problem: RelayProblem | None = None
        self.over = False

    @property
    def idle(self) -> bool:
        """Whether a mail can begin on it."""
        return self.session is not None and self.session.idle

    @property
    def deadline(self) -> float:
        """When `expire` is due."""
        if self.session is not None:
            return self.session.deadline
        return self._greeting.deadline if self._greeting is not None else self._deadline

    # What the pool says.

    def found(self, lookup: dial.Lookup, now: float) -> None:
        """The relay's addresses are known, or that there are none."""
        if lookup.error is not None or not lookup.addresses:
            self._fail("connect", _why(lookup.error) if lookup.error else "it has no address")
            return
        self._addresses = list(lookup.addresses)
        self._dial(now)

    def begin(self, offer: Offer, now: float) -> None:
        """Say the envelope of a mail; only when idle."""
        if self.session is not None:
            self.session.begin(offer, now)
            self.flush(now)

    def finish(self, offer: Offer, following: Offer | None, now: float) -> None:
        """Write the dot of an offered mail; see Session.finish."""
        if self.session is not None:
            self.session.finish(offer, following, now)
            self.flush(now)
        elif not self.over:
            raise ValueError("this mail is not offered yet")
        elif following is not None:
            self._emit(Done(following, Returned(None, "connect")))

    def readable(self, now: float) -> None:
        """There is something to read, or the line broke."""
        if self._line is None:
            return
        try:
            data = self._line.recv(_MOST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(_why(error))
            return
        if not data:
            self._lost("the relay closed the line")
        elif self._tls is not None:
            self._decrypt(self._tls, data, now)
        else:
            self._received(data, now)

    def writable(self, now: float) -> None:
        """The socket takes bytes again, or a connection attempt is decided."""
        if self._greeting is not None or self.session is not None:
            self.flush(now)
            return
        if self._line is None:
            return
        try:
            dial.check(self._line)
        except OSError as error:
            self._hang_up()
            self._dial(now, _why(error))
        else:
            self._opened(now)

    def expire(self, now: float) -> None:
        """The deadline is over."""
        if self.session is not None:
            self.session.expire()
            self.flush(now)
        elif self._greeting is not None:
            self._greeting.expire()
            self._look_at_greeting(now)
        elif self._line is not None:
            self._hang_up()
            self._dial(now, "no connection in time")
        else:
            self._fail("connect", "no answer from a name server in time")

    def close(self) -> None:
        """Close the socket, without a word."""
        self.over = True
        self._hang_up()

    # Opening.

    def _dial(self, now: float, why: str = "no connection in time") -> None:
        """Try the next address; the time that is left is shared out over those that are."""
        while self._addresses and now < self._give_up_at:
            share = (self._give_up_at - now) / len(self._addresses)
            try:
                self._line = dial.dial(self._addresses.pop(0))
            except OSError as error:
                why = _why(error)
                continue
            self._deadline = now + share
            self._watch(EVENT_WRITE)
            return
        self._fail("connect", why)

    def _opened(self, now: float) -> None:
        """The TCP connection is there."""
        route = self._route
        if self._line is None:
            return
        hostname = route.hostname or dial.own_name(self._line)
        self._greeting = Greeting(route.server, hostname, route.patience.reply, now)
        self._watch(EVENT_READ)
        if route.server.security == "tls":
            self._encrypt(now)

    def _encrypt(self, now: float) -> None:
        """Begin the TLS handshake."""
        try:
            self._tls = Tls(self._route.tls(), self._route.server.host)
            self._write(self._tls.begin(), now)
        except (OSError, ValueError) as error:
            self._refuse_tls(error)

    def _decrypt(self, tls: Tls, data: bytes, now: float) -> None:
        was_established = tls.established
        try:
            said, answer = tls.receive(data)
        except (OSError, ValueError) as error:
            if was_established:
                self._lost(_why(error))
            else:
                self._refuse_tls(error)
            return
        # Before anything that is encrypted from here on, and not before what was said is read: the
        # line may be broken the one way and full of answers the other.
        self._unsent += answer
        if tls.established and not was_established and self._greeting is not None:
            if self._greeting.wants_tls:
                self._greeting.encrypted(now)
            self._look_at_greeting(now)
        if said and not self.over:
            self._received(said, now)
        if not self.over:
            self.flush(now)

    def _refuse_tls(self, error: Exception) -> None:
        stage = self._greeting.stage if self._greeting is not None else "connect"
        why = handshake_failure(error)
        if isinstance(why, str):
            self._fail(stage, why)
        else:
            self._stop(RelayProblem(readable(*why, stage), stage))

    def _look_at_greeting(self, now: float) -> None:
        """What the greeting came to."""
        greeting = self._greeting
        if greeting is None:
            return
        if greeting.problem is not None:
            problem = greeting.problem
            if problem.reply is None:
                self._fail(problem.stage, problem.cause)
            else:
                self._stop(problem)
        elif greeting.wants_tls:
            self._encrypt(now)
        elif greeting.extensions is not None:
            self._greeting = None
            route = self._route
            self.session = Session(greeting.extensions, route.patience, route.mails, self._emit)
            offer, self.waiting = self.waiting, None
            if offer is not None:
                self.session.begin(offer, now)
        self.flush(now)

    def _fail(self, stage: Stage, cause: str | None) -> None:
        server = self._route.server
        where = f"{server.host}, port {server.port}: {cause or 'the line broke'}"
        self._stop(RelayProblem(None, stage, cause=where))

    def _stop(self, problem: RelayProblem) -> None:
        self.problem = problem
        self.over = True

    # Bytes.

    def _received(self, data: bytes, now: float) -> None:
        session = self.session
        if session is not None:
            session.receive(data, now)
            if session.out or session.over:
                self.flush(now)
        elif self._greeting is not None:
            self._greeting.receive(data, now)
            self._look_at_greeting(now)

    def flush(self, now: float) -> None:
        """Write what there is to say; what does not go now is written when it does."""
        talk = self.session or self._greeting
        if talk is not None and talk.out:
            words, talk.out = talk.out, b""
            if self._tls is not None:
                try:
                    words = self._tls.encrypt(words)
                except (OSError, ValueError) as error:
                    self._lost(_why(error))
                    return
            self._write(words, now)
        elif self._unsent:
            self._write(b"", now)
        if self.session is not None and self.session.over:
            self.over = True

    def _write(self, words: bytes, now: float) -> None:
        """Give `words` to the kernel, after those that it did not take yet."""
        if self._line is None:
            return
        if self._unsent:
            words = self._unsent + words
        try:
            count = self._line.send(words)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError as error:
            self._broke(_why(error), now)
            return
        whole = count == len(words)
        if not whole or self._unsent:
            self._unsent = words[count:]
            self._watch(EVENT_READ if whole else EVENT_READ | EVENT_WRITE)
        if self.session is not None and count:
            self.session.sent(whole=whole)

    def _broke(self, cause: str, now: float) -> None:
        """Nothing can be written any more; what the relay said before that still counts."""
        self._unsent = b""
        for _ in range(8):
            if self.over or self._line is None:
                return
            try:
                data = self._line.recv(_MOST)
                if data and self._tls is not None:
                    data, _ = self._tls.receive(data)
            except (OSError, ValueError):
                break
            if not data:
                break
            if self.session is not None:
                self.session.receive(data, now)
                self.over = self.session.over
        self._lost(cause)

    def _lost(self, cause: str) -> None:
        if self.session is not None:
            if not self.session.over:
                self.session.lost(cause)
            self.over = True
        elif self._greeting is not None:
            self._fail(self._greeting.stage, cause)
        else:
            self._fail("connect", cause)

    def _watch(self, events: int) -> None:
        if self._line is None or events == self._watched:
            return
        if self._watched:
            self._selector.modify(self._line, events, self)
        else:
            self._selector.register(self._line, events, self)
        self._watched = events

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            if self._watched:
                self._selector.unregister(line)
                self._watched = 0
            dial.close(line)


def _why(error: Exception) -> str:
    """What happened, in the words of the system."""
    why = getattr(error, "strerror", None) or str(error) or "the line broke"
    return f"{why[0].lower()}{why[1:]}"
