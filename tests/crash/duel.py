"""Two processes at one reader, in the worst order that there is: a play with four acts.

As a program: `python tests/crash/duel.py epoch Honest` plays it with that sender of crash.villains
and prints what the judge found, one violation a line.

epoch: one process is told 451 and falls asleep before it writes that down. Another one takes its
rows over, hands the same mail over and has the dot on the wire when the first wakes up and writes
its 451 down.
consent: the reader leaves between the body and the dot.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from crash import villains
from crash.checker import check
from crash.dying import Process
from crash.people import Operators
from crash.sink import Faults, Lots
from crash.villains import Held
from crash.world import SinkProcess, World, in_memory, populate

READER = "reader-0@d0.example.net"
LATER: Faults = {"rcpt": [("451 4.7.1 later", 0.5)]}


def stops_at(*moments: str) -> Callable[[str, Held], None]:
    """A hook that stops the process at these moments of the reader's mail, one after the other."""
    waiting = list(moments)

    def hook(moment: str, held: Held) -> None:
        if held.recipient == READER and waiting and moment == waiting[0]:
            waiting.pop(0)
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def start(world: World, sender: str, *moments: str) -> Process:
    """Start a sender and wait until it has stopped at the first of the moments, or is dead."""
    made = getattr(villains, sender)(world, stops_at(*moments))
    process = Process(made.run, world.folder / "words")
    wait_for_stop(process)
    return process


def wait_for_stop(process: Process) -> None:
    """Wait until it stands still."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def go_on(process: Process) -> None:
    """Wake it up, and wait until it stops again or is dead."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG)  # the first stop is dealt with
    process.send(signal.SIGCONT)
    wait_for_stop(process)


def epoch(world: World, sender: str) -> None:
    """The first act: told 451. The second: taken over. The third: awake again. Then the end."""
    sleeper = start(world, sender, "refused")
    taker = start(world, sender, "armed")
    go_on(sleeper)
    go_on(taker)
    sleeper.bury()
    taker.bury()
    Process(getattr(villains, sender)(world).run, world.folder / "words").bury()
    world.crashes = 2


def consent(world: World, sender: str) -> None:
    """The mail waits for its dot; the reader leaves; the dot must not come."""
    process = start(world, sender, "offered")
    Operators(world, 0).leave()
    go_on(process)
    process.bury()


def a_seed(*wanted: bool) -> int:
    """A seed with which the reader's first RCPTs are put off as wanted, and no other's is."""

    def suits(seed: int) -> bool:
        lots = Lots(seed, LATER)
        return all((lots.draw("rcpt", READER) is not None) == put_off for put_off in wanted)

    return next(seed for seed in range(10_000) if suits(seed))


def main() -> None:
    """Play, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("play", choices=("epoch", "consent"))
    parser.add_argument("sender")
    given = parser.parse_args()
    is_epoch = given.play == "epoch"
    with TemporaryDirectory(prefix="crash-", dir=in_memory()) as name:
        folder = Path(name)
        template, file = folder / "template.db", folder / "newsletter.db"
        populate(f"sqlite:///{template}", readers=1, digests=1)
        shutil.copy(template, file)
        seed = a_seed(True, False, False, False) if is_epoch else 0
        faults = LATER if is_epoch else {}
        with SinkProcess(folder / "ledger", seed=seed, faults=faults) as sink:
            world = World(folder, f"sqlite:///{file}", sink, connections=1)
            (epoch if is_epoch else consent)(world, given.sender)
            found = check(world.history())
    for violation in found:
        print(violation)


if __name__ == "__main__":
    main()
