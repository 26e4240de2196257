"""A feed in Atom: RFC 4287, with nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from newsletter.web.entries import Entry, Feed

_NAMESPACE = "http://www.w3.org/2005/Atom"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# XML 1.0 §2.2: what cannot stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(feed: Feed, entries: Sequence[Entry]) -> bytes:
    """The document, in UTF-8."""
    root = ET.Element("feed", {"xmlns": _NAMESPACE, _LANG: _tag(feed.language)})
    _add(root, "id", feed.id)
    _add(root, "title", feed.title)
    if feed.description:
        _add(root, "subtitle", feed.description)
    _add(root, "updated", _moment(feed.updated_at))
    _add(root, "link", rel="self", type="application/atom+xml", href=feed.feed_url)
    _add(root, "link", rel="alternate", type="text/html", href=feed.home_url)
    author = _add(root, "author")
    _add(author, "name", feed.author)
    _add(author, "uri", feed.home_url)
    if feed.logo_url:
        _add(root, "logo", feed.logo_url)
    _add(root, "generator", "newsletter")
    for entry in entries:
        _entry(root, entry)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _entry(root: ET.Element, entry: Entry) -> None:
    element = _add(root, "entry")
    element.set(_LANG, _tag(entry.language))
    _add(element, "id", entry.id)
    _add(element, "title", entry.title)
    _add(element, "link", rel="alternate", type="text/html", href=entry.url)
    _add(element, "published", _moment(entry.published_at))
    _add(element, "updated", _moment(entry.published_at))
    for tag in entry.tags:
        _add(element, "category", term=tag)
    if entry.summary:
        _add(element, "summary", entry.summary)
    _add(element, "content", entry.html, type="html")


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(
        parent, name, {key: _NOT_XML.sub("", value) for key, value in attributes.items()}
    )
    element.text = None if text is None else _NOT_XML.sub("", text)
    return element


def _moment(moment: datetime) -> str:
    """RFC 4287 §3.3: an RFC 3339 date-time, in capitals."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tag(language: str) -> str:
    return language.replace("_", "-")
