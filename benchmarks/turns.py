"""Ours and smtp-source in turns, and what comes out of it: medians, pair by pair."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import measure
import wire
from sqlalchemy import text
from stage import Sent, Stage

Result = dict[str, float | int]
Sink = Callable[[], AbstractContextManager[wire.Receiver]]


@dataclass(frozen=True)
class Setting:
    """One thing to measure: an installation's readers, how they are sent to, and where."""

    stage: Stage
    slug: str
    readers: int
    sink: Sink
    connections: int
    dkim_key: str | None = None
    sources: int | None = None
    # Processes that help `newsletter send`; all share the connections. Their processor time counts
    # with the command's, the memory is the command's alone.
    workers: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the sender."""
        found: dict[str, Any] = {"smtp_connections": self.connections // (1 + self.workers)}
        return found | ({"dkim_keys": self.dkim_key} if self.dkim_key else {})


@dataclass
class Turn:
    """One digest of ours, and the same of smtp-source."""

    ran: measure.Ran
    sent: Sent
    receiver: wire.Receiver
    database_cpu: float | None  # None where the database is a part of us
    source: measure.Ran
    source_mails: int
    # RSA signatures a second: of one core alone, times the cores; and of all of them at once.
    signatures: tuple[float, float] | None = None

    @property
    def command_rate(self) -> float:
        """Our mails a second over the whole life of the process: it also starts, and queues."""
        return self.sent.accepted / self.ran.seconds

    @property
    def source_rate(self) -> float:
        """smtp-source's mails a second."""
        return self.source_mails / self.source.seconds


def measured(setting: Setting, rounds: int, say: Callable[[str], None]) -> Result:
    """So many rounds of both; `say` is told of each."""
    stage = setting.stage
    digest = stage.digest(setting.slug)
    size = len(stage.mail(digest, **setting.settings))
    length = wire.length_for(size, stage.environ(), stage.log)
    turns: list[Turn] = []
    for number in range(rounds):
        digest = digest if number == 0 else stage.digest(setting.slug)
        turn = _turn(setting, digest, length, ours_first=number % 2 == 0)
        turns.append(turn)
        say(
            f"round {number + 1} of {rounds}: {turn.sent.rate:.0f} mails a second, "
            f"smtp-source {turn.source_rate:.0f}, ratio {turn.sent.rate / turn.source_rate:.2f}"
        )
    return _result(turns, size)


def _turn(setting: Setting, digest: int, length: int, *, ours_first: bool) -> Turn:
    """Ours and theirs, one right after the other."""
    if ours_first:
        ours = _ours(setting, digest)
        theirs, mails = _theirs(setting, length)
    else:
        theirs, mails = _theirs(setting, length)
        ours = _ours(setting, digest)
    turn = Turn(*ours, source=theirs, source_mails=mails)
    if setting.dkim_key:
        alone, together = measure.signatures()
        turn.signatures = alone * (os.cpu_count() or 1), together
    return turn


def _ours(setting: Setting, digest: int) -> tuple[measure.Ran, Sent, wire.Receiver, float | None]:
    stage = setting.stage
    with setting.sink() as receiver, _database_cpu(stage) as database:
        settings = setting.settings | {"smtp_url": url(receiver)}
        with stage.workers(setting.workers, **settings) as helpers:
            ran = stage.send(digest, **settings)
            ran = replace(ran, cpu=ran.cpu + sum(map(measure.cpu_of, helpers)))
    sent = checked(stage.sent(digest), receiver, setting.readers)
    return ran, sent, receiver, database[0]


def _theirs(setting: Setting, length: int) -> tuple[measure.Ran, int]:
    mails = setting.sources or setting.readers
    with setting.sink() as receiver:
        ran = wire.smtp_source(
            receiver.port,
            mails=mails,
            connections=setting.connections,
            length=length,
            environ=setting.stage.environ(),
            log=setting.stage.log,
        )
    return ran, mails


def checked(sent: Sent, receiver: wire.Receiver, readers: int) -> Sent:
    """What was sent, if it is all of it: by the rows, and by the receiver where it counts."""
    if sent.accepted != readers or receiver.mails not in (None, readers):
        raise measure.Failed(
            f"{readers} readers, {sent.accepted} mails accepted, {receiver.mails} received"
        )
    return sent


@contextmanager
def _database_cpu(stage: Stage) -> Iterator[list[float | None]]:
    """The processor time that PostgreSQL takes meanwhile, known at the end; None for SQLite."""
    found: list[float | None] = [None]
    if stage.database_url is None:
        yield found
        return
    with stage.opened() as engine, engine.connect() as connection:
        backend = connection.scalar(text("SELECT pg_backend_pid()"))
        try:
            server_pid = measure.parent_of(backend)
        except OSError:  # it runs on another machine
            server_pid = None
    if server_pid is None:
        yield found
        return
    before = measure.cpu_of(server_pid)
    yield found
    found[0] = measure.cpu_of(server_pid) - before


def url(receiver: wire.Receiver) -> str:
    """The smtp_url that leads to a receiver."""
    return f"smtp://127.0.0.1:{receiver.port}"


def _result(turns: list[Turn], size: int) -> Result:
    """The medians of all rounds."""

    def middle(value: Callable[[Turn], float], digits: int = 0) -> float:
        found = round(median(value(turn) for turn in turns), digits)
        return found if digits else int(found)

    rates = sorted(turn.sent.rate for turn in turns)
    found: Result = {
        "mails": turns[0].sent.accepted,
        "mail_bytes": size,
        "rounds": len(turns),
        "mails_per_second": middle(lambda turn: turn.sent.rate),
        "mails_per_second_lowest": round(rates[0]),
        "mails_per_second_highest": round(rates[-1]),
        "smtp_source_per_second": middle(lambda turn: turn.source_rate),
        "ratio": middle(lambda turn: turn.sent.rate / turn.source_rate, 2),
        "whole_command_per_second": middle(lambda turn: turn.command_rate),
        "whole_command_ratio": middle(lambda turn: turn.command_rate / turn.source_rate, 2),
        "cpu_us_per_mail": middle(lambda turn: turn.ran.cpu / turn.sent.accepted * 1e6, 1),
        "receiver_cpu_us_per_mail": middle(
            lambda turn: turn.receiver.cpu / turn.sent.accepted * 1e6, 1
        ),
        "smtp_source_cpu_us_per_mail": middle(
            lambda turn: turn.source.cpu / turn.source_mails * 1e6, 1
        ),
        "cores_busy": middle(lambda turn: turn.ran.busy, 2),
        "mib": max(round(turn.ran.mib, 1) for turn in turns),
    }
    database = [
        turn.database_cpu / turn.sent.accepted * 1e6
        for turn in turns
        if turn.database_cpu is not None
    ]
    if database:
        found["database_cpu_us_per_mail"] = round(median(database), 1)
    signed = [(turn.sent.rate, *turn.signatures) for turn in turns if turn.signatures]
    if signed:
        found["rsa_signatures_per_second_cores_x_one"] = round(median(each[1] for each in signed))
        found["rsa_signatures_per_second_all_at_once"] = round(median(each[2] for each in signed))
        found["rsa_ratio"] = round(median(each[0] / each[1] for each in signed), 2)
        found["rsa_ratio_all_at_once"] = round(median(each[0] / each[2] for each in signed), 2)
    return found
