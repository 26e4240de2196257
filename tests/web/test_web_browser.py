"""The pages in a real browser: narrow and wide, light and dark, by keyboard, without scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from newsletter import store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_kind", ["sqlite"])]


@pytest.fixture
def pages(
    reader: store.Subscription,
    digest: store.Digest,
    publish: Callable[..., store.Digest],
    sign_up: Any,
    confirm_path: Callable[..., str],
    path: Callable[..., str],
) -> list[str]:
    """A page of each kind."""
    sign_up("somebody.with.a.very.long.address.indeed@a-long-domain-name.example.net")
    return [
        "/",
        "/field-notes/embed",
        "/field-notes/archive/",
        f"/field-notes/archive/{digest.public_id}",
        f"/field-notes/archive/{publish(language='ar').public_id}",
        confirm_path("somebody.with.a.very.long.address.indeed@a-long-domain-name.example.net"),
        path("unsubscribe", reader.public_id),
        path("preferences", reader.subscriber.public_id),
        path("access", reader.subscriber.public_id),
        "/no/such/page",
    ]


# WCAG 2.2, 2.5.8: what is pressed is at least 24 by 24, but for links within a text.
SMALL = """() => [...document.querySelectorAll("button, input, select, .button, nav a")]
    .filter(e => e.type !== "hidden" && !e.closest(".away, [aria-hidden]"))
    .map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
    .filter(([_, box]) => box.width < 24 || box.height < 24)
    .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""
# Two of a form that a thumb could press together, since less than 8 pixels are between them.
TOUCHING = """() => [...document.querySelectorAll("button + button")]
    .map(e => [e, e.getBoundingClientRect(), e.previousElementSibling.getBoundingClientRect()])
    .filter(([_, own, other]) => own.top - other.bottom < 8 && own.left - other.right < 8)
    .map(([e]) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(site: str, browser: Browser, pages: list[str], scheme: Any) -> None:
    """At 320 pixels nothing scrolls sideways (WCAG 1.4.10), targets are large, no policy breaks."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 320, "height": 640})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for address in pages:
        page.goto(site + address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 320, address
        assert page.evaluate(SMALL) == [], address
        assert page.evaluate(TOUCHING) == [], address
    assert [text for text in said if "Security Policy" in text] == []
    assert context.cookies() == []
    context.close()


def test_signing_up_by_keyboard(site: str, browser: Browser, publication: Any, mails: Any) -> None:
    """Tab, type, space, enter; a fault takes the focus to its summary. JavaScript is off."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site)
    page.keyboard.press("Tab")
    assert page.locator(".skip").is_visible()
    page.locator("#email").focus()
    page.keyboard.type("ada@example")
    page.keyboard.press("Enter")
    page.wait_for_selector(".summary")
    assert page.locator("#email").input_value() == "ada@example"
    page.locator("#email").focus()
    page.keyboard.press("End")
    page.keyboard.type(".net")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Thanks for signing up!')")
    assert len(mails("ada@example.net")) == 1
    context.close()


def test_a_fault_takes_the_focus(site: str, browser: Browser, publication: Any) -> None:
    """A screen reader begins with what is wrong."""
    page: Page = browser.new_page()
    page.goto(site)
    page.locator("button[type=submit]").click()
    page.wait_for_selector(".summary")
    assert page.evaluate("document.activeElement.className") == "summary"
    page.close()


DRAWN = '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="120"/>'


def test_a_digest_looks_like_its_letter(
    site: str, browser: Browser, publish: Callable[..., store.Digest]
) -> None:
    """Small pictures stay small, what is marked can be read in the dark, terms are bold, and
    a long line of code is there without scrolling."""
    body = f"<p><mark>marked</mark></p><dl><dt>Term</dt><dd>x</dd></dl><pre>{'word ' * 60}</pre>"
    picture = {"image": "https://pictures.example/s.svg", "image_width": 160, "image_height": 120}
    made = publish(pieces=[{"title": "T", "tags": [], "full": True, "body_html": body, **picture}])
    page = browser.new_page(color_scheme="dark", viewport={"width": 900, "height": 800})
    page.route("https://**", lambda it: it.fulfill(body=DRAWN, content_type="image/svg+xml"))
    page.goto(f"{site}/field-notes/archive/{made.public_id}")
    assert page.locator("figure img").bounding_box()["width"] == 160  # type: ignore[index]
    style = "(e, name) => getComputedStyle(e)[name]"
    assert page.locator("mark").evaluate(style, "backgroundColor") == "rgb(91, 74, 18)"
    assert page.locator("dt").evaluate(style, "fontWeight") == "700"
    assert page.locator("pre").evaluate("e => e.scrollWidth <= e.clientWidth")
    page.close()


def test_keys_and_texts_without_paragraphs_in_the_archive(
    site: str, browser: Browser, publish: Callable[..., store.Digest]
) -> None:
    """A key has an edge and equally wide letters; the way on has room above it all the same."""
    body = "Press <kbd>Ctrl</kbd>"
    url = "https://example.org/1"
    made = publish(pieces=[{"title": "T", "tags": [], "full": True, "body_html": body, "url": url}])
    page = browser.new_page()
    page.goto(f"{site}/field-notes/archive/{made.public_id}")
    style = page.locator("kbd").evaluate(
        "e => [getComputedStyle(e).borderLeftWidth, getComputedStyle(e).fontFamily]"
    )
    gap = page.evaluate(
        "document.querySelector('.more').parentElement.getBoundingClientRect().top"
        " - document.querySelector('kbd').closest('.prose').getBoundingClientRect().bottom"
    )
    page.close()
    assert style[0] == "1px" and "monospace" in style[1]
    assert gap >= 16
