"""`newsletter status --watch`: looking on while somebody sends, whoever it is.

It only reads, and only counts rows: it may run anywhere, more than once, and be ended at any time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.orm import Session, defer

from newsletter import store
from newsletter.cli.display import Show
from newsletter.cli.picture import Look, Rate
from newsletter.sending import audience, claim, status
from newsletter.worker import Stop, beat

# Seconds between two looks at least; counting may take a twentieth of the time, however many rows.
_INTERVAL = 0.5
_SHARE = 20
_SLICE = 0.1
# Nobody sends for so long: it is no restart of a worker.
PATIENCE = 15.0


@dataclass
class Watch:
    """The digests that are looked at: the one with that number, or all that are being sent.

    wait: stays until what was put off is out too.
    """

    engine: Engine
    digest_id: int | None
    wait: bool = False
    _tallies: dict[int, status.Tally] = field(default_factory=dict)
    _rates: defaultdict[int, Rate] = field(default_factory=lambda: defaultdict(Rate))

    def run(self, show: Show, stop: Stop, *, patience: float = PATIENCE) -> list[Look]:
        """Look again and again, and return the last looks.

        Ends when nothing is being sent (what was put off is not, but see `wait`), when for
        `patience` seconds no process was there to do it, or when `stop` is set.

        Raises NotFound when there is no such digest.
        """
        looks: list[Look] = []
        seen_sender = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            looks, moves, senders = self._look()
            show(looks)
            if senders:
                seen_sender = began
            if not moves or began - seen_sender >= patience:
                break
            self._rest(stop, max(_INTERVAL, _SHARE * (time.monotonic() - began)))
        return looks

    def _look(self) -> tuple[list[Look], bool, int]:
        """All that is watched, whether any of it can move, and how many processes send."""
        with store.reading(self.engine) as session:
            senders = beat.alive(session)
            sending = claim.sending(session)
            for number in sending if self.digest_id is None else [self.digest_id]:
                self._tallies.setdefault(number, status.Tally(number))
            looks = [self._one(session, number, senders) for number in self._tallies]
        moves = any(
            look.number in sending and (self.wait or not look.only_put_off) for look in looks
        )
        return looks, moves, senders

    def _one(self, session: Session, number: int, senders: int) -> Look:
        found = self._tallies[number].of(session)
        expected = expected_of(session, number) + found["total"]
        done = Look(found, expected).done
        return Look(found, expected, self._rates[number].of(done), senders)

    @staticmethod
    def _rest(stop: Stop, seconds: float) -> None:
        # In slices: waiting for the event itself could block the signal's own function.
        until = time.monotonic() + seconds
        while not stop.is_set() and time.monotonic() < until:
            time.sleep(_SLICE)


def expected_of(session: Session, digest_id: int) -> int:
    """How many rows queueing will still make for a digest, without reading its content."""
    # It can be large, and this is asked again and again.
    digest = session.get_one(store.Digest, digest_id, options=[defer(store.Digest.frozen)])
    return audience.not_queued_yet(session, digest)
