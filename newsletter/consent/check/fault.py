"""What a check says when something does not fit."""

from __future__ import annotations

from newsletter.errors import ConsentLogError


def at(position: int, text: str) -> ConsentLogError:
    """The error that names a fault and the position of the event where it shows."""
    return ConsentLogError(f"position {position}: {text}", position=position)
