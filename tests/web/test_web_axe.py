"""Every page in every language, in light and dark, narrow and wide: axe-core finds nothing wrong.

WCAG 2.2 A and AA with axe's best practices. The pages are those that visitors get, on the way on
which they get them; what is left out by mistake is found by the templates that were never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask, template_rendered
from sqlalchemy import Engine

from newsletter import i18n, store
from newsletter.resources import resource_dir
from newsletter.web.pages import page as page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_kind", ["sqlite"])]

AXE = """() => axe.run(document, {
    resultTypes: ["violations"],
    runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
                                    "best-practice"]},
}).then(found => found.violations.flatMap(each => each.nodes.map(
    node => `${each.id}: ${node.html} ${node.failureSummary}`)))"""
# What a page needs when it is sent away as it is: "ada@example" and an unticked box are faults.
SEND = "form => { form = document.forms[form]; form.noValidate = true; form.requestSubmit() }"
# Notices whose causes are rare. They are the real templates, made by the real function.
RARE = (
    "access_sent", "bad_request", "broken", "denied", "forgotten", "nothing_kept", "sent_again",
    "standing_still", "too_large", "too_many", "unavailable",
)  # fmt: skip
LOGO = {
    "logo_url": "https://pictures.example/logo.png",
    "logo_alt": "The Night Sky, a star",
    "logo_width": 180,
    "logo_height": 48,
}
# Everything that an article may bring, under headings that begin anywhere.
RICH = (
    "<h5>Deep first</h5><p>Some <a href='https://example.org/x'>link</a>, <code>code</code> and"
    " <mark>mark</mark>.</p><h3>Then less</h3><blockquote><p>Words.</p></blockquote><ul><li>One"
    "</li></ul><table><tbody><tr><th>A</th><td>B</td></tr></tbody></table><pre>x = 1</pre><hr>"
    "<figure><img src='https://pictures.example/a.jpg' alt='A map'><figcaption>Map</figcaption>"
    "</figure><dl><dt>Term</dt><dd>Meaning</dd></dl>"
    f"<pre><code>{'a long line of code ' * 12}</code></pre>"
    f"<table><thead><tr>{'<th>Heading</th>' * 14}</tr></thead><tbody><tr>"
    f"{'<td align=right>Donaudampfschiff</td>' * 14}</tr></tbody></table>"
    f"<table><tbody><tr>{'<td>Donaudampfschiff</td>' * 14}</tr></tbody></table>"
    "<ul class=tasks><li>☑ done</li></ul>"
)
IMAGE = {"image": "https://pictures.example/x.jpg", "image_width": 900, "image_height": 600}
PIECES: list[dict[str, Any]] = [
    {"title": "The lead", "tags": ["stars"], "is_lead": True, **IMAGE, "summary_html": "<p>It.</p>",
     "image_credit": "Photo: N. N.", "url": "https://example.org/1", "author": "Ada"},
    {"title": "Whole", "tags": [], "full": True, "body_html": RICH, "section": "Near"},
    {"title": "Teaser", "tags": [], **IMAGE, "summary_html": "<p>Some.</p>", "section": "Near",
     "url": "https://example.org/2", "published": "2026-02-27"},
]  # fmt: skip


OTHER_SCREENS = [(320, "light"), (1280, "dark")]


class Visit(NamedTuple):
    """A page: where it is, and what is done there first. form: the number of the form to send."""

    path: str
    fill: str = ""
    form: int | None = None


@pytest.fixture
def shown(app: Flask) -> list[str]:
    """The names of the templates that were shown so far."""
    names: list[str] = []

    def note(_app: Flask, template: Any, **_values: Any) -> None:
        names.append(Path(template.name).stem)

    def rare(name: str) -> Any:
        return page_of(name, minutes=60)

    app.add_url_rule("/rare/<name>", "rare", rare)
    template_rendered.connect(note, app, weak=False)
    return names


@pytest.fixture
def visits(
    shown: list[str],
    engine: Engine,
    publish: Callable[..., store.Digest],
    reader: store.Subscription,
    make_publication: Any,
    sign_up: Any,
    confirm_path: Callable[..., str],
    path: Callable[..., str],
    now: Any,
) -> list[Visit]:
    """A page of each kind, of a quiet publication and of one with pictures, logo, bold colour."""
    with store.transaction(engine) as session:
        night = make_publication(
            session, slug="night-sky", title="The Night Sky", theme="magazine",
            accent_color="#ffd400", description="What is above, every new moon.", **LOGO,
        )  # fmt: skip
        session.query(store.Publication).filter_by(slug="field-notes").one().description = "Notes."
    made = publish()
    for place in range(31):
        publish(at=now + timedelta(hours=place), to=night, pieces=PIECES, outro_html="<p>Bye.</p>")
    arabic = publish(at=now + timedelta(days=9), to=night, language="ar", subject="نشرة", pieces=[])
    waiting, gone = "waiting@example.net", "gone@example.net"
    for address in (waiting, gone):
        sign_up(address)
    old = timedelta(days=400)
    own, access = (path(each, reader.subscriber.public_id) for each in ("preferences", "access"))
    leave = path("unsubscribe", reader.public_id)
    form = "/field-notes/"
    filled = "email.value = 'new@example.net'; consent.checked = true"
    return [
        Visit("/"),
        Visit(form),
        Visit(form, "email.value = 'ada@example'", form=0),
        Visit(form, filled, form=0),
        Visit("/field-notes/embed"),
        Visit(f"/field-notes/archive/{made.public_id}"),
        Visit("/night-sky/"),
        Visit("/night-sky/archive/"),
        Visit("/night-sky/archive/?page=2"),
        Visit(f"/night-sky/archive/{arabic.public_id}"),
        Visit(f"/night-sky/archive/{_second(engine, night)}"),
        Visit(confirm_path(waiting)),
        Visit(confirm_path(waiting, age=old)),
        Visit(confirm_path("ada@example.net")),
        Visit(path("confirm", "0" * 20)),
        Visit("/confirm/nonsense"),
        Visit("/no/such/page"),
        Visit(own),
        Visit(own, form=0),
        Visit(own, "document.forms[1].name.value = 'x'.repeat(300)", form=1),
        Visit(access),
        Visit(access, form=1),
        Visit(path("access", reader.subscriber.public_id, age=old)),
        Visit(leave),
        Visit(path("unsubscribe", "0" * 20)),
        *(Visit(f"/rare/{name}") for name in RARE),
    ]


def _second(engine: Engine, publication: store.Publication) -> str:
    with store.reading(engine) as session:
        found = session.query(store.Digest).filter_by(publication_id=publication.id)
        return str(found.order_by(store.Digest.id).offset(1).first().public_id)  # type: ignore[union-attr]


def go(page: Page, site: str, visit: Visit, language: str) -> None:
    page.goto(f"{site}{visit.path}{'&' if '?' in visit.path else '?'}lang={language}")
    if visit.form is not None:
        page.evaluate(visit.fill or "0")
        with page.expect_navigation():
            page.evaluate(SEND, visit.form)


def find(
    browser: Browser, site: str, visits: list[Visit], language: str, screens: list[tuple[int, str]]
) -> list[str]:
    """What axe finds on each page, on each of these screens: width in pixels, and scheme."""
    context = browser.new_context()
    context.route("https://**", lambda route: route.abort())
    context.add_init_script(AXE_SCRIPT)
    page = context.new_page()
    faults: list[str] = []
    for visit in visits:
        go(page, site, visit, language)
        assert page.evaluate("document.documentElement.lang") == language, visit
        for width, scheme in screens:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = page.evaluate(AXE)
            faults += [f"{visit.path} {width} {scheme}: {fault}" for fault in found]
    context.close()
    return faults


@pytest.mark.parametrize("language", i18n.languages())
def test_axe_finds_nothing(
    site: str, browser: Browser, visits: list[Visit], shown: list[str], language: str
) -> None:
    """No violation on any page: at 320 and 1280 pixels, in light and dark, in this language.

    English has every screen; the others each width and each scheme once, and the rest of their
    screens before a release.
    """
    screens = [(1280, "light"), (320, "dark")]
    if language == i18n.SOURCE_LANGUAGE:
        screens += OTHER_SCREENS
    assert find(browser, site, visits, language, screens) == []
    every = {path.stem for path in (resource_dir("templates") / "pages").glob("*.html")}
    parts = {name for name in every if name.startswith("_")} | {"base", "notice"}
    assert every - parts - set(shown) == set()


@pytest.mark.slow
@pytest.mark.parametrize("language", i18n.languages()[1:])
def test_axe_finds_nothing_on_other_screens(
    site: str, browser: Browser, visits: list[Visit], language: str
) -> None:
    """The same for a narrow light and a wide dark screen."""
    assert find(browser, site, visits, language, OTHER_SCREENS) == []


def test_axe_would_find_something(site: str, browser: Browser, publication: Any) -> None:
    """Without its label, and too pale, the form has violations: the check can fail."""
    page = browser.new_page()
    page.goto(f"{site}/field-notes/")
    page.evaluate(AXE_SCRIPT)
    assert page.evaluate(AXE) == []
    page.evaluate(
        "document.querySelector('label[for=email]').remove();"
        "document.querySelector('h1').style.color = '#ddd'"
    )
    found = {fault.split(":")[0] for fault in page.evaluate(AXE)}
    page.close()
    assert {"label", "color-contrast"} <= found
