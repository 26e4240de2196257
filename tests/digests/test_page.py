"""A web page says of itself what it is about, and becomes a teaser."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests import page
from newsletter.digests.reading import ArticleInput
from newsletter.errors import BadInput
from newsletter.store import ArticleOrigin, BodyFormat

URL = "https://notes.example/2026/swift?utm_source=x"
PARAGRAPH = (
    "Long enough a paragraph to be one of the article, with words and a full stop at its end."
)

FULL = f"""<!doctype html><html lang="en-GB"><head><meta charset="utf-8">
<title>The year of the swift | Field Notes</title>
<meta property="og:title" content="The year of the swift &amp; more">
<meta property="og:description" content="They came back on the third of May.">
<meta property="og:image" content="/img/swift.jpg"><meta property="og:image:width" content="1200">
<meta property="og:image:height" content="630"><meta property="og:image:alt" content="A swift">
<meta property="og:site_name" content="Field Notes">
<link rel="canonical" href="https://notes.example/swift">
<meta property="article:published_time" content="2026-03-01T08:00:00+01:00">
<meta property="article:tag" content="birds"><meta property="article:tag" content="cities">
<meta name="author" content="Somebody else"><meta property="article:author" content="https://a/b">
<script type="application/ld+json">{{"@context": "https://schema.org", "@graph": [
{{"@type": "WebSite", "name": "x"}}, {{"@type": ["NewsArticle"], "headline": "Shorter",
"author": [{{"@type": "Person", "name": "Ada Byron"}}, {{"name": "Grace"}}],
"image": {{"url": "https://notes.example/l.jpg", "creditText": "Photo: Grace"}}}}]}}</script>
</head><body><main><h1>Swift</h1><p>By Ada</p><p>{PARAGRAPH}</p></main></body></html>"""

JSON_LD = """<title>x</title><script type='application/ld+json'>[{"@type": "BreadcrumbList"},
{"@type": "BlogPosting", "headline": "Ringing", "description": "How it is done.",
"datePublished": "2026-02-01", "author": "Ada", "image": ["/a.jpg"], "keywords": "rings, birds",
"publisher": {"name": "Rings"}, "inLanguage": "de"}]</script>"""


def read(text: str | bytes, url: str = URL) -> ArticleInput:
    raw = text if isinstance(text, bytes) else text.encode()
    return page.read(raw, "text/html", url=url)


def test_open_graph_and_json_ld() -> None:
    """Title, summary, picture, people, date, tags, site: a teaser that links to the page."""
    assert read(FULL) == ArticleInput(
        title="The year of the swift & more",
        body="",
        url="https://notes.example/swift",
        published=datetime(2026, 3, 1, 7, tzinfo=UTC),
        author="Ada Byron, Grace",
        summary="They came back on the third of May.",
        image="https://notes.example/img/swift.jpg",
        image_width=1200,
        image_height=630,
        image_alt="A swift",
        image_credit="Photo: Grace",
        tags=("birds", "cities"),
        site="Field Notes",
        language="en-GB",
        body_format=BodyFormat.HTML,
        origin=ArticleOrigin.PAGE,
    )


def test_json_ld_alone() -> None:
    """Where there is no Open Graph, with names instead of objects and lists instead of one."""
    found = read(JSON_LD)
    assert (found.title, found.summary, found.author) == ("Ringing", "How it is done.", "Ada")
    assert (found.site, found.language, found.tags) == ("Rings", "de", ("rings", "birds"))
    assert found.image == "https://notes.example/a.jpg"
    assert found.published == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("<title>A title &amp; more</title>", "title", "A title & more"),
        ("<title>A title – Notes</title><meta name=application-name content=Notes>", "title",
         "A title"),
        ("<title>Notes</title><meta property=og:site_name content=Notes>", "title", "Notes"),
        ("<title>x</title>", "url", "https://notes.example/2026/swift"),
        ("<title>x</title>", "site", "notes.example"),
        ("<title>x</title><link rel=canonical href=https://evil.example/>", "url",
         "https://notes.example/2026/swift"),
        ("<title>x</title><link rel=canonical href=javascript:x>", "url",
         "https://notes.example/2026/swift"),
        ("<title>x</title><meta name=description content='Said. Here.'>", "summary", "Said. Here."),
        (f"<title>x</title><p>{PARAGRAPH}</p><main><p>By me<p>{PARAGRAPH} <b>Two.</b><p>no</main>",
         "summary", f"{PARAGRAPH} Two."),
        (f"<title>x</title><script>'<p>{PARAGRAPH}'</script>", "summary", None),
        ("<title>x</title><time datetime=2026-03-01>1 March</time>", "published",
         datetime(2026, 3, 1, tzinfo=UTC)),
        ("<title>x</title><meta property=og:image content=javascript:x>", "image", None),
        ("<title>x</title><!-- <meta name=author content=No> -->", "author", None),
        ("<title>x</title><meta name=author content='Ada <a@b.example>'>", "author", "Ada"),
        ("<title>x</title><script type=application/ld+json>{broken</script>", "title", "x"),
        ("<title>x</title><script type=application/ld+json>" + "[" * 99_999 + "</script>",
         "title", "x"),
        ("<html lang='en_US'><title>x</title>", "language", "en-US"),
        ("<title>&lt;script&gt;alert(1)&lt;/script&gt;</title>", "title",
         "<script>alert(1)</script>"),
    ],
)  # fmt: skip
def test_other_pages(text: str, name: str, value: object) -> None:
    """What is missing or wrong is made up for; nothing that is said is more than text."""
    assert getattr(read(text), name) == value


def test_the_encoding_of_a_page() -> None:
    """It says it in a meta, when the server does not."""
    source = "<meta charset='windows-1252'><title>Süß – so</title>"
    assert read(source.encode("cp1252")).title == "Süß – so"


@pytest.mark.parametrize("text", ["", "<html><body><p>words</p></body></html>", "<title></title>"])
def test_a_page_that_does_not_say_what_it_is_called(text: str) -> None:
    """It is said, with the cure."""
    with pytest.raises(BadInput, match="write its article as a file"):
        read(text)


@pytest.mark.parametrize(
    "piece",
    ["<meta name=a content=b>", "<title ", "<script>", '<script type="application/ld+json">',
     '<script type="application/ld+json">{"@graph":[</script>', "<p>", "<", "<!--", "<a '", "&amp;",
     "<main><p>words ", "</script", "<link rel=canonical href=x>"],
)  # fmt: skip
def test_no_page_takes_long(piece: str) -> None:
    """Five megabytes of anything are read within a second of computing."""
    began = time.process_time()
    read("<title>x</title>" + piece * (5_000_000 // len(piece)))
    assert time.process_time() - began < 4


PARTS = [
    *("<title>", "</title>", "<meta property='og:title' content='", "'>", "<script", "</script>"),
    *(
        ' type="application/ld+json">',
        '{"@type":"Article","headline":',
        '["x"]',
        "}",
        "<!--",
        "-->",
    ),
    *(
        "words",
        "<p>",
        "<time datetime=",
        "2026-03-01",
        "<html lang='",
        "<link rel=canonical href='",
    ),
]


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join))
def test_any_page_is_a_teaser_or_a_fault(text: str) -> None:
    """Nothing but BadInput ever comes out of a bad page."""
    for start in ("", "<title>x</title>"):
        try:
            found = read(start + text)
        except BadInput:
            assert not start or "<!--" in start
            continue
        assert found.title
        assert found.body == ""


@pytest.mark.parametrize(
    ("given", "asked", "kept"),
    [
        ("/", "https://notes.example/a", "https://notes.example/a"),
        ("https://notes.example", "https://notes.example/?p=2", "https://notes.example/?p=2"),
        ("/?lang=en", "https://notes.example/a", "https://notes.example/?lang=en"),
        ("/b", "https://notes.example/a", "https://notes.example/b"),
        ("https://notes.example/", "https://notes.example", "https://notes.example/"),
    ],
)
@pytest.mark.parametrize(
    "tag", ['<link rel=canonical href="{}">', '<meta property=og:url content="{}">']
)
def test_the_home_page_is_no_pages_own_address(tag: str, given: str, asked: str, kept: str) -> None:
    """Where every page gives it as its own, each of them would overwrite the one before."""
    assert read(f"<title>x</title>{tag.format(given)}", asked).url == kept
