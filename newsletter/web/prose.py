"""What an article says, put into a page: cleaned once more, and under the right headings."""

from __future__ import annotations

import re

from markupsafe import Markup

from newsletter.digests import markup

_HEADING = re.compile(r"<(/?)h([1-6])(?=[\s>])")
_DEEPEST = 6


def cleaned(html: str, level: int) -> Markup:
    """An article's HTML, safe to put into a page below a heading of the level before `level`.

    html: from a frozen digest, where it is clean already; but what lies in a database is not
        what was put there for ever, and a feed reader has no policy of ours to stop it.
    """
    return Markup(headed(markup.html(html), level))  # noqa: S704 - the sanitiser's own output


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
