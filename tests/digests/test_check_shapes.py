"""What feeds and files hold, shown in full, passes the gate: a plan has nobody to mend it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from checking import CONTENT, FACTS, OAKS, findings, letter
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.digests import compose, markdown, markup
from newsletter.digests.check import Level, quoted
from newsletter.digests.content import Piece
from newsletter.store import (
    Article,
    ArticleOrigin,
    BodyFormat,
    Digest,
    DigestArticle,
    Publication,
)

URL = "https://fieldnotes.example.org/oaks"
WORDS = "Every spring the same walk, past the same seven oaks above the tarn, with a notebook. " * 3

SHAPES = {
    "a footnote's way back": '<p>Note. <a href="#fnref:1">&#8617;&#xfe0e;</a></p>',
    "a permalink": '<h2 id="b">Title <a class="headerlink" href="#b" title="Permalink">¶</a></h2>',
    "a hash before a heading": '<h2><a href="#b">#</a> Title</h2>',
    "a link of signs": '<p>More <a href="https://e.example/">→</a></p>',
    "a link around an emoji": '<p>More <a href="https://e.example/">🎉</a></p>',
    "a link around a joiner": '<p>More <a href="https://e.example/">\u200b\u200d</a></p>',
    "a link around nothing": '<p>More <a href="https://e.example/"><u></u><sup> </sup></a></p>',
    "a link around a dash": '<a href="https://e.example/"><img src="/p.jpg" alt=" "></a>',
    "a script's address": '<p><a href="javascript:void(0)">Open</a></p>',
    "a place": '<h2><a name="x">Chapter one</a></h2>',
    "an empty address": '<p><a href="">here we are</a> and <a href>there</a></p>',
    "no mail address": '<p><a href="mailto:">Write to us</a></p>',
    "a telephone number": '<p><a href="tel:+49 30 1234">Ring us up</a></p>',
    "no telephone number": '<p><a href="tel:">Ring us up</a></p>',
    "a blank in an address": '<p><a href="/a b.pdf">The paper</a></p>',
    "a broken host": '<p><a href="https://exa mple.org/">One</a> <a href="https://xn--/">two</a></p>',
    "a table in a table": "<table><tr><td><table><tr><td>In</td></tr></table></td></tr></table>",
    "three tables": "<table><tr><td><table><tr><td><table><tr><td>In</table></table></table>",
    "a table of a page": '<table role="presentation" cellpadding=0><tr><td>In</td></tr></table>',
    "a link in a link": '<a href="/a"><table><tr><td><a href="/b">In</a></td></tr></table></a>',
}


def whole(body_html: str, body_text: str) -> Piece:
    return replace(OAKS, body_html=body_html, body_text=body_text)


def errors(piece: Piece) -> list[tuple[str, str]]:
    built = letter(replace(CONTENT, pieces=(piece,)))
    found = [each for each in findings(built) if each.rule.level == Level.ERROR]
    return [(each.rule.name, each.place.excerpt) for each in found]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_article_of_a_feed_passes(shape: str) -> None:
    """Its HTML is what themes and page builders write, which no operator can mend."""
    kept = markup.clean(f"<p>{WORDS}</p>{SHAPES[shape]}<p>{WORDS}</p>", base_url=URL)
    assert errors(whole(markup.html(kept), markup.text(kept))) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_article_of_a_file_passes(shape: str) -> None:
    """The same HTML within Markdown, as a block and within a paragraph."""
    for source in (f"{WORDS}\n\n{SHAPES[shape]}\n\n{WORDS}", f"{WORDS} {SHAPES[shape]}"):
        rendered = markdown.html(source, base_url=URL)
        assert errors(whole(rendered, markdown.text(source, base_url=URL))) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(list(SHAPES.values())), max_size=8).map("".join))
def test_whatever_a_feed_brings_passes(source: str) -> None:
    """All of it in one article, in any order."""
    kept = markup.clean(f"<p>{WORDS}</p>{source}", base_url=URL)
    assert errors(whole(markup.html(kept), markup.text(kept))) == []


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ('<h2>Title <a href="#b">¶</a></h2>', "<h4>Title </h4>"),
        ('<p>Note. <a href="#fnref:1">↩</a></p>', "<p>Note. </p>"),
        ('<p>Note.<sup><a href="#fn:1">1</a></sup></p>',
         f'<p>Note.<sup><a href="{URL}#fn:1">1</a></sup></p>'),
        ('<p>A <a href="#b">🎉</a></p>', "<p>A 🎉</p>"),
        ('<p><a href="https://e.example/">→</a></p>',
         '<p><a href="https://e.example/">→</a></p>'),
        ('<a name="x">Chapter <b>one</b></a>', "Chapter <b>one</b>"),
        ('<a href="tel:+49-30-1234">us</a>', '<a href="tel:+49-30-1234">us</a>'),
        ('<a href="/a b.pdf?c=d e">us</a>',
         '<a href="https://fieldnotes.example.org/a%20b.pdf?c=d%20e">us</a>'),
        ('<a href=" https://e.example/a\nb ">us</a>', '<a href="https://e.example/ab">us</a>'),
        ("<table><tr><td><table><tr><td>x</table></table>",
         '<table role="presentation"><tbody><tr><td><table><tbody><tr><td>x</td></tr></tbody>'
         "</table></td></tr></tbody></table>"),
        ('<table role="button"><tr><td>x</table>',
         "<table><tbody><tr><td>x</td></tr></tbody></table>"),
    ],
)  # fmt: skip
def test_what_becomes_of_them(source: str, kept: str) -> None:
    """The way back goes with its sign, other words stay, and cleaning twice changes nothing."""
    assert markup.clean(source, base_url=URL) == kept
    assert markup.html(kept) == kept


def found_in(length: str, **article: object) -> list[tuple[str, str]]:
    values: dict[str, object] = {
        "title": "On templates",
        "url": URL,
        "tags": [],
        "body_format": BodyFormat.MARKDOWN,
        **article,
    }
    row = Article(**values)
    digest = Digest(
        publication=Publication(language="en"),
        subject="On templates",
        length=length,
        entries=[DigestArticle(article=row), DigestArticle(article=row)],
    )
    built = letter(compose.content(None, digest))  # type: ignore[arg-type]
    found = findings(built, replace(FACTS, quoted=quoted.of([row])))
    return [
        (each.rule.name, each.rule.level)
        for each in found
        if each.rule.name.startswith("placeholder")
    ]


@pytest.mark.parametrize("length", ["full", "teaser"])
@pytest.mark.parametrize(
    "article",
    [
        {"body": "Write `{{ name }}` and `{% if a < b %}` there. " + WORDS},
        {"body": "Short.", "summary": "Write `{{ name }}` there. " + WORDS},
        {"body": "Write\n\n    Dear {{ name }}\n\nthere: `{{ name }}`. " + WORDS},
        {"body": f"<p>Write <code>{{{{  name }}}}</code> there. {WORDS}</p>",
         "body_format": BodyFormat.HTML},
    ],
)  # fmt: skip
def test_what_an_article_shows_as_code(article: dict[str, object], length: str) -> None:
    """It is meant to be read, in the summary too, which has no code marks."""
    assert found_in(length, **article) == []


@pytest.mark.parametrize("length", ["full", "teaser"])
def test_what_an_article_forgot_to_fill_in(length: str) -> None:
    """It is an error as before, and another place as code is no excuse."""
    body = f"Dear {{{{ name }}}}, write `{{{{ other }}}}` there. {WORDS}"
    assert ("placeholder", "error") in found_in(length, body=body)


@pytest.mark.parametrize("length", ["full", "teaser"])
@pytest.mark.parametrize("origin", [ArticleOrigin.FEED, ArticleOrigin.PAGE])
@pytest.mark.parametrize(
    "article",
    [
        {"body": f"<p>Dear {{{{ name }}}} &amp; ${{you}}. {WORDS}</p>"},
        {"body": f'<p><a href="https://e.example/%%X%%">{WORDS}</a> {{{{ a &lt; b }}}}</p>'},
        {"body": f"<p>{WORDS}</p>", "title": "Using {{ name }}"},
        {"body": "", "summary": f"Dear {{{{ name }}}}. {WORDS}"},
    ],
)
def test_what_a_site_says_is_its_own(
    article: dict[str, object], origin: ArticleOrigin, length: str
) -> None:
    """Nobody here can mend it: a warning at most."""
    found = found_in(length, origin=origin, body_format=BodyFormat.HTML, **article)
    assert {level for _, level in found} <= {"warning"}


@pytest.mark.parametrize(
    ("around", "is_quoted"),
    [("Dear {{ name }}", False), ("Not `{{ name }}`", True), ("", True)],
)
def test_an_introduction_is_no_article(around: str, *, is_quoted: bool) -> None:
    """What an article shows as code excuses nothing in the words around it."""
    row = Article(title="T", body="Write `{{ name }}`.", body_format=BodyFormat.MARKDOWN, tags=[])
    assert ("{{ name }}" in quoted.of([row], [around]).code) is is_quoted
