"""`newsletter` with a profile of each of its threads.

    python benchmarks/profiled.py FOLDER CLOCK COMMAND...

CLOCK is "cpu" (what a thread computes) or "wall" (with what it waits for). Each thread leaves a
file for `pstats` in FOLDER, and the processor time that it took in the file's name. Profiling makes
small functions look dearer than they are: it says where to look, not how fast it is.
"""

from __future__ import annotations

import cProfile
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from newsletter.cli import main

CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.thread_time, "wall": time.perf_counter}


def watched(
    run: Callable[[threading.Thread], None], folder: Path, clock: Callable[[], float]
) -> Callable[[threading.Thread], None]:
    """`Thread.run` with a profile."""

    def profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile(clock)
        try:
            profile.enable()
        except ValueError:  # since Python 3.12 one thread at a time; the first one is it
            run(thread)
            return
        try:
            run(thread)
        finally:
            profile.disable()
            leave(profile, folder, thread.name)

    return profiled


def leave(profile: cProfile.Profile, folder: Path, name: str) -> None:
    """Write one thread's profile: the calling one's."""
    plain = "".join(c if c.isalnum() else "-" for c in name)
    profile.dump_stats(folder / f"{time.thread_time():09.3f}s-{plain}.prof")


def begin() -> None:
    """Run the command in this process; its threads and this one are profiled."""
    folder, clock = Path(sys.argv[1]), CLOCKS[sys.argv[2]]
    setattr(threading.Thread, "run", watched(threading.Thread.run, folder, clock))  # noqa: B010
    profile = cProfile.Profile(clock)
    if sys.version_info < (3, 12):
        profile.enable()
    try:
        main(sys.argv[3:], prog_name="newsletter")
    finally:
        profile.disable()
        leave(profile, folder, "main")


if __name__ == "__main__":
    begin()
