"""A hostile article out of a feed: harmless in the letter, the preview and the archive, and quick.

Scripts, event handlers, CSS tricks, huge nesting, data: and javascript: addresses, and what tries
to close the letter's own tables.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from sqlalchemy import Engine

from newsletter import store
from newsletter.digests import approve, articles, compose, preview
from newsletter.digests.articles import ArticleInput
from newsletter.digests.feeds import document
from newsletter.mail.letters import Letter
from newsletter.web import create_app

if TYPE_CHECKING:
    from newsletter.config import Settings

BASE = "https://news.example.org"
SCRIPT = "<script>alert('owned')</script>"
QUOTED = escape(SCRIPT)
ACTIVE = {"script", "iframe", "object", "embed", "base", "svg", "math", "form", "input", "button"}

HTML = f"""{SCRIPT}<p onclick="alert(1)" style="position:fixed;top:0;left:0;width:100%">Some words.
</p><img src=x onerror="alert(1)"><img src="https://evil.example/pixel" width=1 height=1>
<iframe src="https://evil.example"></iframe><style>@import url(https://evil.example/x.css);
td{{display:none}}</style><svg><script>alert(1)</script></svg><base href="https://evil.example/">
<form action="https://evil.example"><input name="password"><button>go</button></form>
<a href="javascript:alert(1)">one</a> <a href="data:text/html,{SCRIPT}">two</a>
<a href="java
script:alert(1)">three</a> <img src="data:image/svg+xml,<svg onload=alert(1)>">
</td></tr></table></div></body></html><!-- <![endif]--><!--[if mso]><b>x</b><![endif]-->
<div style="expression(alert(1))">{{{{ config }}}}{{% for x in y %}}</div>
{"<div>" * 19_000}<p>Last words.</p>"""

FEED = f"""<rss><channel><title>{QUOTED}</title><item><title>{QUOTED} title</title>
<link>https://example.org/1</link><guid>javascript:alert(1)</guid><author>{QUOTED} Eve</author>
<category>{QUOTED}</category><description>{escape(HTML[:3000])}</description>
<content:encoded>{escape(HTML)}</content:encoded>
<media:content url="https://example.org/a.jpg&quot; onload=&quot;alert(1)" medium="image">
<media:credit>{QUOTED}</media:credit><media:description>&quot; onload=&quot;alert(1)
</media:description></media:content><media:content url="/b.jpg" medium="image" width="600">
<media:credit>{QUOTED}</media:credit><media:description>&quot; onload=&quot;alert(1)
</media:description></media:content></item></channel></rss>"""


class Page(HTMLParser):
    """What a browser makes of a page: elements, attributes, text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        # Before each piece of text, the tables that it stands in.
        self.tables = 0
        self.ends_inside = 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.tables += tag == "table"

    def handle_endtag(self, tag: str) -> None:
        self.tables -= tag == "table"
        self.ends_inside += tag in ("body", "html") and self.tables > 0

    def handle_data(self, data: str) -> None:
        self.text += data


def check(source: str) -> Page:
    page = Page(source)
    for tag, attributes in page.elements:
        if tag == "script" and attributes == {"type": "application/ld+json"}:
            continue  # data about the page: no browser runs it
        assert tag not in ACTIVE, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert "javascript:" not in re.sub(r"\s", "", value.lower())
            assert "expression(" not in value.lower()
            if name in ("href", "src", "action"):
                assert not value or re.match(r"(https?|mailto):|[/#?]", value), value
    assert "evil.example" not in source
    assert page.tables == page.ends_inside == 0
    return page


@pytest.fixture
def evil() -> ArticleInput:
    reading = document.read(FEED.encode(), "", url="https://example.org/feed", max_entries=10)
    (entry,) = reading.entries
    return entry.article


def shown(
    engine: Engine,
    settings: Settings,
    publication: store.Publication,
    found: list[ArticleInput],
    length: str,
) -> tuple[Letter, Letter, str]:
    """The draft's preview, the approved letter, and its page in the archive."""
    now = datetime.now(UTC)
    with store.transaction(engine) as session:
        session.add(publication)
        numbers = [articles.save(session, each, now=now)[0].id for each in found]
        digest = compose.new(
            session,
            publication,
            subject=f"News {SCRIPT}",
            intro=None,
            article_ids=numbers,
            length=length,
            now=now,
        )
        draft = preview.letter(session, digest, base_url=BASE)
        approve.approve(session, digest, base_url=BASE, now=now)
        approved = preview.letter(session, digest, base_url=BASE)
        digest.start()
        digest.finish(now)
        name = digest.public_id
    app = create_app(settings, engine)
    page = app.test_client().get(f"/{publication.slug}/archive/{name}", buffered=True)
    assert page.status_code == 200
    assert "script-src 'none'" in page.headers["Content-Security-Policy"] or (
        "default-src 'none'" in page.headers["Content-Security-Policy"]
    )
    return draft, approved, page.text


@pytest.mark.parametrize("length", ["full", "teaser"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_it_is_harmless_everywhere(
    engine: Engine,
    settings: Settings,
    evil: ArticleInput,
    make_publication: Callable[..., store.Publication],
    length: str,
) -> None:
    """Nothing of it runs, loads or breaks out; its words are there, and its neighbour's too."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        publication.theme = "magazine"  # which shows pictures with teasers, too
    plain = articles.read("# Green\n\nThe meadow is green.\n", origin="a.md")
    draft, approved, archived = shown(engine, settings, publication, [evil, plain], length)
    for source in (draft.html, approved.html, archived):
        page = check(source)
        for words in ("Some words.", "The meadow is green.", "title"):
            assert words in page.text, words
        assert ("Last words." in page.text) == (length == "full")
        if length == "teaser":
            assert any(
                tag == "img" and "b.jpg" in each.get("src", "") for tag, each in page.elements
            )
    # The tags of the letter itself are as many as with an article that means no harm.
    for letter in (draft, approved):
        assert "{{ config }}" in letter.text or length == "teaser"
        assert "javascript:" not in letter.text
        assert "evil.example" not in letter.text


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_it_takes_no_second(
    engine: Engine,
    settings: Settings,
    evil: ArticleInput,
    make_publication: Callable[..., store.Publication],
) -> None:
    """From the bytes of the feed to the frozen letter: a second of computing on an idle machine."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        began = time.process_time()
        reading = document.read(FEED.encode(), "", url="https://example.org/feed", max_entries=10)
        article, _ = articles.save(session, reading.entries[0].article, now=datetime.now(UTC))
        digest = compose.new(
            session,
            publication,
            subject="News",
            intro=None,
            article_ids=[article.id],
            length="full",
            now=datetime.now(UTC),
        )
        approve.approve(session, digest, base_url=BASE, now=datetime.now(UTC))
        assert time.process_time() - began < 3
