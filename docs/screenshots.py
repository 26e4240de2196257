"""Makes the pictures of the README: python docs/screenshots.py [FOLDER]

A throw-away installation with the demo's articles is set up on loopback, visited in Chromium as a
reader visits it, and photographed. Needs pip install '.[dev]' and a Chromium on the PATH.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, sync_playwright

from newsletter import fetch, store
from newsletter.cli.demo.stage import Stage, raised
from newsletter.cli.demo.visitor import Visitor, press, sign_up
from newsletter.digests import approve, articles, compose
from newsletter.digests.arrange import AUTO
from newsletter.digests.freeze import fill, greeting
from newsletter.digests.preview import frozen
from newsletter.links import Links
from newsletter.subscriptions import publications

# The demo's articles are of those days: the pictures say the same whenever they are made.
NOW = datetime(2026, 5, 11, 8, tzinfo=UTC)
READER = "ida@example.org"
THEMES = ("plain", "magazine")
ORDER = ("swifts", "bread", "tram", "wall", "mending")
OLDER = (
    ("Frost, and the names of apples", "Eleven trees that nobody planted, and what they are for."),
    ("The night train", "Twenty hours, four borders, one flask of tea."),
    ("A map of the rain", "Where it goes when it leaves your roof."),
)
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 48"><g fill="none"
stroke="#1f5f4a" stroke-width="2.4" stroke-linecap="round"><path d="M4 40c10-2 16-10 18-20 2 10 8
18 18 20M22 20V44M13 30c4 0 7 2 9 5M31 26c-4 0-7 2-9 5"/></g><circle cx="13" cy="27" r="3"
fill="#c25b3f"/><circle cx="32" cy="23" r="3" fill="#c25b3f"/><circle cx="22" cy="15" r="3"
fill="#c25b3f"/><text x="52" y="33" font-family="Georgia, serif" font-weight="700" font-size="20"
fill="#1f5f4a">The Hedgerow Letter</text></svg>"""
LOGO_URL = "https://hedgerow.example/logo.svg"
ALT = {
    "logo_url": LOGO_URL,
    "logo_alt": "The Hedgerow Letter",
    "logo_width": 256,
    "logo_height": 48,
}
ARABIC = """---
title: مساء عودة السمامات
url: https://hedgerow.example/ar
author: ليلى حداد
published: 2026-05-07
image: {pictures}/swifts.jpg
image_alt: سمامات فوق أسطح البيوت عند الغروب
summary: تزن أقل من بيضة دجاجة، وتنام وهي تطير، وقد وصلت للتو من الكونغو إلى الفتحة تحت سقفنا.
tags: [طبيعة]
---

في السابع من مايو، عند الثامنة وعشر دقائق مساء، رفع الجار رأسه وقال كلمة أضحكت الأطفال.
"""


@dataclass(frozen=True)
class Shot:
    """A picture to be taken. page, letter: the name of one of them. height: cut off below it.

    shown: how wide it stands on its board. fill: a script that fills in the page's first form,
    which is then sent.
    """

    page: str = ""
    letter: str = ""
    scheme: Any = "light"
    width: int = 1000
    height: int = 1150
    shown: int = 480
    has_pictures: bool = True
    fill: str = ""


BOARD = 1080
# The colours of the letters' pictures make a PNG four times as large.
WEBP = """async data => {
    const image = new Image();
    image.src = "data:image/png;base64," + data;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.9);
}"""
TABLE = """<style>body { margin: 0; padding: 20px; display: flex; flex-wrap: wrap; gap: 20px;
justify-content: center; align-items: start; background: #8d8a84 } img { border-radius: 10px }
</style>"""
PHONE: dict[str, Any] = {"width": 390, "height": 844, "shown": 245}


@dataclass(frozen=True)
class Scene:
    """What there is to photograph: letters as HTML and addresses of pages, by their names."""

    url: str
    letters: dict[str, str]
    paths: dict[str, str]


def letters(theme: str) -> list[Shot]:
    """A theme: desktop and phone, light and dark, without pictures, from right to left."""
    desk: dict[str, Any] = {"letter": theme, "width": 760, "height": 1240, "shown": 510}
    return [
        Shot(**desk),
        Shot(**desk, scheme="dark"),
        Shot(letter=theme, **PHONE),
        Shot(letter=theme, **PHONE, scheme="dark"),
        Shot(letter=theme, **PHONE, has_pictures=False),
        Shot(letter=f"{theme}, from right to left", **PHONE),
    ]


FILLED = "email.value = 'ida@example.org'; consent.checked = true"
# Each file, and the shots that stand on it.
BOARDS: dict[str, list[Shot]] = {
    "signup": [Shot(page="signup", height=1040, shown=700)],
    "digest": [Shot(letter="magazine", width=760, height=790, shown=560)],
    "pages": [
        Shot(page="digest", height=1240, shown=510),
        Shot(page="preferences", height=1240, shown=510, scheme="dark"),
        Shot(page="signup", **PHONE, fill="email.value = 'ida@example'"),
        Shot(page="signup", **PHONE, fill=FILLED),
        Shot(page="confirm", **PHONE, scheme="dark"),
        Shot(page="archive", **PHONE),
    ],
    "plain": letters("plain"),
    "magazine": letters("magazine"),
}


@contextmanager
def scene() -> Iterator[Scene]:
    """An installation with a publication, a reader, and digests that went out."""
    with tempfile.TemporaryDirectory() as folder, raised(Path(folder)) as stage:
        with store.transaction(stage.engine) as session:
            publication = publications.create(
                session,
                slug="hedgerow",
                title="The Hedgerow Letter",
                from_="The Hedgerow Letter <letter@hedgerow.example>",
                privacy_url=f"{stage.site.url}/privacy",
                postal_address="3 Orchard Lane\nLittleton",
                description="Small things that hold: nature, crafts and cities, every other week.",
                now=NOW - timedelta(days=200),
                **ALT,
            )
            digest = _digest(session, stage, publication)
            letters = _letters(session, stage, digest)
            for place, (subject, line) in enumerate(OLDER):
                at = NOW - timedelta(days=14 * (place + 1))
                ids = [entry.article_id for entry in digest.entries][:1]
                older = compose.new(
                    session, publication, subject=subject, preheader=line, article_ids=ids, now=at
                )
                _send(session, stage, older, at)
            _send(session, stage, digest, NOW)
            name = digest.public_id
        yield Scene(stage.base_url, letters, _paths(stage, name))


def _digest(session: Any, stage: Stage, publication: store.Publication) -> store.Digest:
    known = {}
    for address in stage.site.sources():
        name = address.rsplit("/", 1)[1].removesuffix(".md")
        source = fetch.get(address, allow_private=True).body.decode()
        read = articles.read(source, origin=address)
        known[name] = articles.save(session, read, now=NOW)[0]
    session.flush()
    ids = [known[name].id for name in ORDER]
    arrangement = compose.Arrangement(lead=AUTO, sections=[("By hand", ids[3:])])
    return compose.new(
        session,
        publication,
        subject="Swifts, a loaf that waits, and the last tram",
        intro="Dear readers, the windows are open again. This time: **lodgers** that come late, "
        "bread that needs no one, and a wall without glue.",
        outro="Until the next one. If you answer this mail, we read it.",
        article_ids=ids,
        arrangement=arrangement,
        now=NOW,
    )


def _letters(session: Any, stage: Stage, digest: store.Digest) -> dict[str, str]:
    """The letter in each theme, and one from right to left, which is not kept."""
    found = {theme: _html(session, stage, digest, theme) for theme in THEMES}
    aside = session.begin_nested()
    publication = publications.create(
        session,
        slug="siyaj",
        title="رسالة السياج",
        from_="السياج <letter@siyaj.example>",
        privacy_url=f"{stage.site.url}/privacy",
        postal_address="٣ شارع البستان، القاهرة",
        accent_color="#a8461f",
        language="ar",
        now=NOW,
    )
    read = articles.read(ARABIC.format(pictures=stage.site.pictures), origin="ar.md")
    article = articles.save(session, read, now=NOW)[0]
    session.flush()
    arabic = compose.new(
        session,
        publication,
        subject="السمامات، ورغيف ينتظر، والترام الأخير",
        intro="قراءنا الأعزاء، النوافذ مفتوحة من جديد.",
        article_ids=[article.id],
        length="teaser",
        now=NOW,
    )
    for theme in THEMES:
        found[f"{theme}, from right to left"] = _html(session, stage, arabic, theme)
    aside.rollback()
    return found


def _html(session: Any, stage: Stage, digest: store.Digest, theme: str) -> str:
    made = frozen(session, digest, base_url=stage.base_url, theme=theme)
    language = made["content"]["language"]
    values = {
        "name": "Ida",
        "greeting": greeting("Ida", language),
        "address": READER,
        "unsubscribe_url": stage.base_url,
        "preferences_url": stage.base_url,
    }
    return fill(made, values).html


def _send(session: Any, stage: Stage, digest: store.Digest, at: datetime) -> None:
    approve.approve(session, digest, base_url=stage.base_url, now=at)
    digest.start()
    digest.queued_at = at
    digest.finish(at)


def _paths(stage: Stage, name: str) -> dict[str, str]:
    """Where each page is. Ida signs up and confirms; somebody else is about to."""
    form = f"{stage.base_url}/hedgerow/"
    for address in (READER, "osei@example.net"):
        sign_up(form, Visitor(address, "Ida"))
    links = Links(stage.base_url, tuple(stage.settings.all_secret_keys))
    with store.reading(stage.engine) as session:
        mails = [each.public_id for each in session.query(store.Delivery).order_by("id")]
        ida = (
            session.query(store.Subscription).join(store.Subscriber).filter_by(address=READER).one()
        )
        own, left = ida.subscriber.public_id, ida.public_id
    now = datetime.now(UTC)
    press(links.url("confirm", mails[0], at=now), 0)
    return {
        "signup": form,
        "archive": f"{form}archive/",
        "digest": f"{form}archive/{name}",
        "confirm": links.url("confirm", mails[1], at=now),
        "preferences": links.url("preferences", own, at=now),
        "leave": links.url("unsubscribe", left, at=now),
    }


def take(browser: Browser, seen: Scene, shot: Shot) -> bytes:
    """The picture, as PNG."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        device_scale_factor=min(2, 2 * shot.shown / shot.width),
    )
    if shot.has_pictures:
        context.route(LOGO_URL, lambda it: it.fulfill(body=LOGO, content_type="image/svg+xml"))
    else:
        context.route(re.compile(r"\.(jpg|svg)$"), lambda it: it.abort())
    page = context.new_page()
    if shot.letter:
        page.set_content(seen.letters[shot.letter])
    else:
        page.goto(seen.paths[shot.page])
    if shot.fill:
        page.evaluate(shot.fill)
        with page.expect_navigation():
            page.evaluate("document.forms[0].noValidate = true, document.forms[0].requestSubmit()")
    page.wait_for_load_state("networkidle")
    taken = page.screenshot()
    context.close()
    return taken


def board(browser: Browser, seen: Scene, shots: list[Shot]) -> bytes:
    """The shots side by side on a grey table; one alone without it."""
    if len(shots) == 1:
        return take(browser, seen, shots[0])
    figures = ""
    for shot in shots:
        data = base64.b64encode(take(browser, seen, shot)).decode()
        figures += f'<img width="{shot.shown}" src="data:image/png;base64,{data}">'
    page = browser.new_page(viewport={"width": BOARD, "height": 100}, device_scale_factor=1.25)
    page.set_content(TABLE + figures)
    taken = page.screenshot(full_page=True)
    page.close()
    return taken


def smaller(browser: Browser, png: bytes) -> bytes:
    """The same picture as WebP."""
    page = browser.new_page()
    url = page.evaluate(WEBP, base64.b64encode(png).decode())
    page.close()
    return base64.b64decode(url.partition(",")[2])


def make(folder: Path) -> None:
    """Write a picture for each of BOARDS into `folder`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with scene() as seen, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for name, shots in BOARDS.items():
            picture = smaller(browser, board(browser, seen, shots))
            (folder / f"{name}.webp").write_bytes(picture)
        browser.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
