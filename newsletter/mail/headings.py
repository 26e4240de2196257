"""Headings of clean HTML, put under those of the letter or page in which it stands."""

from __future__ import annotations

import re

_HEADING = re.compile(r"<(/?)h([1-6])(?=[\s>])")
_DEEPEST = 6


def headed(html: str, level: int) -> str:
    """Clean `html` with headings from `level` (1 to 6) on, none of which is skipped.

    Articles begin with whatever heading their site has below its own titles; whoever listens to a
    page goes from heading to heading, and takes a missing level for a missing part (WCAG 1.3.1).
    """
    used = sorted({int(found[2]) for found in _HEADING.finditer(html)})
    levels = {number: level + place for place, number in enumerate(used)}
    last = level - 1
    opened = level

    def moved(found: re.Match[str]) -> str:
        nonlocal last, opened
        if not found[1]:
            last = opened = min(levels[int(found[2])], last + 1, _DEEPEST)
        return f"<{found[1]}h{opened}"

    return _HEADING.sub(moved, html)
