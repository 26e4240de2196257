"""Feeds that mean harm become nothing worse than articles, and cost little."""

from __future__ import annotations

import json
import time
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests import rawhtml
from newsletter.digests.feeds import document
from newsletter.errors import BadInput

URL = "https://feed.example/dir/feed.xml"


def read(body: bytes, max_entries: int = 100) -> document.Reading:
    return document.read(body, "", url=URL, max_entries=max_entries)


def rss(items: str) -> str:
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{items}</channel></rss>'


def bomb() -> str:
    levels = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    declared = f'<!DOCTYPE rss [<!ENTITY a0 "lol">{"".join(levels)}]>'
    return f"{declared}<rss><item><title>&a11;</title></item></rss>"


ITEM = "<item><title>a</title><link>https://a.example/{}</link></item>"
BIG = 2_000_000
NAME = "a" * 190
NUMBERS = "1 " * 2000
HOSTILE: dict[str, str] = {
    "entities in entities": bomb(),
    "an entity that is a file": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item>'
    "<title>&x;</title></item></rss>",
    "fifty thousand entries": rss("".join(ITEM.format(n) for n in range(50_000))),
    "deep": rss("<a>" * 300_000),
    "deep in a text": rss(
        "".join(
            f"<item><title>x</title><description>{escape('<div>' * 5000)}</description></item>"
            for _ in range(40)
        )
    ),
    "an author of 200 KB": rss(f"<item><author>{'a.' * 100_000}@b</author></item>"),
    "many authors": rss(
        f"<item>{f'<author>{NAME}@</author>' * 40}</item>" * 500
    ),
    "many categories": rss(f"<item>{'<category>x</category>' * 200_000}</item>"),
    "a title of 2 MB": rss(f"<item><title>{'x' * BIG}</title></item>"),
    "formatting in a title": rss(f"<item><title>{'&lt;b&gt;' * 200_000}</title></item>"),
    "a text of 2 MB": rss(f"<item><title>x</title><description>{'word ' * 400_000}"),
    "dates": rss(f"<item><title>x</title>{f'<pubDate>{NUMBERS}</pubDate>' * 1000}</item>"),
    "prefixes": rss("".join(f'<a xmlns:p{n}="u{n}">' for n in range(100_000))),
    "json of one level too many": '{"items": [' + "[" * 200_000,
    "json of 50,000": json.dumps(
        {"items": [{"id": n, "content_html": "<div>" * 30} for n in range(50_000)]}
    ),
    **{
        f"many {piece}": (rss("")[:-20] + piece * (BIG // len(piece)))[:BIG]
        for piece in ("<", "<a ", "<!--", "<![CDATA[", "&a;", '<a "', "<a '\"", "<?", "<!DOCTYPE [",
                      "</a>", "<a>", "<a/>", "<a b='", "<item>", "<title>", "&#x1F600;", "]]>")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_feeds_cost_little(name: str) -> None:
    """Whatever two megabytes contain, they are read or refused in seconds of computing."""
    began = time.process_time()
    try:
        reading = read(HOSTILE[name].encode(), max_entries=200)
    except BadInput:
        reading = None
    assert time.process_time() - began < 5  # one on an idle machine
    for entry in reading.entries if reading else ():
        assert len(entry.article.title) <= 300
        assert len(entry.guid) <= 300
        assert "lollol" not in entry.article.title
        assert "root:" not in entry.article.title
    assert reading is None or len(reading.entries) <= 200


SCRIPT = "<script>alert(1)</script>"
NASTY = (
    f"{SCRIPT}<img src=x onerror=alert(1)><a href='javascript:alert(1)' onclick='x'>l</a>"
    "<iframe src='https://evil.example'></iframe><style>*{display:none}</style><svg onload=x></svg>"
    "<p style='position:fixed;background:url(javascript:x)'>t</p><img src='data:image/png,x'>"
)


@pytest.mark.parametrize("quote", [escape, lambda text: f"<![CDATA[{text}]]>", str])
def test_nothing_active_comes_in(quote: Any) -> None:
    """Quoted, in CDATA or bare: bodies hold only what an article may use, the rest is text."""
    reading = read(
        f"<rss><item><title>{quote(SCRIPT)} news</title><link>https://a.example/1</link>"
        f"<description>{quote(NASTY)} words</description><category>{quote(SCRIPT)}</category>"
        f"<media:content url='javascript:x' medium='image'><media:credit>{quote(NASTY)}"
        "</media:credit></media:content></item></rss>".encode()
    )
    article = reading.entries[0].article
    for kind, name, attributes in rawhtml.split(article.body):
        if kind == "open":
            assert name in rawhtml.TAGS
            assert set(attributes) <= rawhtml.EVERYWHERE | rawhtml.ATTRIBUTES.get(name, set())
            for key in ("href", "src"):
                assert attributes.get(key, "https:").startswith("https:")
    assert "words" in article.body
    assert article.image is None or article.image.startswith("https://")
    assert "alert" not in (article.summary or "")


PIECES = [
    *("<rss>", "<channel>", "<item>", "</item>", "<title>", "</title>", "<link>", "</link>"),
    *("<description>", "</description>", "<![CDATA[", "]]>", "<!--", "-->", "<feed>", "<entry>"),
    *('<content type="xhtml">', "</content>", "<p>", "</p>", "<a href='", "'>", "&amp;", "&lt;p"),
    *("https://a.example/1", "words", " ", "\n", "<media:content url='x'/>", "&#0;", "\ud83d"),
    *('{"items":[', '{"id":1', '"content_html":"', '"}', "]}", "xmlns:a='b'", "<!DOCTYPE x ["),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_a_feed_or_a_fault(text: str) -> None:
    """Nothing but BadInput ever comes out of a bad document, and what comes in is sound."""
    for start in ("", "<rss><item>", "<feed xmlns='http://www.w3.org/2005/Atom'><entry>"):
        try:
            reading = read((start + text).encode("utf-8", "surrogatepass"))
        except BadInput:
            continue
        for entry in reading.entries:
            assert entry.article.title
            assert entry.guid
            assert "<script" not in entry.article.body


@given(st.binary(max_size=300))
def test_any_bytes_are_a_feed_or_a_fault(body: bytes) -> None:
    """Whatever a server sends."""
    for start in (b"", b"<rss><item><title>", b'{"items":[{"id":"'):
        try:
            read(start + body)
        except BadInput as error:
            assert URL in str(error)
