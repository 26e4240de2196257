"""The parts of the benchmark of sending: what each of them does, and what it finds out."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import wire
from stage import Refused, Stage
from turns import Result, Setting, Sink, checked, measured, url

from newsletter import store
from newsletter.sending import queue
from postgres import NoServer, server

ONE_WAY = 0.040
FAR_CONNECTIONS = 20
# smtp-source needs four round trips for a mail where we need one.
_FAR_SHARE = 4
# As much as its own advice gives a machine that has a gigabyte to spare for it.
_POSTGRES = {"fsync": "on", "shared_buffers": "256MB"}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    parts: list[str]
    readers: int
    rounds: int
    connections: int
    far_mails: int
    large: int
    keep: Path | None
    profile: Literal["cpu", "wall"] | None
    as_json: bool


@dataclass
class Bench:
    """The installations that parts share, each made when it is needed first."""

    folder: Path
    options: Options
    _stages: dict[str, Stage] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def say(self, line: str) -> None:
        """How far it is."""
        print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)

    def stage(self, readers: int, database: str = "sqlite") -> Stage:
        """An installation for so many readers; raises Missing without PostgreSQL."""
        name = f"{database}-{readers}"
        if name not in self._stages:
            made = self._on_postgres() if database == "postgres" else Stage(self.folder / name)
            if made.is_new:
                made.make()
            self._stages[name] = made
        return self._stages[name]

    def readers(self, stage: Stage, slug: str, readers: int) -> None:
        """See to it that the installation has this publication."""
        if not stage.has(slug):
            self.say(f"{readers} readers are imported")
            stage.publish(slug, readers)

    def light(self) -> AbstractContextManager[wire.Receiver]:
        """Our light receiver; raises Missing."""
        return wire.light(self.folder)

    def key(self, stage: Stage) -> str:
        """The name of a DKIM key; raises Missing where the installation cannot make one."""
        try:
            return stage.make_key()
        except Refused as error:
            raise wire.Missing("this newsletter makes no DKIM keys") from error

    def _on_postgres(self) -> Stage:
        """One that is not kept, since its database is gone at the end."""
        try:
            url = self._open.enter_context(server(**_POSTGRES))
        except NoServer as error:
            raise wire.Missing(str(error)) from error
        return Stage(Path(self._open.enter_context(tempfile.TemporaryDirectory())), url)


def near(bench: Bench, database: str, *, sink: Sink, sign: bool, workers: int = 0) -> Setting:
    """A digest to all readers over a short way. workers: processes beside `newsletter send`."""
    wire.tool("smtp-source")
    with sink():
        pass  # what is missing is told before readers are imported
    readers = bench.options.readers
    stage = bench.stage(readers, database)
    key = bench.key(stage) if sign else None
    bench.readers(stage, "near", readers)
    connections = bench.options.connections
    return Setting(stage, "near", readers, sink, connections, key, workers=workers)


def far(bench: Bench) -> Setting:
    """A digest to some readers over a long way."""
    wire.tool("smtp-source")
    mails = bench.options.far_mails
    stage = bench.stage(bench.options.readers)
    bench.readers(stage, "far", mails)

    @contextmanager
    def sink() -> Iterator[wire.Receiver]:
        with wire.smtp_sink() as receiver, wire.far(receiver, ONE_WAY) as proxy:
            yield proxy

    sources = max(FAR_CONNECTIONS, mails // _FAR_SHARE)
    return Setting(stage, "far", mails, sink, FAR_CONNECTIONS, sources=sources)


def large(bench: Bench) -> Result:
    """Many readers: how long their mails take to queue, and the memory that sending takes."""
    found: Result = {}
    for readers in (bench.options.readers, bench.options.large):
        stage = bench.stage(readers)
        bench.readers(stage, "near", readers)
        digest = stage.digest("near")
        seconds = _queue(stage, digest)
        bench.say(f"{readers} mails queued in {seconds:.2f} s")
        with bench.light() as receiver:
            ran = stage.send(
                digest, smtp_url=url(receiver), smtp_connections=bench.options.connections
            )
        sent = checked(stage.sent(digest), receiver, readers)
        bench.say(f"{readers} mails sent with {ran.mib:.0f} MiB")
        found |= {
            f"queue_seconds_at_{readers}": round(seconds, 2),
            f"mib_at_{readers}": round(ran.mib, 1),
            f"mails_per_second_at_{readers}": round(sent.rate),
        }
    return found


def _queue(stage: Stage, digest_id: int) -> float:
    """Make the rows of a digest, in pieces, as a worker does; the seconds that it took."""
    began, now = time.perf_counter(), datetime.now(UTC)
    with stage.opened() as engine:
        more = 1
        with store.transaction(engine) as session:
            queue.begin(session, session.get_one(store.Digest, digest_id), now=now)
        while more:
            with store.transaction(engine) as session:
                more = queue.piece(session, session.get_one(store.Digest, digest_id), now=now)
        return time.perf_counter() - began


# What is measured in turns with smtp-source.
SETTINGS: dict[str, Callable[[Bench], Setting]] = {
    "plain": lambda bench: near(bench, "sqlite", sink=wire.smtp_sink, sign=False),
    "two": lambda bench: near(bench, "sqlite", sink=wire.smtp_sink, sign=False, workers=1),
    "signed": lambda bench: near(bench, "sqlite", sink=wire.smtp_sink, sign=True),
    "light": lambda bench: near(bench, "sqlite", sink=bench.light, sign=False),
    "light-signed": lambda bench: near(bench, "sqlite", sink=bench.light, sign=True),
    "postgres": lambda bench: near(bench, "postgres", sink=wire.smtp_sink, sign=False),
    "postgres-two": lambda bench: near(
        bench, "postgres", sink=wire.smtp_sink, sign=False, workers=1
    ),
    "postgres-signed": lambda bench: near(bench, "postgres", sink=wire.smtp_sink, sign=True),
    "far": far,
}
PARTS = [*SETTINGS, "large"]


def measure(bench: Bench, part: str) -> Result:
    """Measure one part; raises Missing where a tool is missing."""
    if part == "large":
        return large(bench)
    bench.say(part)
    return measured(SETTINGS[part](bench), bench.options.rounds, bench.say)
