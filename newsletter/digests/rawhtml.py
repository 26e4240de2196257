"""HTML inside Markdown, brought into a form that is cheap and safe to work on.

Only well-formed tags that an article may use survive, with the attributes that it may use and with
absolute addresses. The last word on safety is nh3's (see `clean`); what `tidy` adds is that nh3
never sees comments, foreign content or raw text elements, in which sanitisers have been outwitted,
and that the depth of nesting can be counted before nh3, which is quadratic in it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote, urljoin, urlsplit

import nh3

from newsletter.digests.limits import without_towers
from newsletter.digests.wordless import mended

# Headings start at h3: the letter's title is its h1, an article's title its h2.
HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}

EVERYWHERE = {"lang", "dir", "title"}
ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}
# Tags that stand on lines of their own: where they are, the text part starts a new paragraph.
BLOCKS = {
    *HEADINGS.values(),
    *("blockquote", "caption", "dd", "div", "dl", "dt", "figcaption", "figure", "hr", "li", "ol"),
    *("p", "pre", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
TAGS = {
    *ATTRIBUTES,
    *BLOCKS,
    *("abbr", "b", "br", "cite", "code", "del", "em", "i", "ins", "kbd", "mark", "q", "s", "samp"),
    *("small", "span", "strong", "sub", "sup", "u", "var"),
}
# The class of a list of tasks: each item has a box, and needs no bullet.
TASKS = "tasks"
# Attributes that may have these values alone.
VALUES: dict[str, dict[str, set[str]]] = {
    "ul": {"class": {TASKS}},
    "table": {"role": {"presentation"}},
}
SCHEMES = {"http", "https", "mailto", "tel"}
VOID = {"br", "hr", "img"}

_NUMERIC = {"width", "height", "colspan", "rowspan", "start"}
_NOT_THERE = str.maketrans("", "", "\t\r\n")
_LONGEST_ADDRESS = 2000  # bytes of UTF-8: a unique index of PostgreSQL takes 2,704
# A picture this small is there to be counted, not to be seen.
_TRACKING_SIZE = 3
# Where scripts that load pictures late keep the address.
_LATE = ("data-src", "data-lazy-src", "data-original")

# Two are enough for anything but a table in a table in a heading.
_MOST_PASSES = 6

# Elements whose content is not the article's text.
_RAW = (
    "script|style|template|noscript|noembed|noframes|iframe|object|svg|math|title|textarea|"
    "select|xmp|plaintext|head"
)
_RAW_NAMES = frozenset(_RAW.split("|"))
_RAW_OPEN = re.compile(rf"<({_RAW})\b", re.IGNORECASE)
_TAG = r"<(/?)([A-Za-z][A-Za-z0-9-]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>"
TAG = re.compile(_TAG)
# A tag, or what is neither tag nor text. Each alternative of that ends at the end of the text at
# the latest, so that one pass is enough.
_MARKUP = re.compile(
    rf"{_TAG}|<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)|<![A-Za-z].*?(?:>|\Z)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"([A-Za-z_:][A-Za-z0-9:._-]*)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+))?"
)


def absolute(address: str, base_url: str | None, *, mail: bool = True) -> str | None:
    """`address` as an absolute http, https or (when `mail`) mailto or tel address; None when it is
    none.

    base_url: what a relative address is relative to; None when nothing is known.
    """
    try:
        joined = _as_browsers_read(address)
        if base_url:
            joined = _as_browsers_read(urljoin(base_url, joined))
        parts = urlsplit(joined)
        host = parts.hostname
    except ValueError:
        return None
    if not joined.isprintable() or len(joined.encode()) > _LONGEST_ADDRESS:
        return None
    if parts.scheme in ("http", "https"):
        return joined if host and "%" not in host else None
    is_told = {"mailto": "@" in parts.path, "tel": any(c.isdecimal() for c in parts.path)}
    return joined if mail and is_told.get(parts.scheme) else None


def _as_browsers_read(address: str) -> str:
    """`address` with blanks and what is not seen encoded, and without what counts for nothing."""
    # WHATWG URL §4.4: blanks around it and line ends and tabs within are not there.
    tidy = address.strip().translate(_NOT_THERE)
    if tidy.isprintable() and " " not in tidy:
        return tidy
    return "".join(
        quote(c) if unicodedata.category(c) in ("Zs", "Zl", "Zp", "Cf") else c for c in tidy
    )


def opens_hidden(tag: str) -> str | None:
    """The name of the element that `tag` begins, if its content is not text; else None."""
    found = _RAW_OPEN.match(tag)
    return found[1].lower() if found else None


def tidy(markup: str, base_url: str | None) -> str:
    """`markup` with only the tags and attributes that an article may use, all well-formed."""
    parts: list[str] = []
    place = 0
    while found := _MARKUP.search(markup, place):
        parts.append(markup[place : found.start()].replace("<", "&lt;"))
        place = found.end()
        name = (found[2] or "").lower()
        if name in _RAW_NAMES:
            place = place if found[1] else _after_raw(markup, place, name)
        elif name:
            parts.append(_tag(found, base_url))
    parts.append(markup[place:].replace("<", "&lt;"))
    return "".join(parts)


def _after_raw(markup: str, start: int, name: str) -> int:
    """Where the element whose content is not text, and begins at `start`, is over."""
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(markup, start)
    end = markup.find(">", found.end()) if found else -1
    return len(markup) if end < 0 else end + 1


def _tag(found: re.Match[str], base_url: str | None) -> str:
    closing, name = found[1], found[2].lower()
    name = HEADINGS.get(name, name)
    if name not in TAGS or (closing and name in VOID):
        return _box_of(found[3]) if name == "input" else ""
    if closing:
        return f"</{name}>"
    if not found[3] and name != "img":
        return f"<{name}>"
    given = attributes(found[3])
    if name == "img":
        if _is_tracker(given):
            return ""
        given = _shown(given, base_url)
    kept = {
        key: value
        for key, text in given.items()
        if key in EVERYWHERE | ATTRIBUTES.get(name, set())
        and (value := _value(key, text, base_url)) is not None
    }
    if name == "img" and "src" not in kept:
        return ""
    if name == "ul" and "task" in given.get("class", ""):  # GitHub, GitLab, Gitea, Pandoc
        kept["class"] = TASKS
    if name == "table" and given.get("role", "").strip().lower() in ("presentation", "none"):
        kept["role"] = "presentation"
    written = "".join(f' {key}="{html.escape(value)}"' for key, value in kept.items())
    return f"<{name}{written}>"


def box(is_done: bool) -> str:
    """The sign before a task."""
    return "☑" if is_done else "☐"


def _box_of(text: str) -> str:
    """What a box to tick becomes, which no letter can have; other fields become nothing."""
    given = attributes(text)
    return f"{box('checked' in given)} " if given.get("type", "").lower() == "checkbox" else ""


def _is_tracker(image: dict[str, str]) -> bool:
    sizes = [image.get(side, "").strip().removesuffix("px") for side in ("width", "height")]
    return any(
        size.isascii() and size.isdigit() and int(size[:9]) <= _TRACKING_SIZE for size in sizes
    )


def _shown(image: dict[str, str], base_url: str | None) -> dict[str, str]:
    """The attributes of a picture with the address that a reader's browser would end up at."""
    if _value("src", image.get("src", ""), base_url):
        return image
    first = image.get("srcset", image.get("data-srcset", "")).split(",")[0].split()
    for address in (*(image.get(name, "") for name in _LATE), *first[:1]):
        if _value("src", address, base_url):
            return {**image, "src": address}
    return image


def attributes(text: str) -> dict[str, str]:
    """The attributes in `text` (what stands in a tag after its name), decoded; the first counts."""
    values: dict[str, str] = {}
    for found in _ATTRIBUTE.finditer(text):
        value = found[2] or ""
        if value[:1] in ("'", '"'):
            value = value[1:-1]
        values.setdefault(found[1].lower(), html.unescape(value))
    return values


def _value(key: str, text: str, base_url: str | None) -> str | None:
    if key in ("href", "src") and not text.strip():
        return None  # it would be the page itself
    if key == "href":
        return absolute(text, base_url)
    if key == "src":
        return absolute(text, base_url, mail=False)
    if key in _NUMERIC:
        return text if text.isascii() and text.isdigit() and len(text) <= 4 else None
    return text


def depth(markup: str) -> int:
    """An upper bound for how deep a browser would nest the elements of tidy `markup`.

    An end tag counts only when it closes the innermost element: what is closed out of order may
    be reopened by a browser again and again, and that is just what makes deep trees.
    """
    deepest = 0
    open_tags: list[str] = []
    for closing, name in ((found[1], found[2]) for found in TAG.finditer(markup)):
        if name in VOID:
            continue
        if not closing:
            open_tags.append(name)
            deepest = max(deepest, len(open_tags))
        elif open_tags and open_tags[-1] == name:
            open_tags.pop()
    return deepest


def balanced(markup: str, deepest: int) -> str:
    """Tidy `markup` with every element closed in its turn, and none deeper than `deepest`.

    What is deeper loses its tags and keeps its words. What is closed without having been opened is
    dropped, what is not closed is closed with the element around it.
    """
    parts: list[str] = []
    open_tags: list[str] = []
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    end = 0
    for found in TAG.finditer(markup):
        parts.append(markup[end : found.start()])
        end = found.end()
        name = found[2]
        if name in VOID:
            parts.append(found[0])
        elif not found[1] and len(open_tags) < deepest:
            open_tags.append(name)
            counts[name] += 1
            parts.append(found[0])
        elif not found[1]:
            skipped[name] += 1
        elif skipped[name]:
            skipped[name] -= 1
        elif counts[name]:
            while (inner := open_tags.pop()) != name:
                counts[inner] -= 1
                parts.append(f"</{inner}>")
            counts[name] -= 1
            parts.append(found[0])
    parts.append(markup[end:])
    parts.extend(f"</{name}>" for name in reversed(open_tags))
    return "".join(parts)


def clean(markup: str, *, own: str | None = None) -> str:
    """Tidy `markup` (not too deep) made safe: to be put into a page or a letter as it is.

    own: the address of the article that it is of; None when nobody knows.

    A browser that reads what a sanitiser wrote may build another tree than the sanitiser had: it
    moves what stands wrongly in a table. So it is cleaned until reading it again changes nothing.
    Links, pictures and tables are mended as `wordless` says.
    """
    for _ in range(_MOST_PASSES):
        cleaned = nh3.clean(
            markup,
            tags=TAGS,
            attributes={"*": EVERYWHERE, **ATTRIBUTES},
            url_schemes=SCHEMES,
            url_relative="deny",
            link_rel=None,
            tag_attribute_values=VALUES,
        )
        if cleaned == markup:
            return mended(without_towers(cleaned), own=own)
        markup = cleaned
    return f"<p>{html.escape(words(markup))}</p>"


def words(markup: str) -> str:
    """The words of any `markup` in one line, without what is not text in it."""
    parts: list[str] = []
    for kind, value, _ in split(tidy(markup, None)):
        if kind == "text":
            parts.append(value)
        elif value in BLOCKS or value == "br":
            parts.append(" ")
    return " ".join("".join(parts).split())


def split(markup: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Tidy `markup` as it is read: ("text", words, {}), ("open" or "close", tag, attributes)."""
    end = 0
    for found in TAG.finditer(markup):
        if found.start() > end:
            yield "text", html.unescape(markup[end : found.start()]), {}
        yield "close" if found[1] else "open", found[2], attributes(found[3])
        end = found.end()
    if end < len(markup):
        yield "text", html.unescape(markup[end:]), {}
