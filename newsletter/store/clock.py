"""The clock that leases are measured by: one that nobody sets.

On PostgreSQL it is the server's, the same for every machine. On SQLite, which one machine has to
itself, it is the time since that machine was started, with the name of that start: after a new
start every lease of an earlier one is over, as is every process that held one. A wall clock that
jumps changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Float, cast, func, select
from sqlalchemy.orm import Session

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Also counts while the machine sleeps; Linux only.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Tick:
    """A moment: `seconds` on the clock called `clock`. Only ticks of one clock are compared."""

    clock: str
    seconds: float


def tick(session: Session) -> Tick:
    """What the clock of the session's database says now."""
    if session.get_bind().dialect.name == "postgresql":
        seconds = session.scalar(select(cast(func.extract("epoch", func.clock_timestamp()), Float)))
        return Tick("database", float(seconds or 0))
    return Tick(f"boot {boot()}", since_boot())


def since_boot() -> float:
    """Seconds since this machine started, sleep included where the system counts it."""
    return time.clock_gettime(_SINCE_BOOT)


@cache
def boot() -> str:
    """The name of this start of the machine.

    A system without one: when it was started, to the minute, which is as good as its clock was.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"at minute {round((time.time() - since_boot()) / 60)}"
