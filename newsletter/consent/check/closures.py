"""Which events an erasure explains: without one, words that are gone are a fault.

One bit a position is kept, so that a log of any length fits into memory: a million events take
122 KiB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.consent.check import fault
from newsletter.consent.event import EventType
from newsletter.errors import ConsentLogError
from newsletter.store import ConsentEvent

_PIECE = 500


class Closures:
    """The positions that erasures list, and the recoveries, from position `start` on.

    They are read ahead of everything else, since an erasure stands behind what it closes. Nothing
    of them is believed before their own events have been checked like all others.
    """

    def __init__(self, session: Session, *, start: int, size: int) -> None:
        self._session = session
        self._start, self._size = start, size
        self._bits = bytearray((size + 7) // 8)
        # Position of an erasure -> what is wrong with its list; the first one is enough.
        self._wrong: tuple[int, str] | None = None
        # Position of each recovery -> the event's fields.
        self.recoveries: dict[int, dict[str, Any]] = {}
        for position, fields in self._about_nobody():
            if fields.get("type") == EventType.ERASED:
                self._close(position, fields.get("closed"))
            elif fields.get("type") == EventType.RECOVERED:
                self.recoveries[position] = fields

    def closes(self, position: int) -> bool:
        """Whether an erasure lists this position."""
        return bool(self._bits[position >> 3] >> (position & 7) & 1)

    def check_list(self, position: int) -> None:
        """Raises ConsentLogError when the erasure at `position` lists what it cannot close."""
        if self._wrong is not None and self._wrong[0] == position:
            raise fault.at(*self._wrong)

    def check_before_start(self) -> None:
        """Events from before the start that are listed are without their words."""
        listed = (number for number in range(self._start) if self.closes(number))
        if not any(self._bits[: (self._start + 7) // 8]):
            return
        piece: list[int] = []
        for number in listed:
            piece.append(number)
            if len(piece) == _PIECE:
                self._check_closed(piece)
                piece = []
        self._check_closed(piece)

    def _check_closed(self, positions: list[int]) -> None:
        event = ConsentEvent
        is_open = event.body.is_not(None) | event.subscriber_id.is_not(None)
        query = select(event.position).where(event.position.in_(positions), is_open)
        found = self._session.scalar(query.order_by(event.position).limit(1))
        if found is not None:
            raise still_there(found)

    def _close(self, position: int, closed: Any) -> None:
        numbers = closed if isinstance(closed, list) else [closed]
        for number in numbers:
            if type(number) is not int or not 0 <= number < position:
                self._note(position, "the erasure lists what is no earlier position")
            elif self.closes(number):
                self._note(position, f"the erasure lists position {number}, as another one does")
            else:
                self._bits[number >> 3] |= 1 << (number & 7)

    def _note(self, position: int, text: str) -> None:
        if self._wrong is None:
            self._wrong = (position, text)

    def _about_nobody(self) -> Iterator[tuple[int, dict[str, Any]]]:
        query = (
            select(ConsentEvent.position, ConsentEvent.body)
            .where(
                ConsentEvent.subscriber_id.is_(None),
                ConsentEvent.body.is_not(None),
                ConsentEvent.position.between(self._start, self._size - 1),
            )
            .order_by(ConsentEvent.position)
            .execution_options(yield_per=_PIECE)
        )
        with self._session.execute(query) as rows:
            for position, body in rows:
                try:
                    fields = json.loads(body or b"")
                except (ValueError, TypeError):
                    continue  # told when its turn comes
                if isinstance(fields, dict):
                    yield position, fields


def still_there(position: int) -> ConsentLogError:
    """The fault of an event that an erasure lists and did not take away."""
    return fault.at(position, "an erasure lists the event, but it is still there")
