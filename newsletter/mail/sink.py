"""A real SMTP receiver on loopback, for the demo and for tests: takes everything, keeps it.

It runs an asyncio loop in a thread of its own and speaks enough of RFC 5321 that any client can
talk to it: PIPELINING, 8BITMIME, SMTPUTF8, SIZE, and on wish STARTTLS, AUTH PLAIN and LOGIN. It
answers as a script says, to show what a sender does when a relay refuses, hangs up, dawdles or
talks nonsense.
Not for the open network: it relays nothing and checks nobody.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from newsletter.mail.sink_session import Received, Session

__all__ = ["Received", "Sink"]

# (stage, argument) -> what to say instead of yes. See Sink.
Script = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Login:
    """What AUTH must say, and by which methods."""

    user: str
    password: str
    methods: tuple[str, ...] = ("PLAIN", "LOGIN")


class Sink:
    """The receiver. Use it as a context manager, or `start` and `stop` it.

    folder: where each mail is written as NNNNNN.eml, its bytes as received; None keeps them in
        memory only. A mail is on disk before it is answered.
    reply: asked at each stage ("connect", "ehlo", "helo", "starttls", "auth", "mail", "rcpt",
        "data", "body", "dot", "rset") with its argument (the address for mail and rcpt, the first
        recipient for data, body and dot); "body" is when a part of a mail is there and its end is
        not. None means yes (for body: nothing); a text is said instead ("451 4.7.1 later"), and a
        mail is taken only if it begins with 2, or is "after" or "slowly" such a text; "drop" hangs
        up; "take-drop" takes the mail and hangs up without a word; "silence" says nothing any
        more; "after 0.5 250 ok" says it half a second later; "slowly 0.1 250 ok" says it byte by
        byte, so many seconds between them; "endless 250-x" says that line without end. It runs in
        the sink's thread.
    tls: offers STARTTLS with this context. login: asks for AUTH before MAIL.
    smtputf8, pipelining: whether it offers SMTPUTF8 and PIPELINING. size: of a mail, in bytes.
    """

    def __init__(
        self,
        folder: Path | None = None,
        reply: Script | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        login: Login | None = None,
        smtputf8: bool = True,
        pipelining: bool = True,
        size: int = 50_000_000,
    ) -> None:
        self.folder = folder
        self.reply = reply
        self.tls = tls
        self.login = login
        self.smtputf8 = smtputf8
        self.pipelining = pipelining
        self.size = size
        self.received: list[Received] = []
        self.connections = 0
        self._host = host
        self.port = port
        self._sessions: set[Session] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """The smtp_url that leads here."""
        return f"smtp://{self._host}:{self.port}"

    def start(self) -> Sink:
        """Listen; returns when connections are accepted. `port` is then the real one."""
        if self._thread is not None:
            return self
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        ready = threading.Event()
        failures: list[OSError] = []
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(ready, failures)), name="sink", daemon=True
        )
        self._thread.start()
        ready.wait()
        if failures:
            self._thread.join()
            self._thread = None
            raise failures[0]
        return self

    def stop(self) -> None:
        """Hang up on everybody and end the thread. What was received stays."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = self._loop = self._stopping = None

    def __enter__(self) -> Sink:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def _run(self, ready: threading.Event, failures: list[OSError]) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._session, self._host, self.port)
        except OSError as error:
            failures.append(error)
            ready.set()
            return
        self._loop, self._stopping = loop, asyncio.Event()
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        for session in tuple(self._sessions):
            session.hang_up()
        await server.wait_closed()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next round

    def _session(self) -> Session:
        self.connections += 1
        return Session(self)

    # What a session asks of its sink; always in the sink's thread.

    def opened(self, session: Session) -> None:
        """A session began."""
        self._sessions.add(session)

    def closed(self, session: Session) -> None:
        """A session ended."""
        self._sessions.discard(session)

    def scripted(self, stage: str, argument: str) -> str | None:
        """What the script says at this stage."""
        return self.reply(stage, argument) if self.reply else None

    @property
    def methods(self) -> tuple[str, ...]:
        """How to log in before MAIL; none when nobody needs to."""
        return self.login.methods if self.login else ()

    def admits(self, user: str, password: str) -> bool:
        """Whether AUTH said the right thing."""
        login = self.login
        return login is None or (login.user, login.password) == (user, password)

    def take(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None:
        """Keep one mail."""
        mail = Received(sender, recipients, raw, time.time())
        if self.folder is not None:
            place = self.folder / f"{len(self.received) + 1:06}.eml"
            # Whoever looks into the folder meanwhile never sees half a mail.
            half = place.with_suffix(".part")
            half.write_bytes(raw)
            half.replace(place)
        self.received.append(mail)
