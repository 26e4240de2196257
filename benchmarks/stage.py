"""An installation to measure: made with the commands that an operator types.

Readers are imported, each with the event in the consent log that the import records; digests are
composed, approved and sent. What was made can be used again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
from click.testing import CliRunner
from sqlalchemy import Engine, func, select

from newsletter import store
from newsletter.cli import main
from newsletter.mail.sink import Sink

ROOT = Path(__file__).resolve().parent.parent
DKIM_KEY = ("s1", "example.org")
ARTICLES = 7
# Of each article; with text and HTML, they make a mail of about 31 KB.
_LINES = 4
# Readers' mailboxes lie on so many domains.
_DOMAINS = 1000
_NAMES = ("Ada Byron", "Jürgen Groß", "", "Zoë", "Николай Петров", "Grace H.", "Łucja", "Tom & Ann")
_SENTENCES = (
    "Where the path leaves the road, the thrushes begin, and nobody hurries any more.",
    "The wall on the left was built without mortar — it moves a little, and so it lasts.",
    "In the café by the bridge they still write the orders down with a pencil.",
    "Take the second gate, not the first; the farmer has a dog, and the dog has opinions.",
    "By four the light comes in low under the clouds = a colour that no screen shows.",
    "Three swifts were back on the fifth of May, two days later than the year before.",
    "Whoever mends a coat learns more about it than whoever made it.",
)


class Refused(Exception):
    """A command of the installation ended with an error; says what it printed."""


@dataclass(frozen=True)
class Sent:
    """What the rows say of a digest: how many mails were accepted, and how many a second.

    The rate is that from the first settled mail on: those that were settled at the same moment
    as the first are not counted in it.
    """

    accepted: int
    rate: float


@dataclass
class Stage:
    """One installation. database_url: None for SQLite in the folder itself."""

    folder: Path
    database_url: str | None = None
    _articles: list[str] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        """Whether there is no installation in the folder yet."""
        return not (self.folder / "newsletter.toml").exists()

    @property
    def log(self) -> Path:
        """Where the standard error of everything that is measured goes."""
        return self.folder / "measured.log"

    def make(self) -> None:
        """The settings, the database and the signing key."""
        self.type("init", self.folder, "--base-url", "https://news.example.org")

    def has(self, slug: str) -> bool:
        """Whether this publication was made before."""
        found = json.loads(self.type("publication", "list", "--json"))
        return any(each["slug"] == slug for each in found)

    def publish(self, slug: str, readers: int) -> None:
        """A publication with so many confirmed readers; the log verified and signed."""
        sender = "--from=Field Notes <notes@example.org>"
        policy = "--privacy-url=https://example.org/privacy"
        where = "--postal-address=Field Notes, 1 Meadow Lane, Exampleton"
        people = self.folder / "people.csv"
        with people.open("w", encoding="utf-8") as file:
            file.write("email,name\n")
            for number in range(readers):
                name = _NAMES[number % len(_NAMES)]
                file.write(f"reader-{number}@host-{number % _DOMAINS}.example.net,{name}\n")
        self.type("publication", "create", slug, "--title=Field Notes", sender, policy, where)
        words = ["subscriber", "import", people, "--publication", slug, "--status", "confirmed"]
        # A process of its own: it says how far it is.
        subprocess.run(
            [*self.command(), *map(str, words), "--evidence", "made up, to measure"],
            env=self.environ(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        people.unlink()
        self.type("consent", "verify")

    def digest(self, slug: str) -> int:
        """An approved digest of a few articles."""
        if not self._articles:
            listed = json.loads(self.type("article", "add", *self._write(), "--json"))
            self._articles = [str(each["id"]) for each in listed]
        words = ("--publication", slug, "--subject", "What the meadow did in March", "--json")
        made = json.loads(self.type("digest", "new", "--length", "full", *words, *self._articles))
        self.type("digest", "approve", made["id"])
        return int(made["id"])

    def mail(self, digest: int, **settings: object) -> bytes:
        """The digest's mail as a relay gets it."""
        with Sink() as sink:
            # Of its own publication's letters there is none: only this one is sent.
            address = "ada@example.org"
            self.type("digest", "test", digest, "--to", address, smtp_url=sink.url, **settings)
            return sink.received[0].raw

    def make_key(self) -> str:
        """The name of an RSA-2048 key to sign mails with (made, if it is not there yet)."""
        selector, domain = DKIM_KEY
        name = f"{selector}._domainkey.{domain}"
        if name not in self.type("dkim", "list"):
            self.type("dkim", "new", selector, "--domain", domain)
        return name

    def send(self, digest: int, *, program: Sequence[object] = (), **settings: Any) -> measure.Ran:
        """`newsletter send` in a process of its own, from start to end; see `command`."""
        command = [*self.command(*program), "send", digest]
        return measure.run(command, self.environ(**settings), self.log)

    @contextmanager
    def workers(self, count: int, **settings: Any) -> Iterator[list[int]]:
        """So many `newsletter worker` processes beside what is measured; their numbers."""
        with ExitStack() as stack, self.log.open("ab") as log:
            environ = self.environ(**settings)
            found = [
                stack.enter_context(
                    subprocess.Popen([*self.command(), "worker"], env=environ, stderr=log)
                )
                for _ in range(count)
            ]
            try:
                yield [process.pid for process in found]
            finally:
                for process in found:
                    process.terminate()

    def sent(self, digest: int) -> Sent:
        """What became of a digest."""
        at = store.Delivery.settled_at
        where = (
            store.Delivery.digest_id == digest,
            store.Delivery.state == store.DeliveryState.ACCEPTED,
        )
        with self.opened() as engine, store.reading(engine) as session:
            first, last, accepted = session.execute(
                select(func.min(at), func.max(at), func.count()).where(*where)
            ).one()
            later = session.scalar(select(func.count()).where(*where, at > first)) or 0
        seconds = (last - first).total_seconds() if later and first and last else 0.0
        return Sent(accepted, later / seconds if seconds else 0.0)

    @contextmanager
    def opened(self) -> Iterator[Engine]:
        """The database."""
        url = self.database_url or f"sqlite:///{self.folder / 'newsletter.db'}"
        engine = store.connect(url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            yield engine
        finally:
            engine.dispose()

    def type(self, *words: object, **settings: object) -> str:
        """Call a command in this process; what it printed. Raises Refused."""
        given = [str(word) for word in words]
        if given[0] != "init":
            given = ["--config", str(self.folder / "newsletter.toml"), *given]
        result = CliRunner().invoke(main, given, env=self._variables(**settings))
        if result.exit_code != 0:
            raise Refused(f"newsletter {' '.join(given)}: {result.output} {result.exception or ''}")
        return result.stdout

    def command(self, *program: object) -> list[str]:
        """How a process of `newsletter` for this installation begins.

        program: what runs it, after the name of the interpreter; nothing for `-m newsletter`.
        """
        words = [str(word) for word in program] or ["-m", "newsletter"]
        return [sys.executable, *words, "--config", str(self.folder / "newsletter.toml")]

    def environ(self, **settings: object) -> dict[str, str]:
        """The environment of such a process, with these settings."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return os.environ | {"PYTHONPATH": path} | self._variables(**settings)

    def _variables(self, **settings: object) -> dict[str, str]:
        found = {f"NEWSLETTER_{name.upper()}": str(value) for name, value in settings.items()}
        if self.database_url is not None:
            found["NEWSLETTER_DATABASE_URL"] = self.database_url
        return found

    def _write(self) -> list[Path]:
        """The articles' files."""
        files = []
        for number in range(ARTICLES):
            lines = [_SENTENCES[(number + each) % len(_SENTENCES)] for each in range(_LINES)]
            paragraphs = "\n\n".join(" ".join(lines[at : at + 3]) for at in range(0, _LINES, 3))
            file = self.folder / f"article-{number}.md"
            front = (
                f"title: Walk {number} along the river\nurl: https://example.org/walk-{number}\n"
                f"author: Ada Byron\nsummary: {lines[0]}\ntags: [walks, spring]\n"
            )
            file.write_text(f"---\n{front}---\n\n{paragraphs}\n", encoding="utf-8")
            files.append(file)
        return files
