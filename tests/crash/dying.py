"""Processes that are made to be killed: forked from one that has imported everything already."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PATIENCE = 10.0


@dataclass(frozen=True)
class Death:
    """How a process ended. by: "kill", "itself" or the point of the protocol where it was told to.

    seconds: how long it lived. text: its traceback, when an exception ended it.
    """

    by: str
    seconds: float
    text: str = ""


class Process:
    """A forked process that runs `work`.

    point: (name, n) of newsletter.failpoints: it kills itself when it passes there the n-th time.
    """

    def __init__(
        self, work: Callable[[], object], words: Path, point: tuple[str, int] | None = None
    ) -> None:
        self._point = point
        self._words = words
        self._began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _live(work, words, point)
        self._handle = os.pidfd_open(self.pid)

    def wait(self, seconds: float, bell: int | None = None) -> bool:
        """Wait for its end; whether it came within so many seconds, and before the bell rang."""
        handles = [self._handle] if bell is None else [self._handle, bell]
        return self._handle in select.select(handles, [], [], max(0.0, seconds))[0]

    def kill(self) -> Death:
        """End it now, if it still lives."""
        signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        return self.bury()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        signal.pidfd_send_signal(self._handle, number)

    def bury(self) -> Death:
        """Wait for its end, and say how it came."""
        _pid, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        seconds = time.monotonic() - self._began
        if os.WIFEXITED(status):
            return Death("itself", seconds, self._words.read_text())
        return Death("kill", seconds)

    def end(self, seconds: float, bell: int | None = None) -> Death:
        """Let it live so long at most, or up to its point, and see it dead.

        bell: the time counts from when it rings.
        """
        died = self.wait(_PATIENCE, bell) if bell is not None else False
        died = died or self.wait(seconds)
        death = self.bury() if died else self.kill()
        if died and death.by == "kill" and self._point:
            return Death(self._point[0], death.seconds)
        return death


def _live(work: Callable[[], object], words: Path, point: tuple[str, int] | None) -> None:
    """The child's life; it never returns."""
    try:
        # Nobody else would kill us, were the harness killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if point is not None:
            from newsletter import failpoints

            failpoints.switch(*point)
        words.write_text("")
        work()
    except BaseException:
        words.write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(0)


def settle_memory() -> None:
    """To be called once before many forks: what is there stays shared between the processes."""
    gc.collect()
    gc.freeze()
