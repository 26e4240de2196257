"""Sizes: Gmail cuts a long letter, and with it its end, and reads no large style element."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.digests.check.built import Built
from newsletter.digests.check.finding import Finding, Part, Place, error, warning

KIB = 1024
# Gmail cuts at 102 to 105 KB, measured on the decoded HTML.
HTML_MOST = 90 * KIB
HTML_CUT = 100 * KIB
# Four times what can be sent: every other check would take its time, and change nothing.
HTML_HUGE = 400 * KIB
STYLE_MOST = 16 * KIB
_SHOWN = 3

_SHORTEN = (
    "Give summaries in place of whole articles (--length teaser), take articles out, or make two "
    "digests of it."
)
LARGE = warning("html-large", f"The HTML part is larger than {HTML_MOST // KIB} KB.", _SHORTEN)
CUT = error(
    "html-cut",
    f"The HTML part is larger than {HTML_CUT // KIB} KB: Gmail cuts its end off.",
    _SHORTEN,
)
HUGE = error(
    "html-huge",
    f"The HTML part is larger than {HTML_HUGE // KIB} KB: but for sizes and headers nothing was "
    "looked at, and --force does not let it pass.",
    _SHORTEN,
    # What nobody looked at may lack its unsubscribe link, or a postal address.
    may_pass=False,
)
LATE = error(
    "unsubscribe-cut",
    f"The unsubscribe link is not within the first {HTML_CUT // KIB} KB, and Gmail cuts it off.",
    _SHORTEN,
)
STYLE = error(
    "style-large",
    f"The style elements hold more than {STYLE_MOST // KIB} KB: Gmail drops all of them.",
    "Keep in media.css only what cannot stand in the elements: media queries and dark mode.",
)
RULES = (LARGE, CUT, HUGE, LATE, STYLE)


def is_huge(built: Built) -> bool:
    """Whether it is so large that a look at all of it is not worth its time."""
    return len(built.html.encode()) > HTML_HUGE


def check(built: Built) -> Iterator[Finding]:
    """Too large, in all or in a part."""
    whole = len(built.html.encode())
    place = Place(Part.HTML)
    if whole > HTML_HUGE:
        yield Finding(HUGE, place)
    if whole > HTML_MOST:
        rule = CUT if whole > HTML_CUT else LARGE
        yield Finding(rule, place, f"It has {_kb(whole)}. {_largest(built)}".strip())
        yield from _late(built)
    style = len(built.document.style.encode())
    if style > STYLE_MOST:
        yield Finding(STYLE, place, f"They hold {_kb(style)}.")


def sizes(built: Built) -> dict[str, int]:
    """What counts, in bytes."""
    return {
        "mail": built.size,
        "html": len(built.html.encode()),
        "style": len(built.document.style.encode()),
        "text": len(built.text.encode()),
    }


def _late(built: Built) -> Iterator[Finding]:
    document, wanted = built.document, built.unsubscribe_url
    places = [each for each in document.all("a") if each.attributes.get("href") == wanted]
    if wanted and places:
        first = len(built.html[: places[0].end].encode())
        if first > HTML_CUT:
            yield Finding(LATE, document.at(places[0]), f"It ends after {_kb(first)}.")


def _largest(built: Built) -> str:
    """The articles that take most of the room."""
    taken = sorted(
        (
            (len(built.html[element.start : element.end].encode()), title)
            for element, title in built.document.articles
        ),
        reverse=True,
    )
    shown = [f"“{title}” {_kb(size)}" for size, title in taken[:_SHOWN]]
    return f"The longest: {', '.join(shown)}." if shown else ""


def _kb(size: int) -> str:
    return f"{size / KIB:.1f} KB"
