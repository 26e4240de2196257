"""What an article may hold at most, so that no one takes a second of everybody's time.

A letter of more than 100 KB is cut by mail programs: an article beyond these limits could not be
shown in full anyway, and costs in every step what it has of pictures, links and tags.
"""

from __future__ import annotations

import re
import unicodedata

from newsletter.errors import BadInput

MAX_PICTURES = 1_000
MAX_LINKS = 3_000
# Of a table. Cells of a Markdown one cost more to make than to write: short rows are filled up.
MAX_COLUMNS = 100
MAX_CELLS = 15_000

# Unicode's Stream-Safe Text Format (UAX #15 §13) has no more of them behind one letter.
_MOST_MARKS = 30
# Combining marks are neither words nor blanks; so are other signs, which stay.
_SIGNS = re.compile(r"[^\w\s\x00-\u02ff]{31,}")
# Where a row of an HTML table begins or is over; each cell stands in one.
_ROW_OR_CELL = re.compile(r"</?(table|tr)\b|<t[dh]\b")
_DELIMITERS = re.compile(r"[>\s]*[|:\- \t]*\|[|:\- \t]*")


def check_markup(cleaned: str) -> None:
    """Raises BadInput when there are more pictures or links in the HTML than an article needs, or
    more cells in a row.
    """
    if cleaned.count("<img") > MAX_PICTURES:
        raise BadInput(f"The text has more than {MAX_PICTURES:,} pictures.", "body")
    if cleaned.count("<a ") > MAX_LINKS:
        raise BadInput(f"The text has more than {MAX_LINKS:,} links.", "body")
    cells = 0
    for found in _ROW_OR_CELL.finditer(cleaned):
        cells = 0 if found[1] else cells + 1
        if cells > MAX_COLUMNS:
            raise BadInput(f"A table has more than {MAX_COLUMNS} columns.", "body")


def check_tables(source: str) -> None:
    """Raises BadInput when a table in the Markdown is larger than an article needs."""
    if "|" not in source:
        return
    rows = 0  # until the next blank line
    for line in reversed(source.split("\n")):
        rows = rows + 1 if line.strip(" \t>") else 0
        if "|" not in line or not _DELIMITERS.fullmatch(line):
            continue
        columns = line.count("|") + 1
        if columns > MAX_COLUMNS:
            raise BadInput(f"A table has more than {MAX_COLUMNS} columns.", "body")
        if columns * rows > MAX_CELLS:
            raise BadInput(f"A table has more than {MAX_CELLS:,} cells.", "body")


def without_towers(text: str) -> str:
    """`text` with at most thirty combining marks behind one letter."""
    return text if text.isascii() else _SIGNS.sub(_lowered, text)


def _lowered(found: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in found[0]:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)
