"""Kills without end: a sender is started and killed, over and over, and then judged.

As a program, so that a run that found something can be done again with its seed:

    python tests/crash/campaign.py --kills 1000 --seed 7

A life ends at a random moment, or at a named point of the protocol. The same seed draws the same
faults, points and moments; the machine's own timing it cannot repeat.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":
    # Run by itself: as the tests import it, and the checkout's newsletter when none is installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.append(str(Path(__file__).resolve().parents[2]))

import structlog
from crash import disk, ledger, rows, villains
from crash.checker import Violation, check
from crash.dying import Death, Process, settle_memory
from crash.people import Operators
from crash.sink import Faults
from crash.world import ROUGH, USUAL, SinkProcess, World, in_memory, left_to_send, populate

# So many connections each sender has.
CONNECTIONS = 4
# Seconds that a sender gets to come to rest at the end; much more than it needs.
_PATIENCE = 60
# Of each kind, so many violations of a world are told: the first ones say what is wrong.
_TOLD = 5
# Seconds after a process connected to the relay within which it dies.
_BUSY_FOR = 0.04


@dataclass
class Report:
    """What a campaign did, and what the judge found."""

    seed: int
    kills: int = 0
    worlds: int = 0
    mails: int = 0
    uncertain: int = 0
    lost_answers: int = 0
    faults: int = 0
    left: int = 0
    seconds: float = 0.0
    by: Counter[str] = field(default_factory=Counter)
    # "row's state / stage of its mail at the sink" -> how many kills found it so.
    covered: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    # Tracebacks of senders that ended though nobody killed them.
    errors: list[str] = field(default_factory=list)

    def judge(self, world: World, *, is_over: bool = True) -> list[Violation]:
        """Have a world judged."""
        history = world.history(is_over=is_over)
        found = check(history)
        self.worlds += 1
        self.mails += len(history.queued)
        self.uncertain += sum(row.state == "uncertain" for row in history.rows)
        self.lost_answers += history.ledger.lost_answers
        self.faults += history.ledger.faults
        self.left += len(world.left)
        told: Counter[str] = Counter()
        for violation in found:
            told[violation.invariant] += 1
            if told[violation.invariant] <= _TOLD:
                self.violations.append(f"world {self.worlds}: {violation}")
        return found


class Campaign:
    """Kills senders. start: makes of a world what one process does in it.

    Each world is a fresh copy of one database: `readers` readers, `digests` digests to each.
    has_people: whether readers leave and operators pause meanwhile. cuts_power: whether what the
    dead process had not synced is lost, too. delay: seconds that the relay takes at most.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        start: Callable[[World], Callable[[], object]],
        *,
        points: tuple[str, ...] = (),
        has_people: bool = True,
        cuts_power: bool = False,
        readers: int = 25,
        digests: int = 32,
        faults: Faults = USUAL,
        delay: float = 0.01,
    ) -> None:
        self.report = Report(seed)
        self._lot = random.Random(seed)
        self._folder = folder
        self._start = start
        self._points = points
        self._has_people = has_people
        self._cuts_power = cuts_power
        self._faults = faults
        self._delay = delay
        self._template = folder / "template.db"
        self._writes = folder / "writes"
        self._disk: dict[str, bytes] = {}
        self._born = 0.0
        self._work: Callable[[], object] = lambda: None
        self._connects = 0.1  # seconds that a process takes up to that
        populate(f"sqlite:///{self._template}", readers=readers, digests=digests)

    def run(self, kills: int) -> Report:
        """Kill so many; the report."""
        began = time.monotonic()
        while self.report.kills < kills:
            with self._sink() as sink:
                world = self._world(sink)
                self._work = self._start(world)
                self._live_in(world, kills)
                self.report.judge(world)
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report

    def warm_up(self, send: Callable[[World], object]) -> None:
        """Send one world's mail in this process, so that its children find everything in memory."""
        with SinkProcess(self._folder / "ledger-of-the-first") as sink:
            send(self._world(sink))
        settle_memory()

    def _sink(self) -> SinkProcess:
        number = self.report.worlds
        return SinkProcess(
            self._folder / f"ledger-{number}",
            seed=self._lot.randrange(1 << 30),
            faults=self._faults,
            delay=self._delay,
        )

    def _world(self, sink: SinkProcess) -> World:
        file = self._folder / "newsletter.db"
        for old in self._folder.glob("newsletter.db*"):
            old.unlink()
        shutil.copy(self._template, file)
        return World(self._folder, f"sqlite:///{file}", sink, CONNECTIONS)

    def _live_in(self, world: World, kills: int) -> None:
        people = Operators(world, self._lot.randrange(1 << 30))
        try:
            while self.report.kills < kills and left_to_send(world.url) > 0:
                if self._has_people:
                    people.act()
                self._life(world)
            world.sink.behave()
            people.go_home()
            self._come_to_rest(world)
        except sqlite3.DatabaseError as error:
            self.report.violations.append(f"the database is broken: {error}")

    def _process(self, point: tuple[str, int] | None = None) -> Process:
        work = self._work
        if self._cuts_power:
            self._disk = {path.name: path.read_bytes() for path in self._files() if path.exists()}
            self._writes.unlink(missing_ok=True)
            work = self._watched(work)
        self._born = time.time()
        return Process(work, self._folder / "words", point)

    def _watched(self, work: Callable[[], object]) -> Callable[[], object]:
        def watched() -> None:
            disk.install(self._writes)
            work()

        return watched

    def _files(self) -> list[Path]:
        # Not the shared memory beside them: it does not outlive a process.
        return [self._folder / "newsletter.db", self._folder / "newsletter.db-wal"]

    def _cut_power(self) -> None:
        """Put the files back as they are found when the power comes back."""
        if not self._writes.exists():
            return  # it died before it opened anything
        found = disk.after_a_cut(self._writes, self._disk, self._lot)
        for path in (*self._files(), self._folder / "newsletter.db-shm"):
            path.unlink(missing_ok=True)
            if path.name in found:
                path.write_bytes(found[path.name])

    def _life(self, world: World) -> None:
        """A process begins, and dies: seldom before it connected to the relay, mostly after."""
        world.sink.hush()
        chance = self._lot.random()
        if chance < 0.1:
            death = self._process().end(self._lot.uniform(0, self._connects))
        elif self._points and chance < 0.6:
            name = self._lot.choice(self._points)
            # These are passed once for a batch, the others once for a round of the loop.
            is_rare = name in ("claiming", "claimed", "noted")
            point = (name, self._lot.choice((1, 1, 2) if is_rare else (1, 2, 3, 4, 6)))
            death = self._process(point).end(0.2, world.sink.bell)
        else:
            began = time.monotonic()
            seconds = self._lot.uniform(0, _BUSY_FOR)
            death = self._process().end(seconds, world.sink.bell)
            self._connects = time.monotonic() - began - seconds
        self._died(world, death)

    def _died(self, world: World, death: Death) -> None:
        self.report.kills += 1
        self.report.by[death.by] += 1
        world.crashes += 1
        if death.by == "itself" and death.text:
            self.report.errors.append(death.text)
        if self._cuts_power:
            self._cut_power()
        # What a dead process wrote last may reach the relay after others went on.
        if self._lot.random() < 0.7:
            self._cover(world)

    def _cover(self, world: World) -> None:
        """Note in which state each mail was whose connection ended with its process."""
        world.sink.quiet()
        start, world.read_up_to = world.read_up_to, world.sink.ledger.stat().st_size
        states = rows.states(world.url)
        for entry in ledger.lines(world.sink.ledger, start):
            if entry["what"] != "end" or entry["by_sink"] or entry["at"] < self._born:
                continue
            stage = str(entry["stage"])
            state = states.all.get(str(entry["message_id"]))
            state = state or states.held.get(str(entry["recipient"]))
            if state:
                self.report.covered[f"{state} / {stage}"] += 1
            before = states.all.get(str(entry["previous"]))
            if before and stage != "answered":
                self.report.covered[f"{before} / answered"] += 1

    def _come_to_rest(self, world: World) -> None:
        process = self._process()
        end = time.monotonic() + _PATIENCE
        while not world.is_over() and time.monotonic() < end:
            if process.wait(0.02):
                break
        death = process.kill()
        world.crashes += 1
        if death.by == "itself" and death.text:
            self.report.errors.append(death.text)


def against_ours(folder: Path, seed: int, **over: Any) -> Campaign:
    """A campaign against our own sender."""
    # Here, since campaigns against others need none of it.
    from crash import ours

    from newsletter import failpoints, store
    from newsletter.config import Settings

    # One engine for all, unconnected at each fork: its statements are compiled already.
    engine = store.connect(f"sqlite:///{folder / 'newsletter.db'}")

    def chosen(world: World) -> Settings:
        return ours.settings(world.url, world.folder, world.sink.port, connections=CONNECTIONS)

    campaign = Campaign(
        folder,
        seed,
        lambda world: ours.sender(engine, chosen(world)),
        points=failpoints.POINTS,
        **over,
    )
    campaign.warm_up(lambda world: ours.send_all(engine, chosen(world), world.is_over))
    return campaign


def against(sender: str, folder: Path, seed: int, **over: Any) -> Campaign:
    """A campaign against one of the small senders of crash.villains, by its name."""
    made = getattr(villains, sender)
    return Campaign(
        folder,
        seed,
        lambda world: made(world).run,
        has_people=False,
        **{"readers": 20, "digests": 5, "delay": 0.002, "faults": ROUGH, **over},
    )


def in_a_process(*words: object) -> dict[str, Any]:
    """Run this program with these words: forking is for a process without threads. Its reports."""
    command = [sys.executable, str(Path(__file__)), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{command}: {done.stderr}") from None
    return found


def main() -> None:
    """Kill, judge, and print the report as JSON; exit code 1 when something was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument(
        "--against",
        action="append",
        help="ours, or one of crash.villains; with :cut, what was not synced is lost at each kill. "
        "May be given several times.",
    )
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    reports = {}
    for each in given.against or ["ours"]:
        sender, _, cut = each.partition(":")
        # In memory: the speed of a disk is no part of this, and more kills fit into a minute.
        with TemporaryDirectory(prefix="crash-", dir=in_memory()) as name:
            if sender == "ours":
                campaign = against_ours(Path(name), given.seed, cuts_power=bool(cut))
            else:
                campaign = against(sender, Path(name), given.seed, cuts_power=bool(cut))
            reports[each] = vars(campaign.run(given.kills))
    print(json.dumps(reports, indent=1))
    sys.exit(any(report["violations"] or report["errors"] for report in reports.values()))


if __name__ == "__main__":
    main()
