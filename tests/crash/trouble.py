"""What can go wrong around a sender but for kills: memory, files, clocks, disks, company.

As a program: `python tests/crash/trouble.py full clocks` brings these troubles about, one after the
other, each in a world of its own, and prints the reports as JSON, like crash.campaign.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.append(str(Path(__file__).resolve().parents[2]))

import structlog
from crash import disk, ledger, ours
from crash.campaign import Report
from crash.dying import Death, Process, settle_memory
from crash.people import Operators
from crash.world import USUAL, SinkProcess, World, in_memory, populate

from newsletter import store

CONNECTIONS = 4
_PATIENCE = 30
_NO_SPACE = ("database or disk is full", "No space left on device")


class Scene:
    """One world, and the senders in it."""

    def __init__(self, world: World, report: Report) -> None:
        self.world = world
        self.report = report
        self.lot = random.Random(report.seed)
        self._engine = store.connect(world.url)
        settings = ours.settings(
            world.url, world.folder, world.sink.port, connections=CONNECTIONS, lease=2
        )
        self._senders = {None: ours.sender(self._engine, settings)}
        self._settings = settings
        self._number = 0

    def start(
        self,
        before: Callable[[], object] = lambda: None,
        clock: Callable[[], datetime] | None = None,
    ) -> Process:
        """Start a sender. before: what the process does first."""
        work = ours.sender(self._engine, self._settings, clock) if clock else self._senders[None]

        def live() -> None:
            before()
            work()

        self._number += 1
        # Beside the world: its disk may be full.
        return Process(live, self.world.folder.parent / f"words-{self._number}")

    def died(self, death: Death) -> None:
        """Count a process that could not finish."""
        self.report.kills += 1
        self.report.by[death.by] += 1
        self.world.crashes += 1

    def wait(self, *processes: Process, seconds: float = _PATIENCE) -> None:
        """Wait until everything is sent, or one of the processes is dead."""
        end = time.monotonic() + seconds
        while not self.world.is_over() and time.monotonic() < end:
            if any(process.wait(0.02) for process in processes):
                return

    def again_and_again(
        self, before: Callable[[], object] = lambda: None, *, seconds: float
    ) -> None:
        """Send, with a new sender whenever one ended because there was no space, as init does."""
        end = time.monotonic() + seconds
        process = self.start(before)
        while not self.world.is_over() and time.monotonic() < end:
            if process.wait(0.02):
                death = process.bury()
                self.died(death)
                if not any(words in death.text for words in _NO_SPACE):
                    self.report.errors.append(death.text)
                time.sleep(0.1)
                process = self.start(before)
        self.died(process.kill())

    def finish(self) -> None:
        """Let a sender without trouble finish, and what a refusal paused go on."""
        self.world.sink.behave()
        Operators(self.world, self.report.seed).go_home()
        process = self.start()
        self.wait(process)
        death = process.kill()
        if death.text:
            self.report.errors.append(death.text)

    def kill(self, *processes: Process) -> None:
        """End those that are not to die by themselves; what they say is an error."""
        for process in processes:
            death = process.kill()
            if death.text:
                self.report.errors.append(death.text)


def memory(scene: Scene) -> None:
    """There is little memory, and at some point none."""

    def little() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        # Beside the stacks of the threads, which are not small.
        most = used + scene.lot.randrange(25, 60) * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    for _ in range(5):
        scene.lot.random()
        scene.died(scene.start(little).end(0.5))


def files(scene: Scene) -> None:
    """There are fewer file descriptors than it takes."""

    def few() -> None:
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are not needed
        most = max(map(int, os.listdir("/proc/self/fd"))) + scene.lot.randrange(2, 14)  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(used, most), max(used, most)))

    for _ in range(5):
        scene.lot.random()
        scene.died(scene.start(few).end(0.4))


def company(scene: Scene) -> None:
    """Six senders begin at the same moment."""
    processes = [scene.start() for _ in range(6)]
    scene.wait(*processes)
    scene.kill(*processes)


def clocks(scene: Scene) -> None:
    """One clock is a day behind, one a day ahead, and one jumps about."""

    def clock(days: Callable[[], float]) -> Callable[[], datetime]:
        return lambda: datetime.now(UTC) + timedelta(days=days())

    processes = [
        scene.start(clock=clock(days))
        for days in (lambda: -1.0, lambda: 1.0, lambda: random.uniform(-1, 1))
    ]
    scene.wait(*processes)
    scene.kill(*processes)


def full(scene: Scene) -> None:
    """The disk is full, again and again, and there is space again."""
    began = time.monotonic()

    def refuse(what: str, _name: str) -> int:
        is_full = (time.monotonic() - began) % 0.5 > 0.3
        return disk.FULL if is_full and what == "write" else disk.OK

    def watched() -> None:
        disk.install(scene.world.folder / "writes", refuse)

    scene.again_and_again(watched, seconds=_PATIENCE)


def _fails_for_good(scene: Scene, code: int, what: str) -> None:
    """From some moment on, the disk fails; then the power does."""
    file, writes = scene.world.database, scene.world.folder / "writes"
    wal = file.with_name(f"{file.name}-wal")
    for _ in range(4):
        before = {path.name: path.read_bytes() for path in (file, wal) if path.exists()}
        writes.unlink(missing_ok=True)
        left = scene.lot.randrange(3, 20)

        def refuse(asked: str, _name: str) -> int:
            nonlocal left
            left -= asked == what
            return code if left < 0 and asked == what else disk.OK

        process = scene.start(lambda refuse=refuse: disk.install(writes, refuse))
        process.wait(3)
        scene.died(process.kill())
        found = disk.after_a_cut(writes, before, scene.lot)
        for path in (file, wal, file.with_name(f"{file.name}-shm")):
            path.unlink(missing_ok=True)
            if path.name in found:
                path.write_bytes(found[path.name])


def no_sync(scene: Scene) -> None:
    """The disk says that it could not sync: what is on it, nobody knows."""
    _fails_for_good(scene, disk.CANNOT_SYNC, "sync")


def read_only(scene: Scene) -> None:
    """The disk cannot be written any more."""
    _fails_for_good(scene, disk.CANNOT_WRITE, "write")


def replaced(scene: Scene) -> None:
    """While a sender runs, an older copy of the database is put in its place."""
    file = scene.world.database
    older = scene.world.folder / "older.db"
    shutil.copy(file, older)
    process = scene.start()
    while not ledger.read(scene.world.sink.ledger).arrivals:
        time.sleep(0.01)
    time.sleep(0.1)
    older.replace(file)
    scene.died(process.kill())
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    scene.world.sink.quiet()
    before = len(ledger.read(scene.world.sink.ledger).arrivals)
    process = scene.start()
    process.wait(1.5)
    scene.kill(process)
    scene.world.sink.quiet()
    after = len(ledger.read(scene.world.sink.ledger).arrivals)
    if after != before or before == 0:
        scene.report.violations.append(f"an older database sent: {before} mails, then {after}")


def filled(scene: Scene) -> None:
    """The same as `full` with a real file system: the files beside the database fail, too."""
    filler = scene.world.folder / "filler"
    done = threading.Event()

    def fill() -> None:
        while not done.wait(0.3):
            try:
                with filler.open("wb", buffering=0) as opened:
                    while True:
                        opened.write(bytes(4096))
            except OSError:
                done.wait(0.3)
            filler.unlink()

    thread = threading.Thread(target=fill)
    thread.start()
    scene.again_and_again(seconds=4)
    done.set()
    thread.join()


TROUBLES = {
    each.__name__: each
    for each in (memory, files, company, clocks, full, no_sync, read_only, replaced, filled)
}


def bring(name: str, seed: int) -> Report:
    """Bring a trouble about; the report."""
    report = Report(seed)
    with TemporaryDirectory(prefix="crash-", dir=in_memory()) as place:
        folder, ledger_file = Path(place) / "world", Path(place) / "ledger"
        folder.mkdir()
        if name == "filled":
            words = ["mount", "-t", "tmpfs", "-o", "size=6m", "crash", str(folder)]
            mounted = subprocess.run(words, capture_output=True, text=True, check=False)
            if mounted.returncode:
                report.by[f"cannot mount: {mounted.stderr.strip()}"] += 1
                return report
        try:
            _in_a_world(name, report, folder, ledger_file)
        finally:
            if name == "filled":
                subprocess.run(["umount", str(folder)], check=True)
    return report


def _in_a_world(name: str, report: Report, folder: Path, ledger_file: Path) -> None:
    began = time.monotonic()
    url = f"sqlite:///{folder / 'newsletter.db'}"
    populate(url, readers=20, digests=8)
    with SinkProcess(ledger_file, seed=report.seed, faults=USUAL, delay=0.006) as sink:
        scene = Scene(World(folder, url, sink, CONNECTIONS), report)
        settle_memory()
        TROUBLES[name](scene)
        if name != "replaced":
            if not scene.world.is_over():
                scene.finish()
            report.judge(scene.world)
    report.seconds = round(time.monotonic() - began, 1)


def main() -> None:
    """Bring troubles about, and print the reports as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trouble", nargs="*", choices=[*TROUBLES, []])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    reports = {name: vars(bring(name, given.seed)) for name in given.trouble or TROUBLES}
    print(json.dumps(reports, indent=1))
    sys.exit(any(report["violations"] or report["errors"] for report in reports.values()))


if __name__ == "__main__":
    main()
