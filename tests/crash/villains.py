"""Small senders that are wrong, one mistake each, and one that is right: the harness must tell.

They use the tables of the real one with plain sqlite3, one connection and one mail at a time. What
each does wrong has been seen in software that is in use.
"""

from __future__ import annotations

import hashlib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from crash.world import World

BATCH = 10


@dataclass(frozen=True)
class Held:
    """A row that a sender took."""

    id: int
    recipient: str
    message_id: str
    epoch: int

    @property
    def raw(self) -> bytes:
        return (
            f"From: notes@example.org\r\nTo: {self.recipient}\r\nMessage-ID: {self.message_id}\r\n"
            "\r\nThe meadow is green.\r\n"
        ).encode()


class Line:
    """One connection to the relay; opened anew when it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def offer(self, held: Held) -> str | None:
        """Up to where the dot is missing: None, "later" (4yz), "refused" (5yz) or "broken"."""
        if self._socket is None:
            self._open()
        for word in ("MAIL FROM:<notes@example.org>", f"RCPT TO:<{held.recipient}>", "DATA"):
            code = self._ask(word.encode() + b"\r\n")
            if code is None or code >= 400:
                self.drop()
                return "broken" if code is None else "later" if code < 500 else "refused"
            if word == "DATA" and code != 354:
                self.drop()
                return "broken"
        assert self._socket
        self._socket.sendall(held.raw)
        return None

    def dot(self) -> str:
        """The dot: "accepted", "later", "refused" or "broken"."""
        code = self._ask(b".\r\n")
        if code is None:
            self.drop()
            return "broken"
        return "accepted" if code < 300 else "later" if code < 500 else "refused"

    def drop(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._answer()
        self._ask(b"EHLO villain\r\n")

    def _ask(self, words: bytes) -> int | None:
        if self._socket is None:
            return None
        with suppress(OSError):
            self._socket.sendall(words)
            return self._answer()
        return None

    def _answer(self) -> int | None:
        """The code of the next reply; None when the line broke or what came was none."""
        assert self._socket
        while True:
            while b"\r\n" not in self._buffer:
                with suppress(OSError):
                    data = self._socket.recv(4096)
                    if data:
                        self._buffer += data
                        continue
                return None
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if not line[:3].isdigit() or len(line) < 4:
                return None
            if line[3:4] == b" ":
                return int(line[:3]) if not self._buffer else None


class Honest:
    """Claim, arm, settle: the protocol in its smallest form."""

    synchronous = "FULL"

    def __init__(self, world: World, hook: Callable[[str, Held], None] = lambda *_: None) -> None:
        self._world = world
        self._hook = hook  # called at "offered", "armed", "answered": a test may stop here

    def run(self) -> None:
        """Send until everything is sent."""
        self._line = Line(self._world.sink.port)
        self._database = sqlite3.connect(self._world.database, isolation_level=None, timeout=30)
        self._database.execute(f"PRAGMA synchronous={self.synchronous}")
        self.reap()
        while batch := self.claim():
            for held in batch:
                self.hand_over(held)
        self.finish()
        self._line.drop()
        self._database.close()

    def reap(self) -> None:
        """Whoever held rows is dead."""
        with self.transaction() as change:
            change("UPDATE delivery SET state = 'queued' WHERE state = 'claimed'")
            change("UPDATE delivery SET state = 'uncertain' WHERE state = 'armed'")

    def claim(self) -> list[Held]:
        """Take some rows."""
        with self.transaction() as change:
            change(
                "UPDATE delivery SET state = 'queued' WHERE state = 'deferred' AND "
                "NOT EXISTS (SELECT 1 FROM delivery WHERE state = 'queued')"
            )
            return [
                Held(*found)
                for found in change(
                    "UPDATE delivery SET state = 'claimed', epoch = epoch + 1 WHERE id IN "
                    f"(SELECT id FROM delivery WHERE state = 'queued' LIMIT {BATCH}) "
                    "RETURNING id, address, message_id, epoch"
                ).fetchall()
            ]

    def hand_over(self, held: Held) -> None:
        """One mail, from MAIL to its settled row."""
        said = self._line.offer(held)
        if said is not None:
            self._hook("refused", held)
            self.settle(held, said)
            return
        self._hook("offered", held)
        if not self.arm(held):
            self._line.drop()
            self.change(held, "state = 'skipped'", "state = 'claimed'")
            return
        self._hook("armed", held)
        said = self._line.dot()
        self._hook("answered", held)
        self.settle(held, "unknown" if said == "broken" else said)

    def arm(self, held: Held) -> bool:
        """Promise to write the dot."""
        return self.change(
            held,
            "state = 'armed', content_sha256 = x'" + hashlib.sha256(held.raw).hexdigest() + "'",
            "state = 'claimed' AND EXISTS (SELECT 1 FROM subscription s "
            "WHERE s.id = delivery.subscription_id AND s.state = 'confirmed')",
        )

    def settle(self, held: Held, said: str) -> None:
        """Write down what the relay said."""
        state = {
            "accepted": "accepted",
            "later": "deferred",
            "broken": "deferred",
            "refused": "failed",
            "unknown": "uncertain",
        }[said]
        self.change(held, f"state = '{state}'", "state IN ('claimed', 'armed')")

    def change(self, held: Held, values: str, where: str) -> bool:
        """Change a row that is still ours."""
        with self.transaction() as change:
            statement = f"UPDATE delivery SET {values} WHERE id = ? AND epoch = ? AND {where}"
            return change(statement, (held.id, held.epoch)).rowcount == 1

    def finish(self) -> None:
        """Call the digests sent."""
        with self.transaction() as change:
            change(
                "UPDATE digest SET state = 'sent' WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE "
                "d.digest_id = digest.id AND d.state IN ('queued', 'claimed', 'armed', 'deferred'))"
            )

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """What executes statements in one transaction."""
        self._database.execute("BEGIN IMMEDIATE")
        yield self._database.execute
        self._database.execute("COMMIT")


class MovesACursor(Honest):
    """Notes how far it read when it reads: who was read and not mailed is forgotten."""

    def reap(self) -> None:
        with self.transaction() as change:
            change("CREATE TABLE IF NOT EXISTS cursor (up_to INTEGER)")
            change("INSERT INTO cursor SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM cursor)")

    def claim(self) -> list[Held]:
        with self.transaction() as change:
            found = change(
                "SELECT id, address, message_id, epoch FROM delivery, cursor "
                f"WHERE id > up_to AND state = 'queued' ORDER BY id LIMIT {BATCH}"
            ).fetchall()
            if found:
                change("UPDATE cursor SET up_to = ?", (found[-1][0],))
            return [Held(*each) for each in found]

    def arm(self, held: Held) -> bool:
        return True

    def settle(self, held: Held, said: str) -> None:
        state = "accepted" if said == "accepted" else "failed"
        self.change(held, f"state = '{state}'", "1")

    def finish(self) -> None:
        with self.transaction() as change:
            change("UPDATE digest SET state = 'sent'")


class MarksAfterwards(Honest):
    """Sends, and then writes down that it did: who was mailed before a crash is mailed again."""

    def arm(self, held: Held) -> bool:
        return True


class ForgetsTheEpoch(Honest):
    """Looks at the row's state only: a process that slept settles what others are sending."""

    def change(self, held: Held, values: str, where: str) -> bool:
        with self.transaction() as change:
            statement = f"UPDATE delivery SET {values} WHERE id = ? AND {where}"
            return change(statement, (held.id,)).rowcount == 1


class DoesNotSync(Honest):
    """Leaves it to the system when to write: after a power cut, what was sent was not."""

    synchronous = "OFF"


class SyncsNowAndThen(DoesNotSync):
    """As it is often advised: in WAL mode, commits are not on the disk yet."""

    synchronous = "NORMAL"


class TriesAgain(Honest):
    """Takes a lost answer for a no: what mail servers do."""

    def settle(self, held: Held, said: str) -> None:
        super().settle(held, "later" if said == "unknown" else said)


class LooksEarly(Honest):
    """Asks for the reader's consent when it claims, and not again."""

    def arm(self, held: Held) -> bool:
        return self.change(held, "state = 'armed'", "state = 'claimed'")


class WritesAnew(Honest):
    """Makes another Message-ID for each try, as if it were another mail."""

    def claim(self) -> list[Held]:
        return [
            Held(held.id, held.recipient, f"<{held.id}.{held.epoch}@example.org>", held.epoch)
            for held in super().claim()
        ]
