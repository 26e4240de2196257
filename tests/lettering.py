"""What the tests of letters share: a digest with something of everything, in any theme."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from freezing import BASE, PUBLICATION

from newsletter.digests import markdown
from newsletter.digests.content import Content, Piece
from newsletter.digests.freeze import Frozen, freeze
from newsletter.mail.frozen import fill
from newsletter.mail.letters import Letter, Templates

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
THEMES = ("magazine", "plain")
READER = {
    "name": "Ada Lovelace",
    "greeting": "Hello Ada Lovelace,",
    "address": "ada@example.org",
    "unsubscribe_url": f"{BASE}/unsubscribe/1",
    "preferences_url": f"{BASE}/preferences/1",
}
LOGO = {"logo_url": "https://a.example/l.png", "logo_width": "240", "logo_height": "60"}


def piece(title: str = "Counting oaks", summary: str = "Each spring.", **over: Any) -> Piece:
    """A teaser; with `body`, an article that stands in the letter whole."""
    body = over.pop("body", "")
    values: dict[str, Any] = {
        "title": title,
        "url": f"https://fieldnotes.example.org/{title.lower()}",
        "summary_html": markdown.html(summary, base_url=None),
        "summary_text": markdown.text(summary, base_url=None),
        "body_html": markdown.html(body, base_url=None),
        "body_text": markdown.text(body, base_url=None),
        "full": bool(body),
    }
    return Piece(**{**values, **over})


def pictured(title: str, width: int | None = 1200, height: int | None = 800, **over: Any) -> Piece:
    """A teaser with a picture of this size."""
    picture = {
        "image": f"https://a.example/{title.lower()}.jpg",
        "image_alt": f"What {title} looks like",
        "image_credit": "Photo: Jane Doe",
        "image_width": width,
        "image_height": height,
    }
    return piece(title, **{**picture, **over})


EVERYTHING = Content(
    subject="The wood in March",
    preheader="Oaks and an owl.",
    intro_html="<p>It was <em>wet</em>.</p>",
    intro_text="It was wet.",
    outro_html="<p>Until April.</p>",
    outro_text="Until April.",
    pieces=(
        pictured("Oaks", 1600, 900, is_lead=True, author="Ada", published="2026-03-01"),
        pictured("Owl", section="Close to home", tags=("Birds",)),
        pictured("Mud", section="Close to home"),
        pictured("Hedge", 900, 1200, section="Close to home", image_alt=""),
        piece("Letters", section="In short"),
        piece("Walk", section="In short", body="Come.\n\n> A quote\n\n- one\n- two\n"),
    ),
)


def frozen(
    content: Content = EVERYTHING,
    theme: str = "plain",
    templates: Templates | None = None,
    **publication: str,
) -> Frozen:
    """A digest of `content` as its approval freezes it."""
    return freeze(
        content,
        {**PUBLICATION, "language": content.language, "theme": theme, **publication},
        archive_url=f"{BASE}/field-notes/archive/abc",
        templates=templates,
    )


def letter(
    content: Content = EVERYTHING,
    theme: str = "plain",
    templates: Templates | None = None,
    **publication: str,
) -> Letter:
    """What a reader gets of it."""
    return fill(frozen(content, theme, templates, **publication), READER)


def values(**publication: str) -> Mapping[str, Any]:
    """What a person's own letters are given."""
    return {
        "publication": {**PUBLICATION, **publication},
        "reader": {"name": "Ada", "address": READER["address"]},
        "links": {
            "confirm_url": f"{BASE}/confirm/1",
            "access_url": f"{BASE}/access/1",
            "archive_url": f"{BASE}/field-notes/archive/",
            "unsubscribe_url": READER["unsubscribe_url"],
            "preferences_url": READER["preferences_url"],
        },
        "good_for_days": 7,
        "good_for_minutes": 60,
    }


# A picture of one pixel: what counts is whether it was loaded.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def opened(
    browser: Browser, document: str, width: int = 700, scheme: Any = "light", loads: bool = True
) -> Page:
    """The document in a page of its own."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.route(
        "**/*",
        lambda route: (
            route.fulfill(body=PIXEL, content_type="image/png") if loads else route.abort()
        ),
    )
    page.set_content(document)
    return page
