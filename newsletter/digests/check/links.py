"""Where links lead: to a whole address of the web, that readers can reach and that is there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urldefrag, urlsplit

from newsletter.digests.check.built import Built, Facts
from newsletter.digests.check.document import Document, Element
from newsletter.digests.check.finding import Finding, error, warning

_WHOLE = "Write the whole address, from https:// on."
EMPTY = error("link-empty", "A link leads nowhere.", "Give it an address, or take it away.")
RELATIVE = error("link-relative", "A link is not absolute: in a mail it leads nowhere.", _WHOLE)
SCHEME = error(
    "link-scheme",
    "A link is neither to the web, nor a mail address, nor a telephone number.",
    "Only https:, http:, mailto: and tel: work in mail programs; the rest is taken for an attack.",
)
BROKEN = error("link-broken", "A link's address cannot be one.", _WHOLE)
ANCHOR = warning(
    "link-anchor", "A link leads to a place in the letter that there is not.", "Mend the name."
)
LOCAL = warning(
    "link-local",
    "Links lead to an address that only this machine or network can reach.",
    "Set base_url to the public address of the service, before you send.",
)
DEAD = error("link-dead", "A link is dead.", "Mend its address in the article.")
FAILING = warning(
    "link-failing", "A link did not answer well just now.", "Look whether it does later."
)
RULES = (EMPTY, RELATIVE, SCHEME, BROKEN, ANCHOR, LOCAL, DEAD, FAILING)

_SCHEMES = {"http", "https", "mailto", "tel"}
_WEB = {"http", "https"}
_GONE = {404, 410}
# Servers say this to a program and not to a reader; nothing follows from it.
_REFUSED = {401, 403, 405, 406, 407, 429, 451, 999}
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".test", ".invalid")


@dataclass(frozen=True)
class Answer:
    """What an address said. status: of HTTP; None when there was no answer, and `problem` says
    why. is_gone: there is no such host.
    """

    status: int | None
    problem: str = ""
    is_gone: bool = False


def check(built: Built) -> Iterator[Finding]:
    """Every link of the HTML part, as it stands there."""
    document = built.document
    names = {each.attributes.get("id") for each in document.elements}
    names |= {each.attributes.get("name") for each in document.all("a")}
    local: list[Element] = []
    for link in document.all("a", "area"):
        address = link.attributes.get("href")
        if address is None:
            if "name" not in link.attributes and "id" not in link.attributes and link.words:
                yield Finding(EMPTY, document.at(link))
            continue
        yield from _address(document, link, address.strip(), names)
        if _is_local(address):
            local.append(link)
    if local:
        times = f"There are {len(local)} of them." if len(local) > 1 else ""
        yield Finding(LOCAL, document.at(local[0]), times)


def web_addresses(built: Built, facts: Facts) -> list[str]:
    """The addresses of links and pictures that can be asked for, each once, in their order.

    Those of the service itself are left out: the archive shows a digest only when it was sent.
    """
    found = (address for _, address in _web(built.document))
    own = facts.base_url
    return list(
        dict.fromkeys(a for a in found if a != own and not a.startswith((f"{own}/", f"{own}?")))
    )


def check_answers(built: Built, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """What the web said of these addresses.

    answers: by address, as `web_addresses` gives them.
    """
    seen: set[str] = set()
    for element, address in _web(built.document):
        answer = answers.get(address)
        if answer is None or address in seen:
            continue
        seen.add(address)
        status = answer.status
        place = built.document.at(element, address)
        if answer.is_gone or status in _GONE:
            yield Finding(DEAD, place, answer.problem or f"It answers {status}.")
        elif status is None:
            yield Finding(FAILING, place, answer.problem)
        elif status >= 400 and status not in _REFUSED:
            yield Finding(FAILING, place, f"It answers {status}.")


def is_local(address: str) -> bool:
    """Whether the host of a web address is this machine, or of a network that is not public."""
    return _is_local(address)


def _web(document: Document) -> Iterator[tuple[Element, str]]:
    """Links and pictures of the web, without their fragments."""
    for element in document.all("a", "area", "img"):
        key = "src" if element.name == "img" else "href"
        address = urldefrag(element.attributes.get(key, "").strip()).url
        if _scheme(address) in _WEB:
            yield element, address


def _address(
    document: Document, link: Element, address: str, names: set[str | None]
) -> Iterator[Finding]:
    if not address or address == "#":
        yield Finding(EMPTY, document.at(link))
        return
    if address.startswith("#"):
        if unquote(address[1:]) not in names:
            yield Finding(ANCHOR, document.at(link))
        return
    scheme = _scheme(address)
    if not scheme:
        yield Finding(RELATIVE, document.at(link))
    elif scheme not in _SCHEMES:
        yield Finding(SCHEME, document.at(link), f"It is {scheme[:40]}:")
    elif scheme in _WEB and (not _host(address) or any(c.isspace() for c in address)):
        yield Finding(BROKEN, document.at(link))


def _scheme(address: str) -> str:
    # As browsers read it: they drop control characters before and line ends within.
    tidy = "".join(c for c in address if c > " ")
    name, colon, _ = tidy.partition(":")
    is_one = bool(colon) and name[:1].isalpha() and all(c.isalnum() or c in "+-." for c in name)
    return name.lower() if is_one and name.isascii() else ""


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_local(address: str) -> bool:
    host = _host(address) if _scheme(address) in _WEB else ""
    if not host:
        return False
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(_LOCAL_NAMES)
