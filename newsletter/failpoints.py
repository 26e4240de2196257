"""Named points of the send protocol at which a test may kill the process.

The promise of the sender is about what happens when it dies; these are the moments that random
kills seldom hit. Without the environment variable, passing a point costs a comparison.
"""

from __future__ import annotations

import os
import signal

# Not called NEWSLETTER_...: those are settings, and this is none.
VARIABLE = "SENDER_FAILPOINT"

# In the order in which a mail passes them.
POINTS = (
    "claiming",  # before the commit that takes rows
    "claimed",  # after it
    "noted",  # the journal has the batch
    "offered",  # the body is out, the dot is missing
    "arming",  # before the commit that arms mails and settles others
    "armed",  # after it, and before any dot
    "dotted",  # the dots are with the kernel
    "answered",  # replies were read, and not recorded yet
    "settled",  # they are recorded
)


def _read(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    if name not in POINTS or (count and not count.isdecimal()):
        raise ValueError(f"{VARIABLE}: {text!r} is not one of {', '.join(POINTS)}, or POINT:N")
    return name, int(count or 1)


class _Switch:
    """Where to die, and how many times to pass there first; none by default."""

    name: str | None = None
    count = 1


_switch = _Switch()


def switch(name: str | None, count: int = 1) -> None:
    """Die at the `count`-th time that `name` is passed from now on; None: never."""
    _switch.name, _switch.count = _read(f"{name}:{count}") if name else (None, 1)


def reached(name: str) -> None:
    """Pass the point `name`: nothing happens unless it was switched on, then SIGKILL."""
    if _switch.name != name:
        return
    _switch.count -= 1
    if _switch.count <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


if VARIABLE in os.environ:
    switch(*_read(os.environ[VARIABLE]))
