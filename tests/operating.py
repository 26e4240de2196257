"""What the tests of the operators' side share: a sent digest, a hand in the rows, a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from commandline import Home
from sqlalchemy import Engine, update

from newsletter import config, store

HARVEST = "---\ntitle: Harvest\nsummary: What grew this year.\n---\nThe *whole* story.\n"


def approved(home: Home, *addresses: str, **settings: object) -> None:
    """Readers with these addresses, and an approved digest (1) for them."""
    home.set(**settings)
    home.publish()
    home.bring_in(*addresses)
    home.run("article", "add", home.write("harvest.md", HARVEST))
    home.run("digest", "new", "--publication", "field-notes", "--subject", "Harvest time", 1)
    home.run("digest", "approve", 1)


@contextmanager
def rows(home: Home) -> Iterator[Engine]:
    """The installation's database, behind the back of the commands."""
    engine = store.connect(config.load(home.file).settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def change(home: Home, address: str | None = None, **values: Any) -> None:
    """Set columns of the digest mail to `address`, or of all."""
    statement = update(store.Delivery).where(store.Delivery.letter == "digest")
    if address is not None:
        statement = statement.where(store.Delivery.address == address)
    with rows(home) as engine, store.transaction(engine) as session:
        session.execute(statement.values(**values))


def change_digest(home: Home, **values: Any) -> None:
    """Set columns of the digest."""
    with rows(home) as engine, store.transaction(engine) as session:
        session.execute(update(store.Digest).values(**values))


def ago(**time_ago: float) -> datetime:
    """A moment in the past: ago(minutes=20)."""
    return datetime.now(UTC) - timedelta(**time_ago)


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Look until it is true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


@dataclass
class Terminal:
    """A command on a terminal of its own, and what it has shown."""

    process: subprocess.Popen[str]
    _master: int
    shown: str = ""

    def read_until(self, text: str) -> None:
        """Read on until this was shown."""
        while text not in self.shown:
            assert self._read(), self.shown

    def read_all(self) -> str:
        """All that it shows until it ends."""
        while self._read():
            pass
        os.close(self._master)
        self.process.wait(60)
        return self.shown

    def _read(self) -> bool:
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the terminal's other end is closed
            return False
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)


def on_a_terminal(home: Home, *words: object) -> Terminal:
    """Start the command where it can draw."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = home.process(*words, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    return Terminal(process, master)
