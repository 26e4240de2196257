"""RSS 0.9 to 2.0 and Atom, with the modules in which feeds keep the good parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from newsletter.digests import rawhtml
from newsletter.digests.feeds import dates
from newsletter.digests.feeds.entry import Channel, Raw, Words, plain
from newsletter.digests.feeds.pictures import Picture
from newsletter.digests.feeds.tree import ENTRIES, Node
from newsletter.digests.reading import LONGEST, language_tag, pixels

_DATES = ("pubdate", "published", "dc:date", "dcterms:issued", "dcterms:created", "issued")
_LATER_DATES = ("updated", "dcterms:modified", "modified", "date")
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif")


def channel(root: Node, *, url: str) -> Channel:
    """What the feed below `root` says of itself. url: where it came from."""
    about = root.all("channel")[0] if root.all("channel") else root
    link = next(iter(_links(about)), "")
    return Channel(
        title=plain(_words(about.first("title")))[: LONGEST["site"]] or None,
        site_url=rawhtml.absolute(link, about.base or url, mail=False),
        language=language_tag(about.value("language", "dc:language") or about.language),
    )


def entries(root: Node) -> Iterator[Raw]:
    """The entries of the feed below `root`, in their order."""
    # RSS 0.9 and 1.0 have them beside the channel, all others in it.
    for parent in (root, *root.all("channel")):
        for node in parent.children:
            if node.name in ENTRIES:
                yield _entry(node)


def _entry(node: Node) -> Raw:
    full = [*node.all("content:encoded", "xhtml:body", "content")]
    short = [*node.all("description", "summary", "itunes:summary")]
    group = [*node.all("media:group"), node]
    told = [each for part in group for each in part.all("media:description")]
    bodies = [*full, *short] or told
    return Raw(
        guid=node.value("guid", "id") or node.get("rdf:about"),
        links=list(_links(node)),
        base=node.base,
        title=_words(node.first("title", "itunes:title", "dc:title", "media:title")),
        bodies=[_words(each) for each in bodies],
        summaries=[_words(each) for each in ([*short, *told] if full or told else short)],
        published=_published(node),
        authors=list(_authors(node)),
        tags=list(_tags(node)),
        pictures=list(_pictures(node)),
        language=next((each.language for each in full if each.language), node.language),
        site=plain(_words(source.first("title"))) if (source := _source(node)) else "",
    )


def _words(node: Node | None) -> Words:
    if node is None:
        return Words()
    kind = node.get("type").lower()
    if node.is_markup:
        known = "html"
    elif node.name in ("title", "summary", "content") and kind in ("text", "text/plain", "plain"):
        known = "text"
    else:
        known = "text" if kind == "plain" else ""
    return Words(node.text, known, node.base)


def _links(node: Node) -> Iterator[str]:
    """The addresses that an entry may have, the likeliest first."""
    yield from (each.text.strip() for each in node.all("feedburner:origlink"))
    links = node.all("link")
    yield from (each.text.strip() for each in links if each.text.strip())
    alternates = [each for each in links if each.get("rel").lower() in ("", "alternate")]
    alternates.sort(key=lambda each: each.get("type").lower() not in ("", "text/html"))
    yield from (each.get("href") for each in alternates if each.get("href"))
    if node.name in ENTRIES:
        for guid in node.all("guid"):
            if guid.get("ispermalink").lower() != "false" and "://" in guid.text:
                yield guid.text.strip()
        yield from filter(None, [node.get("rdf:about")])
        yield from (each.get("url") for each in node.all("enclosure"))


def _published(node: Node) -> datetime | None:
    for name in (*_DATES, *_LATER_DATES):
        for each in node.all(name):
            moment = dates.read(each.text)
            if moment is not None:
                return moment
    return None


def _authors(node: Node) -> Iterator[str]:
    for name in ("dc:creator", "author", "itunes:author"):
        found = [each.value("name") or each.text for each in node.all(name)]
        if any(text.strip() for text in found):
            yield from found
            return


def _source(node: Node) -> Node | None:
    """The feed that an entry was taken over from, if it says so (RFC 4287 §4.2.11)."""
    return next((each for each in node.all("source") if each.children), None)


def _tags(node: Node) -> Iterator[str]:
    for each in node.all("category", "dc:subject"):
        yield each.get("label") or each.get("term") or each.text
    for each in node.all("media:keywords", "itunes:keywords"):
        yield from each.text.split(",")


def _pictures(node: Node) -> Iterator[Picture]:
    groups = [node, *node.all("media:group")]
    offered = [each for group in groups for each in group.all("media:content")]
    images = [each for each in offered if _is_image(each.get("type"), each.get("medium"), each)]
    # Of one picture in several sizes, the largest.
    images.sort(key=lambda each: -(pixels(each.get("width")) or 0))
    for each in images:
        yield _picture(each, groups)
    for each in (*node.all("enclosure"), *node.all("link")):
        is_enclosure = each.name == "enclosure" or each.get("rel").lower() == "enclosure"
        if is_enclosure and _is_image(each.get("type"), "", each):
            yield Picture(url=each.get("url") or each.get("href"), credit=_credit(groups))
    for each in node.all("itunes:image"):
        yield Picture(url=each.get("href") or each.text.strip())
    thumbnails = [each for group in (*groups, *offered) for each in group.all("media:thumbnail")]
    thumbnails.sort(key=lambda each: -(pixels(each.get("width")) or 0))
    for each in thumbnails:
        yield _picture(each, groups)


def _is_image(kind: str, medium: str, node: Node) -> bool:
    if kind or medium:
        return kind.lower().startswith("image/") or (medium.lower() == "image" and "/" not in kind)
    address = node.get("url") or node.get("href")
    return address.lower().partition("?")[0].endswith(_PICTURE_ENDINGS)


def _picture(node: Node, groups: Iterable[Node]) -> Picture:
    alt = node.first("media:description", "media:title")
    return Picture(
        url=node.get("url"),
        width=pixels(node.get("width")),
        height=pixels(node.get("height")),
        alt=plain(_words(alt)),
        credit=_credit([node, *groups]),
    )


def _credit(places: Iterable[Node]) -> str:
    """Who made a picture: what stands nearest to it counts."""
    return next((text for each in places if (text := each.value("media:credit"))), "")
