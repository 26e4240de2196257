"""When a digest must stop because the relay, or those behind it, no longer want it.

A refusal for policy (RFC 3463 §3.8, X.7) or of the message as a whole is about us. To go on would
put off a mail after the other, and cost our name with those who refuse.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

# The last results that are looked at.
_WINDOW = 200
# While others are accepted: more than one in a hundred, and one that is not alone.
_PART = 0.01
_FEWEST = 3


class _Result(Enum):
    ACCEPTED = auto()
    REFUSED = auto()
    OTHER = auto()


class Breaker:
    """What became of the last mails of one digest. It knows nothing older than 200 of them."""

    def __init__(self) -> None:
        self._last: deque[_Result] = deque(maxlen=_WINDOW)

    def accepted(self) -> None:
        """The relay took a mail."""
        self._last.append(_Result.ACCEPTED)

    def refused(self) -> None:
        """It refused one for policy, or for the message as a whole."""
        self._last.append(_Result.REFUSED)

    def other(self) -> None:
        """Anything else: an address that does not exist, a mail put off."""
        self._last.append(_Result.OTHER)

    def trips(self) -> bool:
        """Whether the digest must be paused.

        A single refusal is enough when nothing of it was accepted lately; otherwise it takes three,
        and more than one in a hundred.
        """
        refused = self._last.count(_Result.REFUSED)
        if not refused:
            return False
        if _Result.ACCEPTED not in self._last:
            return True
        return refused >= _FEWEST and refused > _PART * len(self._last)
