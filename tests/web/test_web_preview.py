"""The preview of a digest: what its switches show, that it follows changes, that nothing runs."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.digests import approve, articles, compose
from newsletter.digests.check.document import Document
from newsletter.resources import resource_dir
from newsletter.web import make_server
from newsletter.web.preview import address_of, create_app
from newsletter.web.preview_letter import in_scheme

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

SWIFTS = """---
title: When the swifts come
url: https://example.org/swifts
image: https://example.org/swifts.jpg
image_width: 1200
image_height: 800
image_alt: Three swifts above a roof
---
They are back in the first week of May. *Nobody* hears them come.
"""
EVIL = (
    """---
title: "<script>document.title='owned'</script>"
author: "<img src=x onerror=document.title='owned'>"
image_alt: '" onload="document.title=1'
image: https://example.org/a.jpg
---
<script>parent.document.title='owned'</script><img src=x onerror="parent.document.title='owned'">
<svg onload="parent.document.title='owned'"><a href="javascript:parent.document.title='owned'">x</a>
[tempting](javascript:parent.document.title='owned') <style>@import url(/mark);</style>
<form action="/"><button>Press</button></form><iframe src="/"></iframe><base href="//evil.example">
</td></tr></table></body><script>top.document.title='owned'</script>

"""
    + "<div>" * 200
)


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """The operator's own templates; empty."""
    made = tmp_path / "templates"
    made.mkdir()
    return made


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"templates_folder": str(tmp_path / "templates")})


@pytest.fixture
def draft(engine: Engine, publication: store.Publication, now: datetime) -> Callable[..., int]:
    """A draft of these articles; its number."""

    def make(*sources: str, subject: str = "The wood in March") -> int:
        with store.transaction(engine) as session:
            kept = session.merge(publication, load=False)
            read = [articles.read(each, origin="a.md") for each in sources]
            numbers = [articles.save(session, each, now=now)[0].id for each in read]
            return compose.new(
                session,
                kept,
                subject=subject,
                intro="Dear readers, here it is.",
                article_ids=numbers,
                length="full",
                now=now,
            ).id

    return make


class Preview:
    """The preview as an app that a test asks."""

    def __init__(self, settings: Settings, engine: Engine, number: int) -> None:
        self.app = create_app(settings, engine, number, token="t")
        self.client: FlaskClient = self.app.test_client(use_cookies=False)

    def get(self, path: str = "", host: str = "127.0.0.1:4711") -> Any:
        return self.client.get(f"/t/{path}", base_url=f"http://{host}", buffered=True)


@pytest.fixture
def preview(settings: Settings, engine: Engine, folder: Path, draft: Callable[..., int]) -> Preview:
    return Preview(settings, engine, draft(SWIFTS))


def test_the_parts_of_the_mail(preview: Preview) -> None:
    """The letter in its frame, text, source with its lines, headers, and what the gate finds."""
    page = preview.get().text
    assert '<iframe title="The letter" src="letter?"' in page
    assert "When the swifts come" in preview.get("letter").text
    assert "They are back in the first week of May." in preview.get("?view=text").text
    source = preview.get("?view=source").text
    assert '<li id="L1"><code>&lt;!DOCTYPE html&gt;' in source
    headers = preview.get("?view=headers").text
    assert "List-Unsubscribe=One-Click" in headers
    assert "Field Notes &lt;notes@example.org&gt;" in headers
    assert "Fit to be sent: 0 errors" in preview.get("?view=check").text


def test_each_theme(preview: Preview) -> None:
    """The publication's own at first; another one when it is chosen, and none that there is not."""
    plain, magazine = (preview.get(f"letter?theme={each}").text for each in ("plain", "magazine"))
    assert 'class="masthead"' in plain
    assert plain.count("<h1") == magazine.count("<h1") == 1
    looks = [
        re.sub(r"/(unsubscribe|preferences)/[^\"]+", "", each)
        for each in (plain, magazine, preview.get("letter").text)
    ]
    assert looks[2] == looks[0] != looks[1]
    assert preview.get("letter?theme=../plain").status_code == 200
    assert "theme=magazine" in preview.get().text


def test_as_any_reader(
    preview: Preview, engine: Engine, publication: store.Publication, make_reader: Any
) -> None:
    """With a name, without, with very long ones, and as somebody on the list."""
    with store.transaction(engine) as session:
        kept = session.merge(publication, load=False)
        make_reader(session, kept, "grace@example.net", name="Grace")
    assert "Hello Ada Lovelace," in preview.get("letter").text
    assert "Hello," in preview.get("letter?reader=unnamed").text
    assert "Wolfeschlegelsteinhausenbergerdorff" in preview.get("letter?reader=long").text
    shown = preview.get("letter?reader=GRACE@example.net").text
    assert "Hello Grace," in shown
    assert "grace@example.net" in shown
    assert "nobody@example.net is not on the list" in preview.get("?reader=nobody@example.net").text
    assert preview.get("?reader=a@b@c").status_code == 200


def test_nobody_is_named_by_its_links(
    preview: Preview, reader: store.Subscription, app: Any, dump: Callable[[], Any]
) -> None:
    """Whoever follows the personal links out of a preview, as anybody, changes nothing."""
    shown = preview.get(f"letter?reader={reader.subscriber.address}").text
    links = re.findall(r"https://news\.example\.org(/(?:unsubscribe|preferences)/[\w.-]+)", shown)
    assert len(set(links)) == 2
    before = dump()
    for link in links:
        app.test_client().post(link, buffered=True)
    assert dump() == before


def test_it_is_for_this_machine_alone(preview: Preview) -> None:
    """Another host's name, another token and other methods get nothing; nothing is stored."""
    assert preview.get(host="evil.example").status_code == 400
    assert preview.get(host="localhost:1").status_code == 200
    assert preview.client.get("/", base_url="http://127.0.0.1").status_code == 404
    assert preview.client.get("/other/", base_url="http://127.0.0.1").status_code == 404
    assert preview.client.post("/t/", base_url="http://127.0.0.1").status_code == 405
    for path in ("", "letter", "mark", "static/preview.js"):
        answer = preview.get(path)
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache"), path
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_address_cannot_be_guessed(settings: Settings, engine: Engine) -> None:
    """Each start has its own, of at least 128 random bits."""
    one, other = (address_of(create_app(settings, engine, 1), "http://h") for _ in range(2))
    assert one != other
    assert len(one.split("/")[-2]) >= 22


def test_the_letter_runs_nothing(preview: Preview) -> None:
    """Its policy knows no script, form, frame or font, and its frame's sandbox none either."""
    policy = preview.get("letter").headers["Content-Security-Policy"]
    assert "script-src" not in policy
    assert "allow-scripts" not in policy
    assert "img-src https: http:" in policy
    sandbox = re.search(r'sandbox="([^"]*)"', preview.get().text)
    assert sandbox
    assert not {"allow-scripts", "allow-forms", "allow-top-navigation"} & set(sandbox[1].split())
    blocked = preview.get("letter?pictures=off").headers["Content-Security-Policy"]
    assert "img-src 'none'" in blocked


def test_the_mark_follows_everything(
    preview: Preview, engine: Engine, folder: Path, publication: store.Publication
) -> None:
    """It changes with an article, the digest, the publication and a template, and only then."""
    marks = [preview.get("mark").text]
    assert preview.get("mark").text == marks[0]
    with store.transaction(engine) as session:
        articles.find(session, 1).title = "When the swifts left"
    marks.append(preview.get("mark").text)
    with store.transaction(engine) as session:
        session.get_one(store.Digest, 1).subject = "The wood in April"
    marks.append(preview.get("mark").text)
    with store.transaction(engine) as session:
        session.get_one(store.Publication, publication.id).accent_color = "#aa0000"
    marks.append(preview.get("mark").text)
    (folder / "digest").mkdir()
    (folder / "digest" / "subject.txt").write_text("New: {{ digest.subject }}")
    marks.append(preview.get("mark").text)
    assert len(set(marks)) == 5
    assert "New: The wood in April" in preview.get().text


def test_a_broken_template_is_waited_for(preview: Preview, folder: Path) -> None:
    """The page says what is wrong with it and where, and shows the letter when it is mended."""
    (folder / "digest").mkdir()
    broken = folder / "digest" / "body.html"
    broken.write_text("{% if %}")
    page = preview.get()
    assert page.status_code == 200
    assert "The letter cannot be written" in page.text
    assert "digest/body.html, line 1" in page.text
    assert preview.get("letter").status_code == 500
    broken.unlink()
    assert "<iframe" in preview.get().text


def test_what_was_approved_is_shown_as_it_was(
    preview: Preview, engine: Engine, settings: Settings, now: datetime
) -> None:
    """Neither an article nor a template changes it; another theme is shown as a try."""
    with store.transaction(engine) as session:
        digest = session.get_one(store.Digest, 1)
        approve.approve(session, digest, base_url=settings.base_url, now=now)
        articles.find(session, 1).title = "Changed"
    assert "When the swifts come" in preview.get("letter").text
    assert "as it was approved" in preview.get().text
    assert "in another theme" in preview.get("?theme=magazine").text


def test_a_digest_that_is_gone(settings: Settings, engine: Engine) -> None:
    """The page says so."""
    answer = Preview(settings, engine, 99).get()
    assert (answer.status_code, answer.text) == (404, "There is no digest 99 any more.")


def test_dark_or_light_whatever_the_browser_wants(database_kind: str) -> None:
    """The media query becomes true or false; words about it in an article stay as they are."""
    html = (
        "<head><style>@media (prefers-color-scheme: dark) { a { color: #ffffff } }</style></head>"
        "<p>Write (prefers-color-scheme: dark).</p>"
    )
    dark, light = in_scheme(html, "dark"), in_scheme(html, "light")
    assert "@media (min-width: 0px)" in dark
    assert "@media (max-width: 0px)" in light
    assert "color-scheme: dark !important" in dark
    assert all("Write (prefers-color-scheme: dark)." in each for each in (dark, light))


def test_a_hostile_article_is_harmless_and_quick(
    settings: Settings, engine: Engine, folder: Path, draft: Callable[..., int]
) -> None:
    """All views of it within a second; none of it is an element of the page around."""
    evil = Preview(settings, engine, draft(EVIL, subject="<script>alert(1)</script>"))
    begin = time.thread_time()
    shown = [evil.get(f"?view={view}").text for view in ("text", "source", "headers", "check")]
    letter = evil.get("letter").text
    assert time.thread_time() - begin < 1
    for page in [evil.get().text, *shown]:
        assert len(re.findall(r"<script\b", page)) == 1  # our own
    elements = Document(letter).elements
    assert not {"script", "svg", "form", "iframe", "button"} & {each.name for each in elements}
    for element in elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        assert "javascript:" not in element.attributes.get("href", "")


# In Chromium.


@pytest.fixture
def shown_at(settings: Settings, engine: Engine, folder: Path) -> Iterator[Callable[[int], str]]:
    """The preview of a digest on a real port; its address."""
    running: list[tuple[Any, threading.Thread]] = []

    def serve(number: int) -> str:
        app = create_app(settings, engine, number)
        server = make_server(app, "127.0.0.1", 0, threads=4)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        return address_of(app, server.url)

    yield serve
    for server, thread in running:
        server.close()
        thread.join(20)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on a desktop that prefers light, with what it says kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    # No picture is asked of the world.
    context.route(re.compile("^https://"), lambda route: route.abort())
    page = context.new_page()
    yield page
    context.close()


GROUND = "getComputedStyle(document.body).backgroundColor"


def inside(page: Page) -> Any:
    """The letter's own frame."""
    page.wait_for_selector("iframe")
    frame = page.frames[1]
    frame.wait_for_selector("h1, h2")
    return frame


@in_a_browser
@pytest.mark.browser
def test_the_switches(
    page: Page, shown_at: Callable[[int], str], draft: Callable[..., int]
) -> None:
    """Dark and light, phone and desktop, pictures or their words, and each theme, by a click."""
    page.goto(shown_at(draft(SWIFTS)))
    light = inside(page).evaluate(GROUND)
    for width in (1100, 700, 1280):  # a label stands beside its switch, wherever lines break
        page.set_viewport_size({"width": width, "height": 800})
        label, switch = page.locator(".labelled > *").all()
        assert abs(label.bounding_box()["y"] - switch.bounding_box()["y"]) < 20
    assert page.locator("iframe").bounding_box()["width"] == 1280
    page.get_by_role("link", name="Dark").click()
    dark = inside(page).evaluate(GROUND)
    assert dark != light
    assert inside(page).evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is False
    page.get_by_role("link", name="Phone").click()
    assert inside(page).evaluate("innerWidth") == 375
    assert inside(page).evaluate(GROUND) == dark
    page.get_by_role("link", name="Light").click()
    assert inside(page).evaluate(GROUND) == light
    page.get_by_role("link", name="Magazine").click()
    assert inside(page).evaluate(GROUND) != light
    page.get_by_role("link", name="Blocked").click()
    assert inside(page).locator("img").first.evaluate("e => e.naturalWidth") == 0
    page.get_by_role("link", name="Text", exact=True).click()
    assert "They are back" in page.locator("pre.text").inner_text()
    page.get_by_label("or one of the list").fill("grace@example.net")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("status").inner_text() == "grace@example.net is not on the list."
    assert "theme=magazine" in page.url


@in_a_browser
@pytest.mark.browser
def test_it_is_shown_anew_where_it_was(
    page: Page,
    shown_at: Callable[[int], str],
    draft: Callable[..., int],
    engine: Engine,
    folder: Path,
) -> None:
    """An edited article and an edited template appear by themselves; the letter stays scrolled."""
    page.goto(shown_at(draft(SWIFTS + "\n\nMore of it." * 40)))
    inside(page).evaluate("scrollTo(0, 500)")
    with store.transaction(engine) as session:
        articles.find(session, 1).title = "When the swifts left"
    page.frame_locator("iframe").get_by_text("When the swifts left").first.wait_for(timeout=15_000)
    page.wait_for_function("document.querySelector('iframe').contentWindow.scrollY === 500")
    shipped = resource_dir("templates") / "mail" / "_layout" / "reader.html"
    (folder / "_layout").mkdir()
    own = folder / "_layout" / "reader.html"
    own.write_text(f"<p>Our own words.</p>{shipped.read_text(encoding='utf-8')}")
    page.frame_locator("iframe").get_by_text("Our own words.").wait_for(timeout=15_000)
    own.write_text("{% if %}")
    page.get_by_role("alert").wait_for(timeout=15_000)
    own.unlink()
    page.frame_locator("iframe").get_by_text("When the swifts left").first.wait_for(timeout=15_000)


# A template that would do all that can be done, if anything in the frame were done.
WICKED = """<!DOCTYPE html><html><head></head><body><h1>{{ digest.subject }}</h1>
<script>parent.document.title = 'owned'; document.title = 'owned'</script>
<img src="x" onerror="parent.document.title = 'owned'">
<a href="javascript:parent.document.title='owned'">Words</a>
<form action="https://evil.example/"><button>Press</button></form>
<iframe srcdoc="<script>top.document.title = 'owned'</script>"></iframe>
<meta http-equiv="refresh" content="0; url=/">
{{ digest.pieces[0].body_html|safe }} {{ links.unsubscribe_url }}</body></html>"""


@in_a_browser
@pytest.mark.browser
@pytest.mark.parametrize("template", [None, WICKED], ids=["article", "template"])
def test_nothing_of_a_hostile_letter_runs(
    page: Page,
    shown_at: Callable[[int], str],
    draft: Callable[..., int],
    folder: Path,
    template: str | None,
) -> None:
    """Not out of an article, and not even out of a template that sends scripts on purpose."""
    if template is not None:
        (folder / "digest").mkdir()
        (folder / "digest" / "body.html").write_text(template)
    address = shown_at(draft(EVIL))
    page.goto(address)
    frame = inside(page)
    there = frame.url
    for each in frame.locator("a, button").all():
        each.click(timeout=5000)
    page.wait_for_timeout(500)
    assert "owned" not in page.title()
    assert (page.url, page.frames[1].url) == (address, there)
    opened = [each.url for each in page.context.pages[1:]]
    assert not [url for url in opened if "javascript" in url or "127.0.0.1" in url]


@in_a_browser
@pytest.mark.browser
def test_it_works_without_its_script(
    browser: Browser, shown_at: Callable[[int], str], draft: Callable[..., int]
) -> None:
    """The switches are links: without JavaScript only the reloading is missing."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(shown_at(draft("# Just words\n\nOf an article.")))
    page.get_by_role("link", name="Headers").click()
    assert page.locator("table.headers").is_visible()
    context.close()
