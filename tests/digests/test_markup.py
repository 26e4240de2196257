"""HTML from elsewhere becomes HTML that is safe anywhere and text that reads well."""

from __future__ import annotations

import re
import time

import nh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests import body, markdown, markup, rawhtml
from newsletter.digests.compose import content
from newsletter.errors import BadInput
from newsletter.store import Article, BodyFormat, Digest, DigestArticle, Publication

BASE = "https://example.org/2026/swifts.html"


def html(source: str, base_url: str | None = BASE) -> str:
    return markup.clean(source, base_url=base_url)


def text(source: str) -> str:
    return markup.text(html(source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<h1>One</h1>", "<h3>One</h3>"),
        ("<p class=x style='color:red' id=y onclick=z>t</p>", "<p>t</p>"),
        ("<a href='b.html' target=_blank>a</a>", '<a href="https://example.org/2026/b.html">a</a>'),
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("a & b < c", "a &amp; b &lt; c"),
        ("<center><font color=red>x</font></center>", "x"),
        ("<p>a</p><p>&nbsp;</p><p></p><div><p> </p></div><p>b</p>", "<p>a</p><p>b</p>"),
        ("<p>a</p>\n\n\n\n<p>b</p>", "<p>a</p>\n<p>b</p>"),
        ("<pre>a\n\n\nb</pre>", "<pre>a\n\n\nb</pre>"),
        ("<img src=a.png width=1 height=1>", ""),
        ("<img src=a.png width=0>", ""),
        ("<img src=data:x data-src=a.png alt=b>",
         '<img src="https://example.org/2026/a.png" alt="b">'),
        ("<img srcset='a.png 1x, b.png 2x'>", '<img src="https://example.org/2026/a.png" alt="">'),
        ("<picture><source srcset=x.webp><img src=a.png></picture>",
         '<img src="https://example.org/2026/a.png" alt="">'),
        ("<iframe src=x>no</iframe>yes", "yes"),
        ("<img src='' alt=b><a href=''>x</a>", "x"),
        ("a\0b", "ab"),
    ],
)  # fmt: skip
def test_html_is_cleaned(source: str, expected: str) -> None:
    """What a letter can show is kept, with absolute addresses; what counts readers is not."""
    assert html(source) == expected


def test_without_a_base_relative_links_keep_their_words_and_pictures_go() -> None:
    """What cannot be reached from a mail is not offered in it."""
    assert html("<a href=b>words</a><img src=c>", None) == "words"


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<style>body{display:none}</style>",
    '<p style="position:fixed" class="x" id="y">t</p>',
    "<form action='https://evil.example'><input name=a><button>b</button></form>",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=//evil.example'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<p title='\"><script>alert(1)</script>'>t</p>",
    "<textarea><img src=x onerror=alert(1)></textarea>",
    "<object data=x></object><embed src=x><link rel=stylesheet href=//evil.example/x.css>",
    "<img data-src='javascript:alert(1)' srcset='javascript:alert(1) 1x'>",
]


def check(cleaned: str) -> None:
    assert "<script" not in cleaned.lower()
    for kind, name, attributes in rawhtml.split(cleaned):
        if kind == "open":
            assert name in rawhtml.TAGS
            few = rawhtml.VALUES.get(name, {})
            allowed = rawhtml.EVERYWHERE | rawhtml.ATTRIBUTES.get(name, set()) | few.keys()
            assert set(attributes) <= allowed
            assert all(attributes[key] in few[key] for key in few.keys() & attributes.keys())
            for key in ("href", "src"):
                assert re.match(r"(https?|mailto|tel):", attributes.get(key, "https:"))


@pytest.mark.parametrize("source", HOSTILE)
def test_nothing_active_survives(source: str) -> None:
    """No script, no event, no foreign element and no address but http, https, mailto and tel."""
    for wrapped in (source, f"<ul><li>{source}", f"<table><tr><td>{source}", f"</div>{source}<b>"):
        check(html(wrapped))


PIECES = [
    *HOSTILE,
    *(
        "<div>",
        "</div>",
        "<b>",
        "</b>",
        "<p>",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<li>",
        "<ul>",
    ),
    *("<a href=/x>", "</a>", "<pre>", "</pre>", "<h2>", "</h2>", "<blockquote>", "<br>", "<hr>"),
    *("&lt;", "<", ">", '"', "'", "<!--", "words ", "\n", "<img src=/a alt=b>", "<th>x</th>"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_whatever_comes(source: str) -> None:
    """Cleaning gives what is clean; clean HTML is clean already, and it always has a text part."""
    cleaned = html(source)
    check(cleaned)
    shown = markup.html(cleaned)
    again = nh3.clean(
        shown,
        tags=rawhtml.TAGS,
        attributes={"*": rawhtml.EVERYWHERE, **rawhtml.ATTRIBUTES},
        url_schemes=rawhtml.SCHEMES,
        link_rel=None,
        tag_attribute_values=rawhtml.VALUES,
    )
    assert again == shown
    check(shown)
    assert "<script" not in text(source)


@pytest.mark.parametrize("cell", ["<td>x</td>", "<th>x</th>", "<TD>x</TD>"])
def test_a_row_has_as_many_cells_as_in_markdown(cell: str) -> None:
    """A hundred; whatever is around them, and however many rows and tables there are."""
    many = cell * markup.limits.MAX_COLUMNS
    rows = f"<tr>{many}</tr><tr>{many}<tr>{many}</table><table>{many}</table>"
    assert markup.clean(f"<table>{rows}", base_url=None).count("<t") > 400
    for source in (f"<table><tr>{many}{cell}</tr></table>", f"<table>{many}{cell}</table>"):
        with pytest.raises(BadInput, match="more than 100 columns"):
            markup.clean(source, base_url=None)
        with pytest.raises(BadInput, match="more than 100 columns"):
            markdown.html(source, base_url=None)


SIZE = markup.MAX_SIZE
LONG = {
    "deep": "<div>" * 100_000,
    "deep and closed": "<div>" * 9_000 + "x" + "</div>" * 9_000,
    "formatting that is reopened": "<p><b title='{}'></p>" * 9_000,
    "tables and formatting": "<table><b>" * 9_000,
    "tables in tables": "<table><tr><td>" * 6_000,
    "a wide table": f"<table><tr>{'<th>x' * 4_000}</tr>{'<tr><td>y' * 2_000}</table>",
    "attributes": "<a" + " b" * 250_000,
    "quotation marks": "<p '" * 100_000,
    "brackets": "<" * SIZE,
    "ampersands": "&" * SIZE,
    "references": "&#x41;" * (SIZE // 6),
    "comments": "<!--" * (SIZE // 4),
    "scripts": "<script>" * (SIZE // 8),
    "lists in lists": "<ul><li>x" * 9_900,
    "quotes in quotes": "<blockquote>x" * 19_900,
    "line ends": "<br>" * 19_900,
    "links": "<a href=https://a.example/x>y</a>" * 9_900,
    "pictures": "<img src=https://a.example/x alt=z>" * 14_000,
    "pictures of few letters": "<img src=//a.b/c>" * 15_000,
    "links of few letters": "<a href=//a.b>c</a>" * 9_000,
    "a tower of accents": "<p>a" + "\u0301" * 250_000,
    "a tower of references": "<p>a" + "&#769;" * 80_000,
    "mixed nesting": "<a><b><i><em><strong><u>" * 3_000,
    "wrong nesting": "<i><b><p></b></i>" * 3_900,
    "blank": "<p>" + " " * 500_000 + "x",
    "words": "word " * (SIZE // 5),
    "one word": "x" * SIZE,
}


@pytest.mark.parametrize("name", LONG)
def test_no_article_takes_long(name: str) -> None:
    """A hostile article is cleaned or refused within a second of computing, in both parts."""
    for render in (html, text, lambda source: markup.opening(html(source))):
        began = time.process_time()
        try:
            render(LONG[name][:SIZE])
        except BadInput as refused:
            assert refused.field == "body"
        # A second on an idle machine; the rest is for a busy one.
        assert time.process_time() - began < 3


def test_what_is_nested_too_deep_keeps_its_words() -> None:
    """The author of a feed is not there to be told: it is flattened instead of refused."""
    cleaned = html("<div>" * 300 + "<p>deep</p>" + "</div>" * 300 + "<p>after</p>")
    assert cleaned.count("<div>") == markup.MAX_DEPTH
    assert "deep" in cleaned
    assert cleaned.endswith("<p>after</p>")


def test_what_is_too_large_is_refused() -> None:
    """Beyond the caps nothing is cleaned at all."""
    for source, said in (("x" * (SIZE + 1), "512 KiB"), ("<br>" * 30_000, "more markup")):
        with pytest.raises(BadInput, match=said):
            html(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("<img src=//a.b/c>" * 1001, "more than 1,000 pictures"),
        ("<a href=//a.b/c>d</a>" * 3001, "more than 3,000 links"),
    ],
)
def test_more_than_a_letter_can_show(source: str, said: str) -> None:
    """It is told what there is too much of; one less is no fault."""
    with pytest.raises(BadInput, match=said):
        html(source)
    with pytest.raises(BadInput, match=f"{said}|more markup"):
        markdown.html(source, base_url=BASE)
    html(source[source.index(">", 10) + 1 :].removeprefix("d</a>"))


def test_a_tower_of_accents_is_lowered() -> None:
    """Thirty are more than any language writes; letters and signs of any script stay."""
    assert html("<p>a" + "\u0301" * 99 + "b</p>") == "<p>a" + "\u0301" * 30 + "b</p>"
    assert markdown.html("a" + "\u0301" * 99, base_url=None) == "<p>a" + "\u0301" * 30 + "</p>"
    for words in ("─" * 80, "🎉" * 50, "。" * 50, "ทั้งที่" * 20, "བསྒྲུབས" * 20, "e\u0301" * 90):
        assert html(f"<p>{words}</p>") == f"<p>{words}</p>"


def test_the_text_part() -> None:
    """Paragraphs, lists, quotes, code, tables and links as people write them in mails."""
    source = """<h2>Swifts &amp; co</h2><p>They are <b>back</b>, says <a href="/r">the ringing
group</a> and <a href="/r">the group</a>.</p>
<figure><img src="a.jpg" alt="A swift"><figcaption>Photo: me</figcaption></figure>
<ul><li>One</li><li><p>Two</p></li><li><p>Three</p><p>more</p><ol start="3"><li>a<li>b</ol></ul>
<blockquote><p>Quoted</p><blockquote>twice</blockquote></blockquote>
<pre><code>x = 1
  y = 2</code></pre>
<table><tr><th>Year</th><th>Pairs</th></tr><tr><td>2025</td><td>12</td></tr></table>
<table><tr><td>For the</td><td>layout</td></tr></table>
a<br>b<hr><div><div>deep <a href="https://a.example/">https://a.example/</a></div></div>"""
    assert (
        text(source)
        == """\
Swifts & co
~~~~~~~~~~~

They are back, says the ringing group [1] and the group [1].

[A swift]

Photo: me

- One
- Two
- Three

  more
  3. a
  4. b

> Quoted
>
> > twice

    x = 1
      y = 2

Year  Pairs
----  -----
2025  12

For the | layout

a
b

* * *

deep https://a.example/

[1] https://example.org/r"""
    )


def test_a_summary_begins_with_prose() -> None:
    """Not with what stands below a picture, in a heading or in a table."""
    source = (
        "<figure><img src=/a alt=x><figcaption>Photo: me</figcaption></figure><h2>Head</h2>"
        "<table><tr><td>cell</td></tr></table><p>First <b>words</b>.</p><p>Second.</p>"
    )
    assert markup.opening(html(source)) == "First words. Second."


def test_plain_text_becomes_paragraphs() -> None:
    """Blank lines part them, line ends stay, addresses become links, and nothing else is HTML."""
    assert markup.of_plain(
        "a <b>\nc\n\n\nsee https://a.example/x?a=1&b=2, or (http://b.example)."
    ) == (
        "<p>a &lt;b&gt;<br>c</p>\n"
        '<p>see <a href="https://a.example/x?a=1&amp;b=2">https://a.example/x?a=1&amp;b=2</a>, or '
        '(<a href="http://b.example">http://b.example</a>).</p>'
    )
    assert markup.of_plain(" \n\n ") == ""


def test_pictures_and_links_without_words() -> None:
    """A picture that nobody described is an ornament, and a link around such ones alone is none.

    Sites link a picture to its enlargement; read out, that is the address of a file.
    """
    picture = '<img src="https://e.example/p.jpg" alt="">'
    assert html('<p>A <img src="https://e.example/p.jpg"></p>') == f"<p>A {picture}</p>"
    for inside in (picture, f"<div> {picture} </div>", f"<span>{picture}<br></span>"):
        shown = html(f'<figure><a href="https://e.example/large.jpg">{inside}</a></figure>')
        assert "<a" not in shown
        assert picture in shown
    assert html('<p>A <a href="https://e.example/"> </a>B</p>') == "<p>A  B</p>"
    for inside in ('<img src="https://e.example/p.jpg" alt="A mill">', f"{picture} The mill"):
        kept = f'<p><a href="https://e.example/">{inside}</a></p>'
        assert html(kept) == kept
        assert html(html(kept)) == kept


def test_a_link_around_a_card() -> None:
    """It stands in the text part though there are blocks in it, with the words of each of them."""
    card = '<a href="https://mill.example/"><div><h4>The mill</h4><p>It grinds.</p></div></a>'
    assert text(f"<p>Before.</p>{card}<p>After.</p>") == (
        "Before.\n\nThe mill [1]\n\nIt grinds. [1]\n\nAfter.\n\n[1] https://mill.example/"
    )


def test_what_is_kept_is_shown_as_it_is() -> None:
    """Headings were lowered and addresses made absolute when it came in: not once more."""
    kept = html("<h1>A</h1><h2>B</h2><p>C <a href=d>e</a></p>")
    assert markup.html(kept) == kept
    assert kept.startswith("<h3>A</h3><h4>B</h4>")


def article(**over: object) -> Article:
    values: dict[str, object] = {
        "title": "T",
        "url": "https://example.org/a",
        "body": '<p>Text & <img src="https://example.org/p.jpg"></p>',
        "body_format": BodyFormat.HTML,
        "tags": [],
        **over,
    }
    return Article(**values)


def test_an_article_of_html_in_a_digest() -> None:
    """Its body is HTML and its summary plain text; a picture that it has is not shown twice."""
    digest = Digest(
        publication=Publication(language="en"),
        subject="S",
        length="full",
        entries=[
            DigestArticle(article=article(summary="A < B", image="https://example.org/p.jpg")),
            DigestArticle(article=article(image="https://example.org/other.jpg")),
            DigestArticle(article=article(body="", summary="Only *this*.")),
        ],
    )
    first, second, third = content(None, digest).pieces  # type: ignore[arg-type]
    assert first.summary_html == "<p>A &lt; B</p>"
    assert first.body_html == '<p>Text &amp; <img src="https://example.org/p.jpg" alt=""></p>'
    assert (first.image, second.image) == (None, "https://example.org/other.jpg")
    assert (third.body_html, third.body_text) == ("<p>Only *this*.</p>", "Only *this*.")
    assert second.summary_text == "Text &"
    assert body.opening(article(summary="Long. " * 60), limit=20) == "Long. Long. Long."


def test_a_summary_is_made_of_paragraphs() -> None:
    """Of a page too, where quotes and lists are for want of anything else."""
    quoted = "<blockquote><p>A quote.</p></blockquote><ul><li>one</li><li><p>two</p></li></ul>"
    assert markup.opening(f"{quoted}<p>The text.</p>") == "The text."
    assert markup.opening(quoted) == "A quote. one two"
