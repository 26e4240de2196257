"""The fields of the mail: all that a bulk mail needs, each once (RFC 5322, 2919, 2369, 8058)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from newsletter.digests.check import links
from newsletter.digests.check.built import Built
from newsletter.digests.check.finding import Finding, Part, Place, error, warning

_BASE_URL = "Set base_url to the public address of the service, with https://."
MISSING = error(
    "header-missing", "The mail lacks a header.", "See the publication: newsletter publication show"
)
TWICE = error("header-twice", "The mail has a header twice.", "Have the relay add none of its own.")
UNSUBSCRIBE = error(
    "unsubscribe-header",
    "The header List-Unsubscribe names no web address to leave at.",
    _BASE_URL,
)
ONE_CLICK = error(
    "unsubscribe-one-click",
    "The header List-Unsubscribe-Post is not the one of RFC 8058: Gmail and Yahoo want it.",
    "Have the relay leave it as it is.",
)
NOT_HTTPS = error(
    "unsubscribe-not-https",
    "One-click unsubscribing needs an https:// address (RFC 8058), and this one is not.",
    _BASE_URL,
)
LANGUAGE = warning(
    "language-differs",
    "The header Content-Language and the letter's own language are not the same.",
    "See the publication's language, and the <html lang> of the template.",
)
SENDER = warning(
    "from-bare", "The sender has no name.", 'newsletter publication edit SLUG --from "Name <...>"'
)
RULES = (MISSING, TWICE, UNSUBSCRIBE, ONE_CLICK, NOT_HTTPS, LANGUAGE, SENDER)

_NEEDED = (
    *("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
)
_ONE_CLICK = "List-Unsubscribe=One-Click"


def check(built: Built) -> Iterator[Finding]:
    """What is missing, twice, or not as it must be."""
    count = Counter(name.lower() for name, _ in built.headers)
    for name in _NEEDED:
        if not built.header(name):
            yield Finding(MISSING, Place(Part.HEADERS, None, name), f"It is {name}.")
        if count[name.lower()] > 1:
            yield Finding(TWICE, Place(Part.HEADERS, None, name), f"It is {name}.")
    yield from _unsubscribe(built)
    sender = built.header("From")
    if sender and "<" not in sender:
        yield Finding(SENDER, Place(Part.HEADERS, None, f"From: {sender}"))
    language = built.header("Content-Language")
    page = next(built.document.all("html"), built.document.root)
    told = page.attributes.get("lang", "")
    if language and told and language.lower() != told.lower():
        place = Place(Part.HEADERS, None, f"Content-Language: {language}")
        yield Finding(LANGUAGE, place, f"The letter's is {told}.")


def _unsubscribe(built: Built) -> Iterator[Finding]:
    value = built.header("List-Unsubscribe")
    if not value:
        return
    place = Place(Part.HEADERS, None, f"List-Unsubscribe: {value}")
    url = built.unsubscribe_url
    if not url:
        yield Finding(UNSUBSCRIBE, place)
    # On one's own machine there is no TLS; that it is only there is said of its links.
    elif not url.startswith("https://") and not links.is_local(url):
        yield Finding(NOT_HTTPS, place)
    post = built.header("List-Unsubscribe-Post")
    if post and post != _ONE_CLICK:
        yield Finding(ONE_CLICK, Place(Part.HEADERS, None, f"List-Unsubscribe-Post: {post}"))
