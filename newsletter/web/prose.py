"""What an article says, put into a page or a feed: cleaned once more, under the right headings.

A page has a stylesheet and allows no styles in elements; a feed reader knows none of our classes.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from newsletter.digests import markup
from newsletter.mail.headings import headed
from newsletter.mail.tags import around
from newsletter.web.language import gettext as _

_ALIGNED = re.compile(r'<(t[dh])([^<>]*?) align="(left|center|right)"')
_TASKS = '<ul class="tasks"'


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
