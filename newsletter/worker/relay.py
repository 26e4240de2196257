"""Whether the relay works with us, as all connections of a process see it.

A relay that cannot be used says nothing about any recipient: nobody is marked failed for it, and
the next try waits, longer each time.
"""

from __future__ import annotations

import threading
import time

from newsletter.mail.transport import RelayProblem

_LONGEST = 60.0


class Relay:
    """The relay's health. For several threads at once.

    first_delay: seconds until the first new try after a problem; they double, up to a minute.
    """

    def __init__(self, first_delay: float = 1.0) -> None:
        self._first_delay = first_delay
        self._lock = threading.Lock()
        self._try_at = 0.0
        self.problems = 0
        self.problem: RelayProblem | None = None

    def wait(self) -> float:
        """Seconds until the relay may be tried; 0 for now."""
        with self._lock:
            return max(0.0, self._try_at - time.monotonic())

    def failed(self, problem: RelayProblem) -> float | None:
        """Note a problem; the seconds until the next try, None when that was settled already.

        All connections fail together when the relay does, and that is one problem.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._try_at:
                return None
            delay = min(self._first_delay * 2.0 ** min(self.problems, 30), _LONGEST)
            self.problems += 1
            self.problem = problem
            self._try_at = now + delay
            return delay

    def worked(self) -> None:
        """The relay took a step with us: what was before is forgotten."""
        with self._lock:
            self.problems = 0
            self.problem = None
            self._try_at = 0.0
