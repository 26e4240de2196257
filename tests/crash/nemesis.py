"""Several workers on one PostgreSQL, and somebody who means ill with all of them.

As a program: `python tests/crash/nemesis.py --seconds 20 --seed 7` prints its report as JSON, like
crash.campaign. Workers are killed, stopped for longer than their lease and woken up again, and cut
off from the database; the server itself is torn down and recovers.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.append(str(Path(__file__).resolve().parents[2]))

import structlog
from crash import ledger, ours
from crash.campaign import Report
from crash.cluster import Cluster
from crash.dying import Process, settle_memory
from crash.people import Operators
from crash.world import USUAL, SinkProcess, World, in_memory, populate

from newsletter import store
from postgres import NoServer

WORKERS = 3
CONNECTIONS = 4
LEASE = 1.0
_DATABASE = "newsletter"
_TEAR_DOWN_EVERY = 4  # seconds
_SOME = 1000  # bytes of the ledger, which is a few mails
# Seconds until everything has to be at rest after the last blow.
_PATIENCE = 60
# How a worker may end by itself: its database is gone.
_EXPECTED = ("sqlalchemy.exc.OperationalError", "sqlalchemy.exc.InterfaceError")
_ERROR = re.compile(r"^([A-Za-z_]\w*(?:\.\w+)+):", re.MULTILINE)


class Nemesis:
    """Does harm to `count` workers on one database. start: forks one of them."""

    def __init__(
        self, cluster: Cluster, world: World, seed: int, start: Callable[[], Process], count: int
    ) -> None:
        self.report = Report(seed)
        self._cluster = cluster
        self._world = world
        self._lot = random.Random(seed)
        self._start = start
        self._workers = [start() for _ in range(count)]
        self._asleep: dict[Process, float] = {}  # until when
        self._people = Operators(world, seed)

    def rage(self, seconds: float) -> None:
        """Do harm for so long, or until there is nothing left to send.

        Between two blows some mails arrive: a busy machine needs its time to get up again.
        """
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds and not self._world.is_over():
            self._breathe()
            self._revive()
            if (now - began) / _TEAR_DOWN_EVERY > self.report.by["server down"] + 1:
                self._tear_down()
                continue
            chance = self._lot.random()
            if chance < 0.5:
                self._kill()
            elif chance < 0.7:
                self._stop()
            elif chance < 0.9:
                self._cut_off()
            elif chance < 0.93:
                self._people.leave()
            else:
                self._people.act()

    def _breathe(self) -> None:
        size, end = self._world.sink.ledger.stat().st_size, time.monotonic() + 2
        while self._world.sink.ledger.stat().st_size < size + _SOME and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(self._lot.uniform(0, 0.2))

    def rest(self) -> None:
        """Let the workers finish, and end them."""
        self.report.by["mails until then"] = len(ledger.read(self._world.sink.ledger).arrivals)
        self._world.sink.behave()
        self._people.go_home()
        end = time.monotonic() + _PATIENCE
        while not self._world.is_over() and time.monotonic() < end:
            self._revive(at_once=True)
            time.sleep(0.05)
        self.end()

    def end(self) -> None:
        """Kill all workers."""
        for process in self._workers:
            process.kill()
        self._workers.clear()

    def _count(self, what: str, crashes: int = 1) -> None:
        self.report.by[what] += 1
        self.report.kills += what == "kill"
        self._world.crashes += crashes

    def _kill(self) -> None:
        awake = [process for process in self._workers if process not in self._asleep]
        if awake:
            process = self._lot.choice(awake)
            self._buried(process, process.kill().text)
            self._count("kill")

    def _stop(self) -> None:
        awake = [process for process in self._workers if process not in self._asleep]
        if len(awake) > 1:
            process = self._lot.choice(awake)
            process.send(signal.SIGSTOP)
            self._asleep[process] = time.monotonic() + LEASE * self._lot.uniform(1.2, 2.5)
            self._count("stop")

    def _cut_off(self) -> None:
        cut = self._cluster.cut_off(_DATABASE, self._lot.choice((1, 2, 20)))
        self._count("cut off", cut)

    def _tear_down(self) -> None:
        self._cluster.crash()
        self._count("server down", len(self._workers))

    def _revive(self, *, at_once: bool = False) -> None:
        """Wake up who slept for long enough, and replace the dead."""
        now = time.monotonic()
        for process, until in list(self._asleep.items()):
            if at_once or now > until:
                process.send(signal.SIGCONT)
                del self._asleep[process]
        for process in list(self._workers):
            if process.wait(0):
                self._asleep.pop(process, None)
                self._buried(process, process.bury().text)
                self._count("ended")

    def _buried(self, process: Process, text: str) -> None:
        if text:
            kind = (_ERROR.findall(text) or ["?"])[-1]
            self.report.by[kind] += 1
            if kind not in _EXPECTED:
                self.report.errors.append(text)
        self._workers[self._workers.index(process)] = self._start()


def run(seconds: float, seed: int, *, readers: int, digests: int) -> Report:
    """All of it; the report."""
    began = time.monotonic()
    with (
        TemporaryDirectory(prefix="crash-", dir=in_memory()) as name,
        Cluster() as cluster,
        SinkProcess(Path(name) / "ledger", seed=seed, faults=USUAL, delay=0.01) as sink,
    ):
        folder = Path(name)
        url = cluster.create(_DATABASE)
        populate(url, readers=readers, digests=digests)
        world = World(folder, url, sink, CONNECTIONS)
        engine = store.connect(url)
        settings = ours.settings(url, folder, sink.port, connections=CONNECTIONS, lease=LEASE)
        work = ours.sender(engine, settings)
        numbers = iter(range(1 << 30))
        settle_memory()
        nemesis = Nemesis(
            cluster,
            world,
            seed,
            lambda: Process(work, folder / f"words-{next(numbers)}"),
            WORKERS,
        )
        try:
            nemesis.rage(seconds)
            nemesis.rest()
        finally:
            nemesis.end()
        nemesis.report.judge(world)
    nemesis.report.seconds = round(time.monotonic() - began, 1)
    return nemesis.report


def main() -> None:
    """Rage, judge, and print the report as JSON; exit code 1 when something was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--digests", type=int, default=100)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        report = run(given.seconds, given.seed, readers=given.readers, digests=given.digests)
    except NoServer as error:
        print(json.dumps({"no_server": str(error)}))
        return
    print(json.dumps(vars(report), indent=1))
    sys.exit(bool(report.violations or report.errors))


if __name__ == "__main__":
    main()
