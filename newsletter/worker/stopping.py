"""Being told to stop: once is a wish, twice is haste."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop(threading.Event):
    """Set: end, but let the relay answer what was armed. `at_once` set too: do not wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = threading.Event()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A Stop that SIGTERM and SIGINT set, a second one at once; the old ways are put back after.

    For the main thread only, where Python delivers signals.
    """
    stop = Stop()
    wishes = iter((stop, stop.at_once))

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        # Each event is set once: a signal that comes while another one is dealt with would wait
        # for the event's lock, which the other one holds.
        if (wish := next(wishes, None)) is not None:
            wish.set()

    before = {number: signal.signal(number, set_stop) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
