"""What an article says, put into a page or a feed: cleaned once more, under the right headings.

A page has a stylesheet and allows no styles in elements; a feed reader knows none of our classes.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from newsletter.digests import markup
from newsletter.mail.tags import around
from newsletter.web.language import gettext as _

_HEADING = re.compile(r"<(/?)h([1-6])(?=[\s>])")
_ALIGNED = re.compile(r'<(t[dh])([^<>]*?) align="(left|center|right)"')
_TASKS = '<ul class="tasks"'
_DEEPEST = 6


def cleaned(html: str, level: int) -> Markup:
    """An article's HTML, safe to put into a page below a heading of the level before `level`.

    html: from a frozen digest, where it is clean already; but what lies in a database is not
        what was put there for ever, and a feed reader has no policy of ours to stop it.

    A table that is too wide scrolls by itself, by keyboard too (WCAG 2.1.1).
    """
    made = _ALIGNED.sub(r'<\1\2 class="to-\3"', headed(markup.html(html), level))
    label = escape(_("Table"))
    box = f'<div class="scroll" role="group" tabindex="0" aria-label="{label}">'
    return Markup(around(made, "table", box, "</div>"))  # noqa: S704 - the sanitiser's own output


def syndicated(html: str, level: int) -> Markup:
    """The same for a feed, whose readers have styles of their own and take few of anybody else."""
    made = _ALIGNED.sub(r'<\1\2 style="text-align: \3"', headed(markup.html(html), level))
    return Markup(made.replace(_TASKS, "<ul"))  # noqa: S704 - the sanitiser's own output


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
