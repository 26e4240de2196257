"""Markdown becomes HTML that is safe anywhere and text that reads well, whatever the source is."""

from __future__ import annotations

import re
import time

import nh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests import markdown, rawhtml
from newsletter.errors import BadInput

BASE = "https://example.org/2026/swifts.html"


def html(source: str, base_url: str | None = BASE) -> str:
    return markdown.html(source, base_url=base_url)


def text(source: str, base_url: str | None = BASE) -> str:
    return markdown.text(source, base_url=base_url)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# One", "<h3>One</h3>"),
        ("###### Six", "<h6>Six</h6>"),
        ("<h1>Raw</h1>", "<h3>Raw</h3>"),
        ("~~no~~ *yes*", "<p><s>no</s> <em>yes</em></p>"),
        ("[a](b.html)", '<p><a href="https://example.org/2026/b.html">a</a></p>'),
        ("[a](/b)", '<p><a href="https://example.org/b">a</a></p>'),
        ("see https://a.example/b.", '<p>see <a href="https://a.example/b">https://a.example/b</a>.</p>'),
        ("(https://a.example/b(c))", '<p>(<a href="https://a.example/b(c)">https://a.example/b(c)</a>)</p>'),
        ("`https://a.example`", "<p><code>https://a.example</code></p>"),
        ("<ada@example.org>", '<p><a href="mailto:ada@example.org">ada@example.org</a></p>'),
        ("![A swift](s.jpg)", '<p><img src="https://example.org/2026/s.jpg" alt="A swift"></p>'),
        (
            "Fact[^1]\n\n[^1]: Source",
            "<p>Fact<sup>[1]</sup></p>\n<hr>\n<ol>\n<li><p>Source</p>\n</li>\n</ol>",
        ),
        ("<mark>b</mark> &copy;", "<p><mark>b</mark> ©</p>"),
    ],
)  # fmt: skip
def test_markdown_becomes_html(source: str, expected: str) -> None:
    """Headings start at h3, addresses are absolute, and nothing else is changed."""
    assert html(source) == expected


def test_table_keeps_its_alignment() -> None:
    """A column's alignment survives as an attribute, since no style does."""
    assert '<td align="right">1</td>' in html("| A |\n|--:|\n| 1 |")


def test_without_a_base_relative_links_keep_their_words_and_pictures_go() -> None:
    """What cannot be reached from a mail is not offered in it."""
    assert html("[words](b.html) ![alt](c.png) end", None) == "<p>words  end</p>"
    assert text("[words](b.html) ![alt](c.png) end", None) == "words end"


HOSTILE = [
    "<script>alert(1)</script>",
    "x <script>alert(1)</script> y",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    '<img src=x onerror="alert(1)">',
    "<img src='https://a.example/x' onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg/onload=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a> <a href='file:///etc/passwd'>x</a>",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "<style>body{display:none}</style>",
    '<p style="position:fixed" class="x" id="y">t</p>',
    "<form action='https://evil.example'><input name=a><button>b</button></form>",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=//evil.example'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<p title='\"><script>alert(1)</script>'>t</p>",
    '``` "><script>alert(1)</script>\nx\n```',
    '[a](https://b.example/"onmouseover="alert(1))',
    '![a](https://b.example/x "t\\" onerror=\\"alert(1)")',
    "<textarea><img src=x onerror=alert(1)></textarea>",
    "<link rel=stylesheet href=//evil.example/x.css><object data=x></object><embed src=x>",
]


def _tags(markup: str) -> list[tuple[str, dict[str, str]]]:
    return [(name, attrs) for kind, name, attrs in rawhtml.split(markup) if kind == "open"]


@pytest.mark.parametrize("source", HOSTILE)
def test_nothing_active_survives(source: str) -> None:
    """No script, no event, no foreign element and no address but http, https and mailto."""
    for wrapped in (
        source,
        f"> - {source}",
        f"<div>\n{source}\n</div>",
        f"| a |\n|---|\n| {source} |",
    ):
        for name, attributes in _tags(html(wrapped)):
            assert name in rawhtml.TAGS
            assert set(attributes) <= rawhtml.EVERYWHERE | rawhtml.ATTRIBUTES.get(name, set())
            for key in ("href", "src"):
                assert re.match(r"(https?|mailto|tel):", attributes.get(key, "https:"))


PIECES = [
    *HOSTILE,
    *(
        "<div>",
        "</div>",
        "<b>",
        "<table>",
        "<h2>",
        "</table>",
        "<tr>",
        "<a href='/x'>",
        "*",
        "`",
        "[",
        "](",
        "> ",
        "\n",
        "\n\n",
        "- ",
        "&lt;",
        "<",
        ">",
    ),
    *('"', "'", "<!--", "x", "https://a.example/"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_clean_html_is_clean_already(source: str) -> None:
    """Cleaning again changes nothing: what was cleaned does not become something else when read."""
    cleaned = html(source)
    again = nh3.clean(
        cleaned,
        tags=rawhtml.TAGS,
        attributes={"*": rawhtml.EVERYWHERE, **rawhtml.ATTRIBUTES},
        url_schemes=rawhtml.SCHEMES,
        link_rel=None,
        tag_attribute_values=rawhtml.VALUES,
    )
    assert again.strip() == cleaned
    assert "<script" not in cleaned.lower()


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 5_000,
        "<div>\n" + "<p><b title='{}'></p>\n" * 2_000,
        "<div>\n" + "<table><b>" * 4_000,
        "[" * 2_999,
        "![" * 2_999,
        "![ x. y&ampaa  \n**x " * 2_900,
        "# a\nb\n=\n> " * 5_000,
        "a <!--" * 99 + "x" * 500_000,
        "`" * 20_000 + "x",
        "*a **b " * 9_000,
        "> " * 14_000 + "x",
        "- " * 14_000 + "x",
        "|a" * 100 + "\n" + "|-" * 100 + "\n" + "|\n" * 20_000,
        "[a]: https://a.example/" + "u" * 1900 + "\n\n" + "[a]" * 2_900,
        "https://a.example/" + ")" * 29_000,
        "x" * markdown.MAX_SIZE,
        "https://a.b/" + ")" * 29_000,
        "https://a.b/" + ")." * 14_000,
        "\n".join("|".join([each] * 7_000) for each in "a-b"),
        "|".join("a" * 90) + "\n" + "|".join("-" * 90) + "\n" + "b|c\n" * 9_000,
        "> " + "|".join("a" * 90) + "\n> " + "|".join("-" * 90) + "\n" + "> b|c\n" * 9_000,
        "a" + "\u0301" * 250_000,
        "<a" + " b" * 200_000,
        "\n" * 29_000,
    ],
    ids=range(24),
)
def test_no_article_takes_long(source: str) -> None:
    """A hostile article is rendered or refused within a second of computing, never worked on."""
    for render in (html, text):
        began = time.process_time()
        try:
            render(source)
        except BadInput as refused:
            assert refused.field == "body"
        # A second on an idle machine; the rest is for a busy one.
        assert time.process_time() - began < 3


def test_a_text_that_is_too_large_is_refused() -> None:
    """Beyond the size cap nothing is parsed at all."""
    with pytest.raises(BadInput, match="512 KiB"):
        html("x" * (markdown.MAX_SIZE + 1))


def test_deep_html_is_refused_with_the_reason() -> None:
    """256 levels are enough for anybody, and the message says what to look for."""
    assert html("<div>" * 200 + "x" + "</div>" * 200)
    with pytest.raises(BadInput, match="not closed in the order"):
        html("<div>" * 300 + "x" + "</div>" * 300)


def test_the_text_part() -> None:
    """Paragraphs, lists, quotes, code, tables, links and notes as people write them in mails."""
    source = """# Swifts

They are **back**, says [the ringing group](https://r.example/1) and
[the group](https://r.example/1) says so; see also <https://s.example/>.\\
Really. ![A nest box](box.jpg)

> Quoted
> > twice

1. one
2. two
   - inner
   - list

```
code  stays
    as it is
```

| Year | Pairs |
|------|-------|
| 2025 | 12 |

A note.[^n] <span>Tags</span> go.

***

[^n]: From the log.
"""
    assert (
        text(source)
        == """\
Swifts
~~~~~~

They are back, says the ringing group [1] and the group [1] says so; see
also https://s.example/.
Really. [A nest box]

> Quoted
>
> > twice

1. one
2. two
   - inner
   - list

    code  stays
        as it is

Year  Pairs
----  -----
2025  12

A note.[*1] Tags go.

* * *

[*1] From the log.

[1] https://r.example/1"""
    )


def test_a_table_that_is_too_wide_becomes_lines() -> None:
    """Columns that do not fit would wrap into nonsense: each cell is named instead."""
    written = text(f"| Bird | Note |\n|---|---|\n| Swift | {'long ' * 20} |\n| Wren | short |")
    assert written.startswith("Bird: Swift\nNote: long long")
    assert "\n\nBird: Wren\nNote: short" in written


def test_html_in_the_source_reads_well_as_text() -> None:
    """Blocks become paragraphs, links get their numbers, entities their characters."""
    source = (
        '<p>One &amp; <a href="/two">two</a></p><p>Three<br>four <img src="x.png" alt="pic"></p>'
    )
    assert text(source) == ("One & two [1]\n\nThree\nfour [pic]\n\n[1] https://example.org/two")


def test_script_is_not_text_either() -> None:
    """The text part does not show a script that the HTML part left out."""
    assert text("a <script>alert(1)</script> b") == "a b"


@given(st.text(alphabet="abc .,-*_`>\n#[]()", max_size=400))
def test_text_lines_are_short_unless_a_word_is_long(source: str) -> None:
    """No line is longer than 72 characters, unless it is code, a mark, or one word."""
    for line in text(source).split("\n"):
        assert (
            len(line) <= 72 or " " not in line.strip(" >-") or line.lstrip(" >").startswith("    ")
        )


def test_a_long_address_stays_whole() -> None:
    """An address that is cut in two cannot be followed."""
    address = "https://example.org/" + "long/" * 30
    assert address in text(f"See {address} for more.").split("\n")


@pytest.mark.parametrize(
    ("source", "limit", "expected"),
    [
        ("# T\n\nOne. Two! Three?", 9, "One. Two!"),
        ("One [link](https://a.example) here.", 80, "One link here."),
        ("- a list\n\n> a quote is a paragraph too", 80, "a list a quote is a paragraph too"),
        ("A sentence without an end that goes on", 20, "A sentence without…"),
        ("```\ncode\n```", 80, ""),
        ("", 80, ""),
    ],
)
def test_the_opening(source: str, limit: int, expected: str) -> None:
    """Whole sentences of prose while they fit; else words, and a sign that there is more."""
    assert markdown.opening(source, limit=limit) == expected


@pytest.mark.parametrize(
    ("source", "opening"),
    [
        (
            "> A quote first.\n\nThe text itself.\n\n- one\n- two\n\nIt ends.",
            "The text itself. It ends.",
        ),
        ("- one\n\n1. two\n\nTerm\n: Words\n\nText.[^1]\n\n[^1]: A note.", "Text."),
        ("> Only a quote.", "Only a quote."),
        ("# Heading\n\n- one\n- two", "one two"),
        ("", ""),
    ],
)
def test_a_summary_is_made_of_paragraphs(source: str, opening: str) -> None:
    """Quotes, lists and notes are for want of anything else."""
    assert markdown.opening(source) == opening


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\n".join("|".join([each] * 101) for each in "a-b"), "more than 100 columns"),
        ("|".join("a" * 90) + "\n" + "|".join("-" * 90) + "\n" + "b|c\n" * 170, "15,000 cells"),
    ],
)
def test_a_table_that_is_none(source: str, said: str) -> None:
    """It is told what is too much of it, before it costs anything."""
    with pytest.raises(BadInput, match=said):
        html(source)


def test_a_large_table() -> None:
    """A hundred rows of twenty columns are one; and a line of bars is none."""
    row = "|".join("a" * 20)
    table = f"{row}\n{'|'.join('-' * 20)}\n" + f"{row}\n" * 100
    assert html(table).count("<td>") == 2_000
    assert "||" in html("a " + "|" * 300)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("(see https://a.b/c)", "https://a.b/c"),
        ("https://a.b/c_(d)", "https://a.b/c_(d)"),
        ("(https://a.b/c_(d)).", "https://a.b/c_(d)"),
        ("https://a.b/c.).)", "https://a.b/c"),
        ("https://a.b/c(.", "https://a.b/c("),
    ],
)
def test_where_a_bare_address_ends(source: str, address: str) -> None:
    """Before the sentence's own signs, and before a bracket that closes one outside."""
    assert f'<a href="{address}">{address}</a>' in html(source)
