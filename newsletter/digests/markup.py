"""HTML from elsewhere becomes HTML that is safe in a letter, and text that reads well.

The counterpart of `markdown` for bodies that came as HTML. Feeds and pages were written for a
browser and by strangers: what a letter cannot show is left out, what is nested too deep keeps its
words and loses its tags, and only what is too large to work on is refused.
"""

from __future__ import annotations

import html as entities
import re

from newsletter.digests import limits, plaintext, rawhtml, summary
from newsletter.digests.blocks import blocks
from newsletter.errors import BadInput

MAX_SIZE = 512 * 1024  # characters
# An article of 10,000 words with a link in every sentence has about 3,000.
MAX_TAGS = 20_000
# The same without those that were nested too deep: what a letter or a page would show.
MAX_SHOWN_TAGS = 12_000
# Some write every letter that is not ASCII as &#1078;.
MAX_REFERENCES = 100_000
# nh3 is quadratic in the depth of nesting, and cannot be interrupted. Page builders nest thirty.
MAX_DEPTH = 60

_EMPTY = re.compile(r"<(p|div|figure|span|li)>(?:\s|&nbsp;|\xa0|<br>)*</\1>\s*")
_GAPS = re.compile(r"(<pre>.*?</pre>)|\n\s*\n", re.DOTALL)
_BLANK_LINES = re.compile(r"\n\s*\n")
_ADDRESS = re.compile(r"https?://[^\s<>\"]*[^\s<>\".,;:!?')\]]", re.IGNORECASE)


def clean(source: str, *, base_url: str | None) -> str:
    """`source` as it can be kept: with only what an article may use, headings from h3 on.

    base_url: what relative addresses are relative to. Without it, or where none can be made, a
        link's words stay and a picture goes.

    Raises BadInput when the source is too large or has more tags than an article needs.
    """
    if len(source) > MAX_SIZE:
        raise BadInput(f"The text has more than {MAX_SIZE // 1024} KiB.", "body")
    tidied = rawhtml.tidy(source.replace("\0", ""), base_url)
    if tidied.count("<") > MAX_TAGS or tidied.count("&") > MAX_REFERENCES:
        raise BadInput("The text has more markup than an article needs.", "body")
    limits.check_markup(tidied)
    cleaned = _html(tidied, base_url)
    if cleaned.count("<") > MAX_SHOWN_TAGS:
        raise BadInput("The text has more markup than an article needs.", "body")
    # Twice: what held nothing but an empty paragraph is empty then.
    cleaned = _EMPTY.sub("", _EMPTY.sub("", cleaned))
    return _GAPS.sub(lambda found: found[1] or "\n", cleaned).strip()


def html(kept: str) -> str:
    """What `clean` made, cleaned once more: safe to put into a page or a letter as it is."""
    return _html(kept, None)


def _html(kept: str, own: str | None) -> str:
    return rawhtml.clean(rawhtml.balanced(kept, MAX_DEPTH), own=own)


def text(kept: str) -> str:
    """The text part of what `clean` made: at most 72 columns, links as [1] listed at the end."""
    return plaintext.write(blocks(html(kept)))


def opening(kept: str, *, limit: int = summary.LENGTH) -> str:
    """The first sentences of what `clean` made, in at most `limit` characters, as one line."""
    return plaintext.opening(blocks(html(kept)), limit=limit)


def of_plain(words: str) -> str:
    """Plain text as HTML: blank lines part paragraphs, line ends stay, addresses become links."""
    paragraphs = []
    for part in _BLANK_LINES.split(words.replace("\r\n", "\n").replace("\r", "\n").strip()):
        lines = [_linked(line.strip()) for line in part.strip().split("\n")]
        paragraphs.append(f"<p>{'<br>'.join(lines)}</p>" if any(lines) else "")
    return "\n".join(filter(None, paragraphs))


def _linked(line: str) -> str:
    parts: list[str] = []
    end = 0
    for found in _ADDRESS.finditer(line):
        parts.append(entities.escape(line[end : found.start()]))
        address = entities.escape(found[0])
        parts.append(f'<a href="{address}">{address}</a>')
        end = found.end()
    return "".join([*parts, entities.escape(line[end:])])
