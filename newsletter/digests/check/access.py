"""What people need who do not see the letter, or not all of it: names, roles, words for pictures.

WCAG 2.2 as far as it holds for letters: 1.1.1 alt, 1.3.1 roles and headings, 2.4.2 title, 2.4.4
words of links, 3.1.1 language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.digests.check import styles
from newsletter.digests.check.built import Built, Facts
from newsletter.digests.check.document import Document, Element
from newsletter.digests.check.finding import Finding, Part, Place, error, warning
from newsletter.digests.wordless import is_seen
from newsletter.i18n import is_right_to_left

_SMALLEST = 14  # CSS pixels

LANG = error(
    "lang-missing",
    "The letter does not say its language, so it is read out in a wrong one.",
    'Begin it with <html lang="{{ lang }}" dir="{{ dir }}">.',
)
DIRECTION = error(
    "direction-wrong",
    "The letter's direction is not that of its language.",
    'Begin it with <html lang="{{ lang }}" dir="{{ dir }}">.',
)
TITLE = error(
    "title-missing",
    "The letter has no title.",
    "Put <title>{{ digest.subject }}</title> into its head.",
)
ALT = error(
    "alt-missing",
    "A picture has no alternative text.",
    'Give it alt="what it shows"; alt="" if it is an ornament.',
)
ALT_NAME = warning(
    "alt-file-name",
    "A picture's alternative text is the name of a file.",
    "Say what the picture shows.",
)
TABLE = error(
    "table-role",
    "A table that is there for the layout is read out as a table.",
    'Give it role="presentation", each one within another too.',
)
TABLE_HEAD = warning(
    "table-head",
    "A table has neither a head nor the role of a layout table.",
    'Write its head with <th>; or give it role="presentation".',
)
HEADING = warning(
    "heading-missing", "The letter has no <h1>.", "Make its subject an <h1>, articles an <h2>."
)
LINK = error(
    "link-without-words",
    "A link has no words: nobody can tell where it leads.",
    "Write words into it, or an alt for the picture in it.",
)
SIGNS = warning(
    "link-signs",
    "A link's words are nothing but signs, which are not read out, or say little.",
    "Link words that name the thing.",
)
VAGUE = warning(
    "link-vague",
    "A link's words say nothing of where it leads.",
    "Link the words that name the thing.",
)
SMALL = warning(
    "text-small", f"Text is smaller than {_SMALLEST} px.", f"Make it {_SMALLEST} px or larger."
)
RULES = (
    *(LANG, DIRECTION, TITLE, ALT, ALT_NAME, TABLE, TABLE_HEAD, HEADING),
    *(LINK, SIGNS, VAGUE, SMALL),
)

_LAYOUT_ROLES = {"presentation", "none"}
_FILE_NAME = re.compile(r"(?:[\w-]+/)*[\w-]+\.(?:jpe?g|png|gif|webp|svg|avif|heic)", re.IGNORECASE)
_CAMERA_NAME = re.compile(r"(?:IMG|DSC|PXL|DSCN|Screenshot)[_ -]?\d[\w -]*", re.IGNORECASE)
_TABLE_TAG = re.compile(r"<table\b([^>]*)>", re.IGNORECASE)
_IS_LAYOUT = re.compile(r"\brole\s*=\s*[\"']?(?:presentation|none)\b", re.IGNORECASE)
_VAGUE = frozenset(
    """
    here|click here|click|link|this link|more
    hier|hier klicken|klicken|klick|mehr
    ici|cliquez ici|cliquer ici|lien|plus
    aquí|haz clic aquí|clic aquí|enlace|más
    """.replace("\n", "|")
    .replace("    ", "")
    .split("|")
) - {""}


def check(built: Built, facts: Facts) -> Iterator[Finding]:
    """What is missing for readers who listen to a letter, or enlarge it."""
    document = built.document
    yield from _head(document, facts)
    for picture in document.all("img"):
        yield from _picture(document, picture)
    for table in document.all("table"):
        yield from _table(document, table)
    for line, markup in document.conditionals:
        yield from _outlook_tables(line, markup)
    for link in document.all("a"):
        yield from _link(document, link)
    yield from _small(document)


def _head(document: Document, facts: Facts) -> Iterator[Finding]:
    page = next(document.all("html"), document.root)
    language = page.attributes.get("lang", "").strip()
    if not language:
        yield Finding(LANG, document.at(page))
    wanted = "rtl" if is_right_to_left(language or facts.language) else "ltr"
    if page.attributes.get("dir", "ltr").lower() != wanted:
        yield Finding(DIRECTION, document.at(page), f'It should be dir="{wanted}".')
    title = next(document.all("title"), None)
    if title is None or not "".join(c for c in title.children if isinstance(c, str)).strip():
        yield Finding(TITLE, Place(Part.HTML, 1))
    if not any(True for _ in document.all("h1")):
        yield Finding(HEADING, Place(Part.HTML, 1))


def _picture(document: Document, picture: Element) -> Iterator[Finding]:
    alt = picture.attributes.get("alt")
    if alt is None:
        yield Finding(ALT, document.at(picture))
    elif _FILE_NAME.fullmatch(alt.strip()) or _CAMERA_NAME.fullmatch(alt.strip()):
        yield Finding(ALT_NAME, document.at(picture))


def _table(document: Document, table: Element) -> Iterator[Finding]:
    if table.attributes.get("role", "").lower() in _LAYOUT_ROLES:
        return
    inside = list(table.walk())[1:]
    if any(each.name == "table" for each in inside) or "cellpadding" in table.attributes:
        yield Finding(TABLE, document.at(table))
    elif not any(each.name == "th" for each in inside):
        yield Finding(TABLE_HEAD, document.at(table))


def _outlook_tables(line: int, markup: str) -> Iterator[Finding]:
    for found in _TABLE_TAG.finditer(markup):
        if not _IS_LAYOUT.search(found[1]):
            at = line + markup.count("\n", 0, found.start())
            yield Finding(TABLE, Place(Part.HTML, at, found[0]), "It is for Outlook alone.")


def _link(document: Document, link: Element) -> Iterator[Finding]:
    if "href" not in link.attributes or link.is_within(frozenset({"head"})):
        return
    pictures = " ".join(
        each.attributes.get("alt", "") for each in link.walk() if each.name == "img"
    )
    told = f"{link.words} {pictures} {link.attributes.get('aria-label', '')}".strip()
    if not is_seen(told):
        yield Finding(LINK, document.at(link))
    elif not any(c.isalnum() for c in told):
        yield Finding(SIGNS, document.at(link, told))
    elif told.strip(" .!…→←»«>").casefold() in _VAGUE:
        yield Finding(VAGUE, document.at(link, told))


def _small(document: Document) -> Iterator[Finding]:
    """Text whose own element, or the nearest that says a size, says a small one."""
    seen: set[int] = set()
    for element, text in document.body.texts():
        if not any(c.isalnum() for c in text):
            continue
        holder = next((e for e in (element, *element.ancestors()) if _size(e) is not None), None)
        size = _size(holder) if holder is not None else None
        if holder is not None and size is not None and size < _SMALLEST and id(holder) not in seen:
            seen.add(id(holder))
            is_raised = holder.is_within(frozenset({"sup", "sub"}))
            if not is_raised:
                yield Finding(SMALL, document.at(holder, text), f"It has {size:g} px.")


def _size(element: Element) -> float | None:
    """The font size that the element's style says in pixels; None when it says none."""
    style = element.attributes.get("style", "")
    said = styles.values(style).get("font-size") if "font-size" in style else None
    return styles.pixels(said) if said is not None else None
