"""A small world to crash in: an installation with readers and digests, and a sink for its mail."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from crash import ledger, rows
from crash.checker import History, Left
from crash.sink import Faults
from mailing import approved_digest, many_readers, queue_all

from newsletter import store

HASH_KEY = b"h" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# What goes wrong at the relay, about one mail in fifteen. None of it is about the sender itself:
# that would stop the digest, and has tests of its own.
USUAL: Faults = {
    "connect": [("421 4.3.2 come back later", 0.005), ("drop", 0.005), ("garbage", 0.002)],
    "ehlo": [("drop", 0.003), ("slow", 0.003)],
    "mail": [("drop", 0.003), ("421 4.3.2 closing", 0.002), ("garbage", 0.001)],
    "rcpt": [
        ("451 4.7.1 greylisted", 0.01),
        ("550 5.2.2 mailbox full", 0.003),
        ("drop", 0.003),
        ("garbage", 0.002),
        ("250 2.1.5 ok\r\n250 2.1.5 ok", 0.002),
        ("split", 0.003),
    ],
    "data": [
        ("451 4.3.0 not now", 0.003),
        ("drop", 0.003),
        ("354 go on\r\n250 2.0.0 already", 0.002),
        ("split", 0.002),
    ],
    "offered": [("hang-up", 0.004)],
    "dot": [
        ("451 4.3.0 try again", 0.008),
        ("550 5.2.2 mailbox full", 0.002),
        ("drop", 0.004),
        ("take-drop", 0.004),
        ("inside", 0.003),
        ("garbage", 0.003),
        ("slow", 0.003),
        ("split", 0.003),
        ("421 4.3.2 closing", 0.002),
        ("250 2.0.0 taken\r\n250 2.0.0 taken", 0.002),
    ],
}
# A relay that is bad at answering: for senders that need to be led into temptation.
ROUGH: Faults = {**USUAL, "dot": [("take-drop", 0.03), *USUAL["dot"]]}


class SinkProcess:
    """The sink as a process of its own; `ledger` is its file, `bell` rings at each connection."""

    def __init__(
        self, file: Path, *, seed: int = 0, faults: Faults | None = None, delay: float = 0.0
    ) -> None:
        self.ledger = file
        words = [sys.executable, str(Path(__file__).with_name("sink.py")), str(file)]
        words += ["--seed", str(seed), "--faults", json.dumps(faults or {}), "--delay", str(delay)]
        self.bell, rings = os.pipe()
        self._process = subprocess.Popen(
            [*words, "--bell", str(rings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[rings],
        )
        os.close(rings)
        self.port = int(self._hear())

    def tell(self, word: str) -> str:
        """Say a word to it; its answer."""
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._hear()

    def quiet(self) -> None:
        """Wait until nobody is connected any more, and all that was said is in the ledger."""
        self.tell("quiet")

    def hush(self) -> None:
        """Forget that the bell rang."""
        while select.select([self.bell], [], [], 0)[0]:
            os.read(self.bell, 1 << 16)

    def behave(self) -> None:
        """No fault and no delay from now on."""
        self.tell("faults {}")
        self.tell("delay 0")

    def _hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def __enter__(self) -> SinkProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not by the end of its input: what was forked from us holds that open.
        with self._process:
            self._process.terminate()
        os.close(self.bell)


def populate(url: str, *, readers: int, digests: int) -> None:
    """Make the tables, confirmed readers, and digests that are being sent to all of them."""
    engine = store.connect(url)
    store.create(engine, HASH_KEY, NOW)
    with store.transaction(engine) as session:
        publication = store.Publication(
            slug="field-notes",
            title="Field Notes",
            from_name="Field Notes",
            from_address="notes@example.org",
            postal_address="Field Notes, 1 Meadow Lane, Exampleton",
            privacy_url="https://example.org/privacy",
            privacy_version="2026-01",
            language="en",
            created_at=NOW,
        )
        session.add(publication)
        session.flush()
        # A domain that says "later" again and again is slowed down: here each says it for itself.
        many_readers(session, publication, readers, NOW, domain="d{}.example.net")
        for _ in range(digests):
            queue_all(session, approved_digest(session, publication, NOW), datetime.now(UTC))
    engine.dispose()
    rows.watch(url)


@dataclass
class World:
    """One database, the folder of its consent log, and a sink; what is known of them so far.

    crashes: processes that could not finish, each with `connections` connections at most.
    """

    folder: Path
    url: str
    sink: SinkProcess
    connections: int
    crashes: int = 0
    left: list[Left] = field(default_factory=list)
    read_up_to: int = 0  # of the ledger, by whoever counts as it grows

    def __post_init__(self) -> None:
        self.queued = rows.queued(self.url)
        # A database of before is not this one: what was noted of it would stop the sender.
        shutil.rmtree(self.folder / "consent", ignore_errors=True)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    def is_over(self) -> bool:
        """Whether every digest came to its end."""
        query = "SELECT count(*) FROM digest WHERE state NOT IN ('sent', 'cancelled')"
        with rows.opened(self.url) as connection:
            return bool(connection.execute(query).fetchone()[0] == 0)

    def history(self, **known: object) -> History:
        """The evidence; known: as in checker.History."""
        self.sink.quiet()
        told = {"crashes": self.crashes, "connections": self.connections, **known}
        found = ledger.read(self.sink.ledger)
        return rows.history(self.url, self.queued, found, self.left, **told)


def left_to_send(url: str, states: Sequence[str] = ("queued", "claimed", "deferred")) -> int:
    """How many mails are not on their way yet."""
    found = rows.counts(url)
    return sum(found.get(state, 0) for state in states)


def in_memory() -> str | None:
    """A folder that is in memory, where there is one; else None, for the usual place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
