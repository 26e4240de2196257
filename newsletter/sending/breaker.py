"""When a digest must stop because the relay, or those behind it, no longer want it.

A refusal for policy (RFC 3463 §3.8, X.7) or of the message as a whole is about us. To go on would
put off a mail after the other, and cost our name with those who refuse. One reader's own server may
say the same of what everybody else takes, each time it is asked: that stops nobody.
"""

from __future__ import annotations

from enum import Enum, auto

# The last mails that are looked at.
_WINDOW = 200
# While others are accepted: more than one in a hundred, and one that is not alone.
_PART = 0.01
_FEWEST = 3


class _Result(Enum):
    ACCEPTED = auto()
    REFUSED = auto()
    REFUSED_AGAIN = auto()
    OTHER = auto()


class Breaker:
    """What became of the last 200 mails of one digest; each counts once, by its last result.

    was_accepted: whether any mail of the digest was accepted, however long ago. Whoever knows it
    from the rows may say so.
    """

    def __init__(self) -> None:
        self.was_accepted = False
        self._last: dict[int, _Result] = {}

    def accepted(self, delivery: int) -> None:
        """The relay took a mail. delivery: the number of its row, here and below."""
        self.was_accepted = True
        self._note(delivery, _Result.ACCEPTED)

    def refused(self, delivery: int) -> None:
        """It refused one for policy, or for the message as a whole."""
        self._note(delivery, _Result.REFUSED)

    def refused_again(self, delivery: int) -> None:
        """It refused one that had met this before: no news, where others are accepted."""
        self._note(delivery, _Result.REFUSED_AGAIN)

    def other(self, delivery: int) -> None:
        """Anything else: an address that does not exist, a mail put off."""
        self._note(delivery, _Result.OTHER)

    def trips(self) -> bool:
        """Whether the digest must be paused.

        A single refusal is enough when nothing of it was ever accepted; otherwise it takes three
        mails that met their first, and more than one in a hundred.
        """
        results = list(self._last.values())
        refused = results.count(_Result.REFUSED)
        if not self.was_accepted:
            return bool(refused) or _Result.REFUSED_AGAIN in results
        return refused >= _FEWEST and refused > _PART * len(results)

    def _note(self, delivery: int, result: _Result) -> None:
        self._last.pop(delivery, None)
        self._last[delivery] = result
        if len(self._last) > _WINDOW:
            del self._last[next(iter(self._last))]
