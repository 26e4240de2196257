"""The logs that recoveries ended: their trees and checkpoints stay, for those who hold receipts."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from newsletter.consent import merkle, tree
from newsletter.consent.check import fault
from newsletter.consent.check.rebuilt import Rebuilt
from newsletter.consent.check.signed import Chain, Notes
from newsletter.errors import BadNote
from newsletter.store import ConsentEvent

_PIECE = 1000


def check(session: Session, notes: Notes, recoveries: dict[int, dict[str, Any]]) -> int:
    """Check each former log against the events that it had; returns how many checkpoints it met.

    recoveries: position -> fields of the event that ended a log, and began the next.

    A recovery from a damaged database ends a log whose tree no longer fitted: the checkpoint that
    the recovery found tells. Such a log proves nothing, and is passed over.
    """
    met = 0
    began: int | None = None
    log = 1
    for ended, fields in sorted(recoveries.items()):
        if _was_whole(session, notes, fields.get("found"), began):
            chain = Chain(session, notes, log=log)
            rebuilt = Rebuilt(session, log=log)
            for position, commitment in _leaves(session, ended, began):
                rebuilt.add(commitment, position=position)
                chain.meet(rebuilt, position=position)
            rebuilt.finish()
            chain.finish(ended)
            met += chain.count
        began, log = ended, int(fields.get("log", 0))
    return met


def _was_whole(session: Session, notes: Notes, found: object, began: int | None) -> bool:
    """Whether the log had the tree of its newest checkpoint when the recovery ended it."""
    if not found:
        return True
    try:
        checkpoint = notes.open(found)
    except BadNote:
        return False
    frontier = merkle.Frontier()
    for _position, commitment in _leaves(session, checkpoint.size, began):
        frontier.add(tree.leaf_hash(commitment))
    return hmac.compare_digest(frontier.root(), checkpoint.root)


def _leaves(session: Session, size: int, began: int | None) -> Iterator[tuple[int, bytes]]:
    """Position and commitment of a log's first `size` leaves, in its own order."""
    for low in range(0, size, _PIECE):
        leaves = range(low, min(low + _PIECE, size))
        positions = [tree.position_of(leaf, began) for leaf in leaves]
        query = select(ConsentEvent.position, ConsentEvent.commitment).where(
            ConsentEvent.position.between(min(positions), max(positions))
        )
        found = {row.position: row.commitment for row in session.execute(query)}
        for position in positions:
            if not isinstance(found.get(position), bytes):
                raise fault.at(position, "the event is missing")
            yield position, found[position]
