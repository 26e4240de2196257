"""Bringing people in from a CSV file, with where their consent came from.

What a file cannot do: bring back somebody who left, was erased, blocked us, complained, or whose
address bounced. Each person who comes in gets an `imported` event with the operator's evidence.
"""

from newsletter.subscriptions.importing.intake import PIECE, Status, Tally, take
from newsletter.subscriptions.importing.rows import COLUMNS, BadRow, Row, read

__all__ = ["COLUMNS", "PIECE", "BadRow", "Row", "Status", "Tally", "read", "take"]
