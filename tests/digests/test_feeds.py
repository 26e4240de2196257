"""Feeds as they are out there become articles: fourteen shapes, and what is broken in feeds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from newsletter.digests import feeds
from newsletter.digests.feeds import dates, document
from newsletter.digests.feeds.charset import decode
from newsletter.digests.reading import ArticleInput
from newsletter.errors import BadInput

SHAPES = Path(__file__).parent / "feeds"
URL = "https://feed.example/dir/feed.xml"


def read(body: bytes | str, content_type: str = "", max_entries: int = 100) -> document.Reading:
    raw = body if isinstance(body, bytes) else body.encode()
    return document.read(raw, content_type, url=URL, max_entries=max_entries)


def shape(name: str) -> list[ArticleInput]:
    return [entry.article for entry in read((SHAPES / name).read_bytes()).entries]


def rss(items: str, channel: str = "<title>T</title><link>https://site.example/</link>") -> str:
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{channel}{items}</channel></rss>'


def one(items: str) -> ArticleInput:
    (entry,) = read(rss(f"<item>{items}</item>")).entries
    return entry.article


# Of each shape, what its first article must say.
EXPECTED: dict[str, dict[str, Any]] = {
    "wordpress.xml": {
        "title": "Laying a hedge in February – what we learned",
        "url": "https://hedge.example/2026/02/laying-a-hedge/",
        "author": "Martha Fenn",
        "published": datetime(2026, 2, 27, 8, 30, tzinfo=UTC),
        "summary": "Twelve of us met at the long field on Saturday. By four o’clock sixty metres "
        "of hawthorn lay at the right angle, and nobody had lost a thumb.",
        "image": "https://hedge.example/wp-content/uploads/2026/02/hedge-1024x683.jpg",
        "image_width": 1024,
        "image_height": 683,
        "image_alt": "Cut hawthorn stems bent along a row of stakes",
        "tags": ("Hedges", "Winter work & tools"),
        "site": "The Hedge & the Ditch",
        "language": "en-GB",
    },
    "atom-blog.xml": {
        "title": "Using xtide at neap",
        "url": "https://tides.example/2026/02/19/neap.html",
        "author": "Ines Vidal, Jon Maro",
        "published": datetime(2026, 2, 19, 22, 40, tzinfo=UTC),
        "summary": "The tables said 1.2 m. The pier said otherwise.",
        "image": "https://tides.example/2026/02/19/pier.jpg",
        "tags": ("Harbour life", "software"),
        "site": "Tide tables & other lies",
        "language": "en",
    },
    "ghost.xml": {
        "title": "Rye & the art of waiting",
        "url": "https://bread.example/rye/",
        "image": "https://bread.example/content/images/2026/02/rye.jpg",
        "image_alt": None,  # it is the title once more
        "tags": ("Rye",),
    },
    "video.xml": {
        "title": "A kettle that would not switch off",
        "url": "https://tube.example/watch?v=dQ4example",
        "image": "https://img.tube.example/vi/dQ4example/hqdefault.jpg",
        "image_width": 480,
        "published": datetime(2026, 2, 25, 16, 0, 7, tzinfo=UTC),
    },
    "podcast.xml": {
        "title": "42: The N29",
        "url": "https://buses.example/42",
        "author": "Lena Osei & Kofi Mensah",
        "image": "https://buses.example/42-cover.jpg",
        "published": datetime(2026, 2, 24, 7, 15, tzinfo=UTC),
        "tags": ("night", "buses", "city"),
        "language": "en-US",
    },
    "rss-091.xml": {
        "title": "Jumble sale on Saturday",
        "url": "http://hall.example/news/jumble.html",
        "summary": "Doors open at ten. Bring bags, and small change.",
        "published": None,
    },
    "rss-090.xml": {"title": "Modems are getting faster", "url": "http://old.example/modems"},
    "rdf-10.xml": {
        "title": "Growth of Xanthoria parietina on slate roofs",
        "author": "R. Moos, T. Stein",
        "published": datetime(2026, 2, 10, tzinfo=UTC),
        "tags": ("ecology", "roofs"),
        "language": "en",
    },
    "feed.json": {
        "title": "A map of one ferry",
        "url": "https://maps.example/ferry",
        "author": "Aroha Tane, Ben Low",
        "image": "https://maps.example/img/ferry-card.png",
        "published": datetime(2026, 2, 13, 19, tzinfo=UTC),
        "tags": ("ferries", "lines"),
        "language": "en-NZ",
    },
    "substack.xml": {
        "title": "Who pays the second violin?",
        "author": "Ruth Okafor",
        "summary": "Nobody asked until the grant ran out.",
        "image": "https://cdn.ledger.example/image/fetch/w_1200,h_600/"
        "https%3A%2F%2Fbucket.example%2Fviolin.jpeg",
    },
    "microblog.xml": {
        "title": "A goldcrest weighs as much as a sheet of paper.",
        "image_alt": "A goldcrest on a rope, feathers ruffled",
        "image_credit": "Uwe Dahl",
        "image_width": 1600,
        "image_height": 1067,
    },
    "atom-xhtml.xml": {
        "title": "Gaps — and why",
        "url": "https://stones.example/walls/2026/gaps",
        "site": "Stones, collected",
        "summary": "A gap is made, not left.",
        "language": "en-IE",
    },
    "zeitung.xml": {
        "title": "Straßenfest: 3000 Gäste, kein Müll",
        "author": "Jörg Müßig",
        "summary": "Am 28. Februar feierte die Altstadt. Die Veranstalter zählten z. B. 3000 Gäste "
        "- und keinen vollen Container.",
        "image": "https://tagblatt.example/img/fest.jpg",
        "image_credit": "Foto: Käthe Öhm",
        "published": datetime(2026, 3, 1, 8, 15, tzinfo=UTC),
        "language": "de-DE",
    },
    "shift-jis.xml": {
        "title": "燕が帰ってきた",
        "published": datetime(2026, 3, 1, tzinfo=UTC),
        "language": "ja",
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_shapes_that_feeds_have(name: str) -> None:
    """Title, address, people, date, picture, tags, summary: found where this kind has them."""
    first = shape(name)[0]
    assert {key: getattr(first, key) for key in EXPECTED[name]} == EXPECTED[name]


def test_every_shape_is_looked_at() -> None:
    """A file beside the others is there to be tested."""
    assert {path.name for path in SHAPES.iterdir()} == set(EXPECTED)


def test_what_a_blog_adds_by_itself_is_left_out() -> None:
    """Pixels, scripts, forms, empty paragraphs and advertisement go; late pictures are found."""
    hedge, ice = shape("wordpress.xml")
    for word in ("stats.example", "appeared first", "nbsp", "wp-block"):
        assert word not in hedge.body
    assert '<a href="https://hedge.example/guides/hedges#tools">our guide</a>' in hedge.body
    assert hedge.body.count("<img") == 1
    assert ice.image == "https://hedge.example/wp-content/uploads/2026/01/ice.jpg"
    violin = shape("substack.xml")[0]
    assert "subscribe" not in violin.body
    assert '<img src="https://cdn.ledger.example/image/fetch/w_1456/hall.jpeg"' in violin.body


def test_the_rest_of_the_shapes() -> None:
    """Entries without a title, an id, a date or a text are articles too."""
    _, curtains, cafe = shape("rss-091.xml")
    assert curtains.url == "http://hall.example/news/curtains.html"
    assert (cafe.title, cafe.url) == ("Café closed & sorry", None)
    _, thought, legend = shape("feed.json")
    assert thought.title == "No title, only a thought about hachures."
    assert (legend.url, legend.author, legend.image) == (
        "https://maps.example/legend",
        "Guest",
        "https://maps.example/legend.jpg",
    )
    assert shape("podcast.xml")[1].url == "https://cdn.buses.example/0.mp3"
    cable = shape("atom-blog.xml")[1]
    assert (cable.title, cable.image) == (
        "AT&T's cable, 1 < 2",
        "https://tides.example/img/cable.png",
    )
    assert cable.body.startswith("<p>Plain words here.</p>\n<p>See <a href=")
    guids = [entry.guid for entry in read((SHAPES / "feed.json").read_bytes()).entries]
    assert guids == ["https://maps.example/ferry", "17", "3"]


def test_a_summary_is_made_for_those_that_have_none() -> None:
    """Whole sentences; half as many characters where each of them says twice as much."""
    spring = shape("ghost.xml")[1]
    assert spring.summary is not None
    assert spring.summary.endswith("It gives.")
    (tsubame,) = shape("shift-jis.xml")
    assert tsubame.summary is not None
    assert tsubame.summary.endswith("。")
    assert len(tsubame.summary) <= 140


@pytest.mark.parametrize(
    ("items", "name", "value"),
    [
        ("<title>A &lt;b&gt;bold&lt;/b&gt; one</title>", "title", "A bold one"),
        ("<title>A <b>bold</b> one</title>", "title", "A bold one"),
        ("<title>Using &lt;dialog&gt;</title>", "title", "Using <dialog>"),
        ("<title><![CDATA[AT&amp;T]]></title>", "title", "AT&T"),
        ("<title>a\nb\u202ec \u200f\u0645\u06cc\u200c\u062e 👨‍👩‍👧</title>", "title",
         "a bc \u200f\u0645\u06cc\u200c\u062e 👨‍👩‍👧"),
        (f"<title>{'long ' * 200}</title>", "title", "long " * 59 + "long…"),
        ("<title>x</title><link>/a</link>", "url", "https://site.example/a"),
        ("<title>x</title><link>https://site.example</link>", "url", None),
        ("<title>x</title><link>javascript:alert(1)</link>", "url", None),
        ("<title>x</title><link>data:text/html,x</link>", "url", None),
        (
            "<title>x</title><link>https://a.example/?utm_source=f&amp;p=1&amp;utm_medium=x</link>",
            "url",
            "https://a.example/?p=1",
        ),
        ("<title>x</title><guid>https://a.example/1</guid>", "url", "https://a.example/1"),
        ("<title>x</title><guid isPermaLink='false'>https://a.example/1</guid>", "url", None),
        (
            "<title>x</title><link>https://proxy.example/1</link>"
            "<feedburner:origLink>https://a.example/1</feedburner:origLink>",
            "url",
            "https://a.example/1",
        ),
        ("<title>x</title><author>a@b.example (Ada)</author>", "author", "Ada"),
        ("<title>x</title><author>Ada &lt;a@b.example&gt;</author>", "author", "Ada"),
        ("<title>x</title><author>a@b.example</author>", "author", None),
        ("<title>x</title><pubDate>yesterday</pubDate>", "published", None),
        ("<title>x</title><category> </category><category>A</category><category>a</category>",
         "tags", ("A",)),
        ("<title>x</title><enclosure url='javascript:1' type='image/png'/>", "image", None),
        (
            "<title>x</title><media:content url='/s.jpg' width='200' medium='image'/>"
            "<media:content url='/l.jpg' width='1200' medium='image'/>",
            "image",
            "https://site.example/l.jpg",
        ),
        (
            "<title>x</title><media:group><media:content url='/v.mp4' type='video/mp4'>"
            "<media:thumbnail url='/t.jpg'/></media:content></media:group>",
            "image",
            "https://site.example/t.jpg",
        ),
        ("<title>x</title><description>A &amp;amp; B</description>", "body", "<p>A &amp; B</p>"),
    ],
)  # fmt: skip
def test_single_fields(items: str, name: str, value: object) -> None:
    """What is odd in one field is put right in it."""
    assert getattr(one(items), name) == value


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("<rss><channel><item><title>A</title></item><item><title>B", ["A", "B"]),
        ("<rss><channel><item><title>A<item><title>B</item></channel>", ["A", "B"]),
        ("<rss><channel><item><title>A<link>https://a.example/</item></rss>", ["A"]),
        ("<rss><item><title>A & B</title></item></rss>", ["A & B"]),
        ("<rss><item><title>A &nbsp;&eacute; &bogus; B</title></item></rss>", ["A é &bogus; B"]),
        ("<rss><item><title>A \x00\x08\x1b B</title></item></rss>", ["A B"]),
        ("Warning: mysql <br>\n<rss><item><title>A</title></item></rss>", ["A"]),
        ("<rss><item><title>A</title></item></rss><script>alert(1)</script>", ["A"]),
        ("<RSS><CHANNEL><ITEM><TITLE>A</TITLE></ITEM></CHANNEL></RSS>", ["A"]),
        ('<rss><item a="1" a="2" b=c><title>A</title></item></rss>', ["A"]),
        ("<rss><item><x:y><title>no</title></x:y><title>A</title></item></rss>", ["A"]),
        (
            '<n:feed xmlns:n="http://www.w3.org/2005/Atom"><n:entry><n:title>A</n:title></n:entry>'
            "</n:feed>",
            ["A"],
        ),
        ("<rss><item><title><![CDATA[A", ["A"]),
        ("<rss><!-- <item><title>no</title></item> --><item><title>A</title></item></rss>", ["A"]),
        ("<rss><channel></channel></rss>", []),
        ("<rss><item></item><item><pubDate>x</pubDate></item></rss>", []),
    ],
)
def test_broken_xml_is_mended(text: str, titles: list[str]) -> None:
    """What can still be understood is read; what says nothing is no article."""
    assert [entry.article.title for entry in read(text).entries] == titles


@pytest.mark.parametrize(
    "text",
    ["", "hello", "<html><body>no</body></html>", "{}", '{"items": {}}', "{", "[1]",
     '{"a": ' * 100_000, "\0" * 50, "<rs"],
)  # fmt: skip
def test_what_is_no_feed(text: str) -> None:
    """It is said, with the address."""
    with pytest.raises(BadInput, match=re.escape(URL)):
        read(text)


@pytest.mark.parametrize(
    ("encoding", "declared", "header"),
    [
        ("cp1252", "iso-8859-1", ""),  # as the web means it
        ("utf-8", "ISO-8859-1", "text/xml; charset=iso-8859-1"),  # wrong twice
        ("utf-16", "utf-16", ""),
        ("utf-16-le", "utf-8", ""),
        ("cp1252", "utf-8", ""),  # wrong, and no header
        ("cp1252", "", ""),
        ("cp1252", "no-such-thing", "text/xml; charset=punycode"),
        ("cp1252", "", "text/xml; charset=windows-1252"),
    ],
)
def test_encodings(encoding: str, declared: str, header: str) -> None:
    """A text is read in the encoding that it has, not in the one that it claims."""
    attribute = f' encoding="{declared}"' if declared else ""
    text = f'<?xml version="1.0"{attribute}?><rss><item><title>Süß – ñ</title></item></rss>'
    assert [e.article.title for e in read(text.encode(encoding), header).entries] == ["Süß – ñ"]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("shift_jis", "燕が"), ("iso2022_jp", "燕が"), ("euc_kr", "제비"), ("gb18030", "燕子"),
     ("koi8_r", "Стриж"), ("cp1251", "Стриж"), ("cp1256", "سمامة")],
)  # fmt: skip
def test_other_encodings(encoding: str, words: str) -> None:
    """Those of the web, under the names that they have there."""
    text = f'<?xml version="1.0" encoding="{encoding.replace("_", "-")}"?><rss>{words * 20}</rss>'
    assert words in decode(text.encode(encoding), "")


def test_a_few_broken_bytes_are_no_other_encoding() -> None:
    """One cut letter in a text of UTF-8 leaves the rest of it as it is."""
    body = "Größe, Maß und Übermut. ".encode() * 50
    assert decode(body[:-1] + b"\xc3 end", "").count("Größe") == 50


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Fri, 27 Feb 2026 08:30:00 +0000", datetime(2026, 2, 27, 8, 30, tzinfo=UTC)),
        ("27 Feb 26 08:30 EST", datetime(2026, 2, 27, 13, 30, tzinfo=UTC)),
        ("So, 01 Mär 2026 09:15:00 +0100", datetime(2026, 3, 1, 8, 15, tzinfo=UTC)),
        ("dim., 1 août 2026 10:00 CEST", datetime(2026, 8, 1, 8, tzinfo=UTC)),
        ("March 1st, 2026 9:15 PM", datetime(2026, 3, 1, 21, 15, tzinfo=UTC)),
        ("2026-03-01T09:30:00.123+02:00", datetime(2026, 3, 1, 7, 30, tzinfo=UTC)),
        ("20260301T093000Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T24:00:00Z", datetime(2026, 3, 2, tzinfo=UTC)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("31 Feb 2026", None),
        ("2026-03-01T10:00:00+99:99", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("x" * 100_000, None),
    ],
)
def test_dates(text: str, moment: datetime | None) -> None:
    """As RFC 822 and ISO 8601 have them, and as people write them; nonsense is none."""
    assert dates.read(text) == moment


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (
            '<link rel="alternate" type="application/rss+xml" href="/feed/">'
            '<link rel="alternate" type="application/rss+xml" href="/comments/">',
            ["https://site.example/feed/", "https://site.example/comments/"],
        ),
        ("<LINK HREF=feed.json TYPE='application/feed+json' REL='alternate home'>",
         ["https://site.example/feed.json"]),
        ('<link rel="stylesheet" type="text/css" href="/a.css">', []),
        ('<link rel="alternate" type="application/rss+xml" href="javascript:x">', []),
        ('<link rel="alternate" hreflang="de" href="/de/">', []),
        ("", []),
    ],
)  # fmt: skip
def test_a_page_names_its_feeds(head: str, found: list[str]) -> None:
    """Where a browser would find them."""
    page = f"<!doctype html><html><head>{head}</head><body></body></html>".encode()
    assert feeds.discover(page, "text/html", url="https://site.example/") == found


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("Sun Mar 1 08:00:00 UTC 2026", "2026-03-01T08:00+00:00"),
        ("Sun Mar  1 08:00:00 2026", "2026-03-01T08:00+00:00"),
        ("Sun Mar 1 08:00:00 CEST 2026", "2026-03-01T08:00+02:00"),
        ("Mar 1 08:00 -0500 2026", "2026-03-01T08:00-05:00"),
    ],
)
def test_dates_with_the_year_at_their_end(said: str, moment: str) -> None:
    """As the command date and C's asctime write them."""
    found = dates.read(said)
    assert (found and found.isoformat(timespec="minutes")) == moment


@pytest.mark.parametrize(
    ("said", "author"),
    [
        ("&lt;b&gt;Ada&lt;/b&gt;", "Ada"),
        ("ada@example.org (Ada Byron)", "Ada Byron"),
        ("Ada &lt;ada@example.org&gt;", "Ada"),
        ("&lt;a href='mailto:ada@example.org'&gt;Ada&lt;/a&gt;", "Ada"),
    ],
)
def test_names_of_authors(said: str, author: str) -> None:
    """Without tags and without mail addresses, which are nobody's to pass on."""
    found = one(f"<title>x</title><author>{said}</author><description>x</description>")
    assert found.author == author
