"""What the sink saw, as it wrote it down before it answered: the outside's word on every mail.

The ledger is a file of JSON lines that are only ever appended. It is the half of the evidence
that the sender cannot touch; the other half are the rows of its database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrival:
    """One mail that arrived whole, with its final dot.

    at: Unix time. taken: whether the sink took it (so that somebody would read it). said: what the
    sink answered, or how it failed to: a reply, "take-drop", "garbage", ...
    """

    at: float
    recipient: str
    message_id: str
    sha256: str
    taken: bool
    said: str

    @property
    def was_told(self) -> bool:
        """Whether the sender was told a clear yes."""
        return self.said.startswith("2")

    @property
    def is_clear(self) -> bool:
        """Whether the answer was one that a sender can understand."""
        return self.said[:1] in ("2", "4", "5")


@dataclass(frozen=True, slots=True)
class Ending:
    """A connection that ended without QUIT. stage: how far its mail was; recipient: of that mail.

    stage: connect, ehlo, mail, rcpt, data (asked for), body (some of it came), offered (all of it,
    and no dot), dot (the dot came), answered (and a reply went out). message_id: of that mail, once
    its header came; previous: of the last mail on this connection that was answered.
    """

    at: float
    stage: str
    recipient: str
    message_id: str
    previous: str
    by_sink: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """All of one sink's ledger. hung_up_before_dot: mails at whose last line the sink hung up."""

    arrivals: tuple[Arrival, ...]
    endings: tuple[Ending, ...]
    faults: int
    hung_up_before_dot: int

    @property
    def lost_answers(self) -> int:
        """For how many mails no sender could know what became of them, though it lived."""
        return self.hung_up_before_dot + sum(not each.is_clear for each in self.arrivals)


def lines(file: Path, start: int = 0) -> Iterator[dict[str, object]]:
    """The entries from byte `start` on; a line that is being written at the moment is left out."""
    with file.open("rb") as opened:
        opened.seek(start)
        for line in opened:
            if line.endswith(b"\n"):
                yield json.loads(line)


def read(file: Path) -> Ledger:
    """The whole ledger."""
    arrivals: list[Arrival] = []
    endings: list[Ending] = []
    faults = hung_up = 0
    for entry in lines(file):
        what = entry.pop("what")
        if what == "mail":
            arrivals.append(Arrival(**entry))  # type: ignore[arg-type]
        elif what == "end":
            endings.append(Ending(**entry))  # type: ignore[arg-type]
        else:
            faults += 1
            hung_up += entry["said"] == "hang-up"
    return Ledger(tuple(arrivals), tuple(endings), faults, hung_up)
