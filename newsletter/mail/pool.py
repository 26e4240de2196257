"""Many connections to one relay, driven by one thread that never waits for one of them.

A mail goes through in two steps, `offer` and `finish`; between them the caller's record is
written. Each connection has at most one mail whose dot is out and unanswered, so that is how many
mails nobody knows the fate of when this process or the line dies: at most one a connection.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from functools import lru_cache
from time import monotonic

from newsletter.config import SmtpServer
from newsletter.mail.connection import Connection, Route
from newsletter.mail.dial import Lookup
from newsletter.mail.session import IDLE_SECONDS, Patience
from newsletter.mail.tls import client_context
from newsletter.mail.transport import Done, Event, Offer, Returned

# RFC 5321 §4.5.3.2.6 asks for ten minutes after the dot where other replies get one or more:
# giving up early there is what makes a mail's fate unknown.
DOT_PATIENCE = 10
# Where a relay takes fewer connections than there might be, it is asked again after this time.
_TRY_MORE_AFTER = 60.0


class Pool:
    """The connections to `server`; for one thread, which alone may call anything but `wake`.

    size: connections at most. timeout: seconds for each reply; dot_timeout: for the reply to the
    final dot, ten times as long by default. mails_per_connection: after so many it is opened
    anew. hostname: what EHLO says; None takes the machine's name, or its address. tls: whose
    certificates are believed; None takes the system's authorities.

    Connections are opened when mails need them, one alone until the relay took a MAIL FROM.
    """

    def __init__(
        self,
        server: SmtpServer,
        *,
        size: int,
        timeout: float,
        mails_per_connection: int = 500,
        hostname: str | None = None,
        tls: ssl.SSLContext | None = None,
        dot_timeout: float | None = None,
    ) -> None:
        self._size = self._most = size  # the most is lower while the relay takes no more
        self._most_until = 0.0
        dot = timeout * DOT_PATIENCE if dot_timeout is None else dot_timeout
        self._route = Route(
            server,
            hostname,
            Patience(timeout, dot),
            mails_per_connection,
            lru_cache(lambda: tls or client_context()),
        )
        self._events: list[Event] = []
        self._connections: list[Connection] = []
        self._at: dict[Offer, Connection] = {}
        self._lookup: Lookup | None = None  # under way, for the connections that wait for it
        self._lookup_until = 0.0  # then it hangs, and another one is begun
        self._unplaced: list[Connection] = []
        self._is_proven = False  # the relay works with us
        self._looked = False  # since the last poll
        self._woken = self._closed = False
        self._opening = False  # some connection is not ready for mails
        self._shortest = min(timeout, dot, IDLE_SECONDS)
        self._due = 0.0  # when the deadlines are to be looked at
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    @property
    def open(self) -> int:
        """How many connections there are, those that are being opened among them."""
        return len(self._connections)

    def free(self) -> int:
        """How many more mails can be offered now."""
        if not self._is_proven:
            self._is_proven = any(
                line.session and line.session.proven for line in self._connections
            )
        if self._most < self._size and monotonic() > self._most_until:
            self._most = self._size
        idle = sum(1 for line in self._connections if line.idle)
        busy = len(self._connections) - idle
        return max(idle, (self._most if self._is_proven else 1) - busy, 0)

    def offer(self, offer: Offer) -> None:
        """Begin a mail, on an idle connection or a new one. Offered or Done will follow.

        Raises ValueError when nothing is free.
        """
        if not self.free():
            raise ValueError("no connection is free")
        self._look()
        now = monotonic()
        for connection in self._connections:
            if connection.idle:
                break
        else:
            self._open(offer, now)
            return
        self._at[offer] = connection
        connection.begin(offer, now)
        self._after(connection)

    def poll(self, timeout: float) -> list[Event]:
        """Read and write what can be; returns what happened, in its order.

        Returns as soon as something did, at the latest after `timeout` seconds or after `wake`.
        """
        self._looked = False
        now = monotonic()
        until = now + timeout
        while True:
            now = self._step(now, 0.0 if self._events else until - now)
            if self._events or self._woken or now >= until:
                self._woken = False
                return self._handed_out()

    def finish(self, offer: Offer, next: Offer | None = None) -> None:
        """Write the final dot of an offered mail, and behind it the envelope of the `next` one.

        Done follows for `offer`, also when the relay refused it in the meantime; the next one is
        Returned when it cannot begin here, as after the last mail of a connection.

        Raises ValueError when `offer` is not offered.
        """
        if offer not in self._at:
            raise ValueError("this mail is not offered")
        self._look()
        connection = self._at[offer]
        if next is not None:
            self._at[next] = connection
        connection.finish(offer, next, monotonic())
        self._after(connection)

    def abandon(self, offer: Offer) -> None:
        """Let go of a mail that has no dot: it is not accepted, and nothing more is said of it.

        Its connection ends, after the answer to the mail before it. A Done that was on its way is
        not said. Raises ValueError when the mail is not here.
        """
        connection = self._at.pop(offer, None)
        if connection is None:
            raise ValueError("this mail is not offered")
        ended = any(isinstance(event, Done) and event.offer is offer for event in self._events)
        self._events[:] = [event for event in self._events if event.offer is not offer]
        if connection.waiting is offer:
            connection.waiting = None
            connection.over = True
        elif connection.session is not None and not ended:
            connection.session.abandon(offer)
            connection.over = connection.session.over
        self._after(connection)

    def wake(self) -> None:
        """Make `poll` return; may be called from any thread, and from a signal handler."""
        with contextlib.suppress(OSError):  # full is loud enough, and closed needs none
            self._ringer.send(b"\0")

    def close(self, grace: float = 5) -> list[Event]:
        """End all connections; returns the ends of the mails that were still here.

        grace: seconds for the answers to dots that were written; a mail without one then is
        Unknown. Mails without a dot are Returned, and not accepted. May be called again.
        """
        if self._closed:
            return []
        self._closed = True
        until = monotonic() + grace
        for connection in tuple(self._connections):
            offer = connection.waiting
            if connection.session is not None:
                offer = connection.session.end_soon()
                connection.flush(monotonic())
            else:
                connection.over = True
            if offer is not None:
                self._events.append(Done(offer, Returned(None, "mail")))
            self._after(connection)
        now = monotonic()
        while self._connections:
            # Once at least: what is there to be read was said in time.
            now = self._step(now, max(0.0, until - now))
            if now >= until:
                break
        for connection in tuple(self._connections):
            if connection.session is not None:
                connection.session.lost("no reply in time")
            connection.over = True
            self._after(connection)
        self._selector.close()
        self._bell.close()
        self._ringer.close()
        return self._handed_out()

    # Inside.

    def _open(self, offer: Offer, now: float) -> None:
        """A new connection, for `offer`."""
        connection = Connection(self._route, self._selector, self._events.append, offer, now)
        self._connections.append(connection)
        self._at[offer] = connection
        self._unplaced.append(connection)
        self._opening = True
        if self._lookup is None or now >= self._lookup_until:
            server = self._route.server
            self._lookup = Lookup(server.host, server.port, self.wake)
            self._lookup_until = now + self._route.patience.reply
        self._place(now)

    def _place(self, now: float) -> None:
        """Tell the connections that wait for it where the relay is, once that is known."""
        lookup = self._lookup
        if lookup is None or not lookup.is_over:
            return
        self._lookup = None
        unplaced, self._unplaced = self._unplaced, []
        for connection in unplaced:
            if not connection.over:
                connection.found(lookup, now)
                self._after(connection)

    def _look(self) -> None:
        """Read what came since the last poll: an answer that is there before its question is
        asked is none to it, and a dot must not be written to a relay that refused the mail.
        """
        if not self._looked:
            self._looked = True
            self._exchange(0)

    def _step(self, now: float, wait: float) -> float:
        """Read, write, and look at the deadlines; returns what time it is then."""
        if self._opening or now >= self._due:
            self._plan(now)
        self._exchange(max(0.0, min(wait, self._due - now)))
        now = monotonic()
        if now >= self._due:
            # What came while this process stood still came in time, as far as anybody knows.
            self._exchange(0)
            self._expire(now)
        return now

    def _exchange(self, wait: float) -> None:
        """One round of reading and writing."""
        woken = False
        ready = self._selector.select(wait)
        now = monotonic()
        for key, mask in ready:
            connection: Connection | None = key.data
            if connection is None:
                woken = True
                self._hear()
                continue
            if mask & selectors.EVENT_READ:
                connection.readable(now)
            if mask & selectors.EVENT_WRITE and not connection.over:
                connection.writable(now)
            if connection.over:
                self._after(connection)
        if woken:
            self._place(now)
            self._woken = True

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def _plan(self, now: float) -> None:
        """Note when to look at the deadlines.

        Those that are set later on are at least `_shortest` away, except while a connection is
        being opened.
        """
        self._opening = False
        self._due = now + self._shortest
        for connection in self._connections:
            self._opening = self._opening or connection.session is None
            self._due = min(self._due, connection.deadline)

    def _expire(self, now: float) -> None:
        """Tell those whose deadline is over."""
        for connection in tuple(self._connections):
            if connection.deadline <= now:
                connection.expire(now)
                self._after(connection)
        self._due = now

    def _after(self, connection: Connection) -> None:
        """Close a connection that is over, and say so for the mail that it was opened for."""
        if not connection.over or connection not in self._connections:
            return
        connection.close()
        self._connections.remove(connection)
        problem, offer = connection.problem, connection.waiting
        if problem is None:
            return
        others = any(line.session and line.session.proven for line in self._connections)
        if others and problem.stage in ("connect", "ehlo"):
            # It works with us on other connections: it wants no more than these.
            self._most = len(self._connections)
            self._most_until = monotonic() + _TRY_MORE_AFTER
            if offer is not None:
                returned = Returned(problem.reply, problem.stage, cause=problem.cause)
                self._events.append(Done(offer, returned))
            return
        self._is_proven = False
        if offer is not None:
            self._events.append(Done(offer, problem))

    def _handed_out(self) -> list[Event]:
        events = self._events[:]
        self._events.clear()
        for event in events:
            if isinstance(event, Done):
                self._at.pop(event.offer, None)
        return events
