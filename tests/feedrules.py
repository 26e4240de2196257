"""What makes a feed valid: the rules of RFC 4287 for Atom, and a schema for JSON Feed 1.1.

Stricter than both: a feed of ours has nothing that the specification does not name, and all its
addresses are absolute.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

ATOM = "{http://www.w3.org/2005/Atom}"
XML = "{http://www.w3.org/XML/1998/namespace}"

# Element -> how often it may stand there: least, most (None: any number). RFC 4287 §4.1.1, §4.1.2.
_FEED = {
    "id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (0, None), "category": (0, None),
    "contributor": (0, None), "generator": (0, 1), "icon": (0, 1), "link": (0, None),
    "logo": (0, 1), "rights": (0, 1), "subtitle": (0, 1), "entry": (0, None),
}  # fmt: skip
_ENTRY = {
    "id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (0, None), "category": (0, None),
    "content": (0, 1), "contributor": (0, None), "link": (0, None), "published": (0, 1),
    "rights": (0, 1), "source": (0, 1), "summary": (0, 1),
}  # fmt: skip
_PERSON = {"name": (1, 1), "uri": (0, 1), "email": (0, 1)}
_ATTRIBUTES = {
    "link": {"href", "rel", "type", "hreflang", "title", "length"},
    "category": {"term", "scheme", "label"},
    "content": {"type", "src"},
    "title": {"type"}, "subtitle": {"type"}, "summary": {"type"}, "rights": {"type"},
    "generator": {"uri", "version"},
}  # fmt: skip
_TEXTS = ("title", "subtitle", "summary", "rights")
# RFC 3339 with a capital T and Z (RFC 4287 §3.3).
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
# BCP 47, as far as a newsletter needs it.
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def atom_faults(document: bytes) -> list[str]:
    """What is wrong with an Atom feed; nothing when it is valid."""
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        return ["a document type, which feed readers refuse"]
    try:
        root = ET.fromstring(document)
    except ET.ParseError as error:
        return [f"not well-formed: {error}"]
    if root.tag != f"{ATOM}feed":
        return [f"the root is {root.tag}"]
    return list(_feed_faults(root))


def _feed_faults(root: ET.Element) -> Iterator[str]:
    yield from _children(root, _FEED)
    yield from _common(root)
    entries = root.findall(f"{ATOM}entry")
    if root.find(f"{ATOM}author") is None and any(
        entry.find(f"{ATOM}author") is None for entry in entries
    ):
        yield "§4.1.1: neither the feed nor each entry has an author"
    if not any(link.get("rel") == "self" for link in root.findall(f"{ATOM}link")):
        yield "§4.1.1: no link to itself"
    for entry in entries:
        yield from _entry_faults(entry)
    names = Counter((entry.findtext(f"{ATOM}id"), entry.findtext(f"{ATOM}updated"))
                    for entry in entries)  # fmt: skip
    if any(count > 1 for count in names.values()):
        yield "§4.1.1: two entries are one"


def _entry_faults(entry: ET.Element) -> Iterator[str]:
    yield from _children(entry, _ENTRY)
    yield from _common(entry)
    content = entry.find(f"{ATOM}content")
    if content is None:
        if not any(_rel(link) == "alternate" for link in entry.findall(f"{ATOM}link")):
            yield "§4.1.2: neither content nor a link to it"
        return
    if content.get("type") != "html":
        yield f"content of type {content.get('type')}"
    if len(content):
        yield "§4.1.3.3: HTML is escaped, and has no child elements"
    if "src" in content.attrib:
        yield "§4.1.3.2: content elsewhere needs a summary"
    yield from html_faults(content.text or "")


def _common(element: ET.Element) -> Iterator[str]:
    """What holds for a feed and for an entry."""
    for child in element:
        name = child.tag.removeprefix(ATOM)
        allowed = _ATTRIBUTES.get(name, set()) | {f"{XML}lang"}
        if unknown := set(child.attrib) - allowed:
            yield f"{name} has {unknown}"
        if name == "id" and not _is_absolute(child.text):
            yield f"§4.2.6: the id {child.text!r}"
        if name in ("updated", "published") and not _is_moment(child.text):
            yield f"§3.3: {name} is {child.text!r}"
        if name in _TEXTS and (child.get("type", "text") != "text" or len(child)):
            yield f"§3.1: {name} is no plain text"
        if name in ("logo", "icon") and not _is_absolute(child.text):
            yield f"{name} is {child.text!r}"
        if name in ("author", "contributor"):
            yield from _children(child, _PERSON)
        if name in ("author", "contributor") and not child.findtext(f"{ATOM}name"):
            yield f"§3.2.1: {name} without a name"
        if name == "category" and not child.get("term"):
            yield "§4.2.2: a category without a term"
        if name == "link":
            yield from _link_faults(child)
    if (language := element.get(f"{XML}lang")) and not _LANGUAGE.fullmatch(language):
        yield f"xml:lang is {language!r}"
    kinds = Counter(
        (link.get("type"), link.get("hreflang"))
        for link in element.findall(f"{ATOM}link")
        if _rel(link) == "alternate"
    )
    if any(count > 1 for count in kinds.values()):
        yield "§4.1.1: two alternates of one kind"


def _link_faults(link: ET.Element) -> Iterator[str]:
    if not _is_absolute(link.get("href")):
        yield f"§4.2.7.1: a link to {link.get('href')!r}"
    if (kind := link.get("type")) is not None and not _MEDIA_TYPE.fullmatch(kind):
        yield f"§4.2.7.3: a link of type {kind!r}"
    if len(link) or (link.text or "").strip():
        yield "§4.2.7: a link with content"


def _children(element: ET.Element, allowed: dict[str, tuple[int, int | None]]) -> Iterator[str]:
    here = element.tag.removeprefix(ATOM)
    counts = Counter(child.tag for child in element)
    for tag in counts:
        if tag.removeprefix(ATOM) not in allowed or not tag.startswith(ATOM):
            yield f"{here} has {tag}"
    for name, (least, most) in allowed.items():
        count = counts[ATOM + name]
        if count < least or (most is not None and count > most):
            yield f"{here} has {count} {name}"
    if (element.text or "").strip() and len(element):
        yield f"{here} has text"


def _rel(link: ET.Element) -> str:
    return link.get("rel", "alternate")


def _is_absolute(address: str | None) -> bool:
    if not address or address != address.strip() or re.search(r"[\s<>\"{}|\\^`]", address):
        return False
    parts = urlsplit(address)
    return bool(parts.scheme and (parts.netloc or parts.scheme == "urn"))


def _is_moment(text: str | None) -> bool:
    if not _MOMENT.fullmatch(text or ""):
        return False
    try:
        datetime.fromisoformat(text or "")
    except ValueError:
        return False
    return True


class _Html(HTMLParser):
    """Finds what must not stand in an entry: it is shown on whatever page a reader shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "iframe", "object", "embed", "form", "base", "link", "meta"):
            self.faults.append(f"<{tag}> in an entry")
        for name, value in attrs:
            # The W3C's validator takes this style for harmless.
            if name == "style" and re.fullmatch("text-align: (left|center|right)", value or ""):
                continue
            if name.startswith("on") or name in ("style", "srcdoc", "class", "id", "align"):
                self.faults.append(f"{name} in an entry")
            if name in ("href", "src"):
                scheme = urlsplit((value or "").strip()).scheme
                if scheme not in ("http", "https", *(["mailto"] if name == "href" else [])):
                    self.faults.append(f"{name} to {value!r}")


def html_faults(markup: str) -> list[str]:
    """What is wrong with the HTML of an entry."""
    parser = _Html()
    parser.feed(markup)
    parser.close()
    return parser.faults


_URL = {"type": "string", "pattern": r"^https?://[^\s<>\"]+$"}
_TEXT = {"type": "string", "minLength": 1}
_TAG = {"type": "string", "pattern": rf"^{_LANGUAGE.pattern}$"}
_AUTHORS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {"name": _TEXT, "url": _URL, "avatar": _URL},
    },
}
# jsonfeed.org/version/1.1: what must be there, what may be there, and of what kind it is.
JSON_FEED: dict[str, Any] = {
    "type": "object",
    "required": ["version", "title", "items"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "https://jsonfeed.org/version/1.1"},
        "title": _TEXT,
        "home_page_url": _URL,
        "feed_url": _URL,
        "description": _TEXT,
        "user_comment": _TEXT,
        "next_url": _URL,
        "icon": _URL,
        "favicon": _URL,
        "authors": _AUTHORS,
        "language": _TAG,
        "expired": {"type": "boolean"},
        "hubs": {"type": "array"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id"],
                "anyOf": [{"required": ["content_html"]}, {"required": ["content_text"]}],
                "additionalProperties": False,
                "properties": {
                    "id": _TEXT,
                    "url": _URL,
                    "external_url": _URL,
                    "title": _TEXT,
                    "content_html": {"type": "string"},
                    "content_text": {"type": "string"},
                    "summary": _TEXT,
                    "image": _URL,
                    "banner_image": _URL,
                    "date_published": {"type": "string", "pattern": f"^{_MOMENT.pattern}$"},
                    "date_modified": {"type": "string", "pattern": f"^{_MOMENT.pattern}$"},
                    "authors": _AUTHORS,
                    "tags": {"type": "array", "items": _TEXT, "uniqueItems": True},
                    "language": _TAG,
                },
            },
        },
    },
}
