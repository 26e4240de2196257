"""Letters in a real browser: narrow and wide, light and dark, either direction, pictures blocked.

What a browser shows is not what every mail program does, but Apple's and the web's come near it;
what they would drop is left out by the tests that say so.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lettering import CHROMIUM, EVERYTHING, LOGO, THEMES, letter, opened, pictured

from newsletter.mail.colors import contrast

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
]

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
HARD = replace(
    EVERYTHING,
    subject=LONG,
    pieces=(
        pictured(LONG, author=LONG, tags=(LONG,), image_credit=LONG, section=LONG),
        pictured(f"https://example.org/{'segment/' * 20}"),
        pictured("🌲" * 60, summary=f"See https://example.org/{'x' * 300} there."),
        pictured(
            "Whole",
            body=f"`{'identifier_' * 20}`\n\n    {'code ' * 60}\n\n"
            f"|{'a|' * 12}\n|{'-|' * 12}\n|{(LONG + '|') * 12}\n\n"
            f"![{LONG}](https://a.example/w.png)\n\n> > > - {LONG}\n",
        ),
    ),
)


def without_media(document: str) -> str:
    """As programs show it that read no style element."""
    return re.sub(r"<style>.*?</style>", "", document, flags=re.DOTALL)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [320, 700])
def test_nothing_scrolls_sideways(browser: Browser, theme: str, width: int) -> None:
    """With the longest words and addresses, with and without media queries (WCAG 1.4.10)."""
    document = letter(HARD, theme, **LOGO).html
    for source in (document, without_media(document)):
        with opened(browser, source, width) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            wide = page.evaluate(
                "() => [...document.querySelectorAll('h1, h2, p, img, td, li')].filter(e => "
                "!e.closest('.prose table') && e.getBoundingClientRect().right > innerWidth)"
                ".map(e => e.outerHTML.slice(0, 100))"
            )
            assert wide == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read(browser: Browser, theme: str, scheme: str) -> None:
    """Each piece of text has 4.5 to 1 on what is behind it (WCAG 1.4.3), whatever the accent."""
    for accent in ("#1f5f4a", "#ffd400", "#0000ff"):
        document = letter(theme=theme, accent_color=accent).html
        with opened(browser, document, scheme=scheme) as page:
            pairs = page.evaluate(PAIRS)
        assert len(pairs) > 30
        low = [each for each in pairs if contrast(_hex(each[1]), _hex(each[2])) < 4.5]
        assert low == []


# Each text that is seen, its colour, and the nearest ground behind it.
PAIRS = """() => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode, holder = node.parentElement;
        if (!node.data.trim() || !holder.getClientRects().length) continue;
        const ground = e => getComputedStyle(e).backgroundColor;
        let behind = holder;
        while (ground(behind).startsWith("rgba(0, 0, 0, 0")) behind = behind.parentElement;
        found.push([node.data.trim().slice(0, 30), getComputedStyle(holder).color, ground(behind)]);
    }
    return found;
}"""


def _hex(color: str) -> str:
    red, green, blue = (int(part) for part in re.findall(r"\d+", color)[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


@pytest.mark.parametrize("theme", THEMES)
def test_dark_is_dark(browser: Browser, theme: str) -> None:
    """The ground is, and a logo stands on a light plate."""
    with opened(browser, letter(theme=theme, **LOGO).html, scheme="dark") as page:
        grounds = page.evaluate(
            "['body', '.card', '.logo'].map(s => "
            "getComputedStyle(document.querySelector(s)).backgroundColor)"
        )
    body, card, logo = (contrast(_hex(color), "#000000") for color in grounds)
    assert body < 1.3 and card < 1.3 and logo > 15


def test_cards_stand_below_each_other_on_a_phone(browser: Browser) -> None:
    """And beside each other where there is room, whichever side the language begins at."""
    places = """() => [...document.querySelectorAll('.half')].map(e => {
        const box = e.getBoundingClientRect(); return [box.left, box.top] })"""
    for language, sign in (("en", 1), ("ar", -1)):
        document = letter(replace(EVERYTHING, language=language), "magazine").html
        with opened(browser, document, 700) as page:
            one, other = page.evaluate(places)
            assert one[1] == other[1] and (other[0] - one[0]) * sign > 250
        with opened(browser, document, 360) as page:
            one, other = page.evaluate(places)
            assert one[0] == other[0] and other[1] > one[1] + 100
        # Also where media queries are dropped, as some of Gmail's programs do.
        with opened(browser, without_media(document), 360) as page:
            one, other = page.evaluate(places)
            assert other[1] > one[1] + 100


@pytest.mark.parametrize("theme", THEMES)
def test_blocked_pictures_leave_their_words(browser: Browser, theme: str) -> None:
    """In the letter's own type and colour, and no taller than the picture would be."""
    with opened(browser, letter(theme=theme).html, loads=False) as page:
        image = page.locator("img.picture").first
        assert image.evaluate("e => getComputedStyle(e).fontSize") == "16px"
        assert image.evaluate("e => getComputedStyle(e).color") in (
            "rgb(96, 92, 84)",
            "rgb(98, 94, 86)",
        )
        box = image.bounding_box()
        assert box is not None and box["height"] <= 361


def test_what_is_pressed_is_large_enough(browser: Browser) -> None:
    """The button is as high as a finger, and as wide as a phone (WCAG 2.5.8)."""
    with opened(browser, letter(theme="magazine").html, 360) as page:
        box = page.locator(".button a").bounding_box()
    assert box is not None and box["height"] >= 44 and box["width"] >= 310


NUMBERED = "9. a\n10. b\n\nThen\n\n99. c\n100. d\n\nThen\n\n1986. A great year.\n"
# For each list of numbers, how far the last one stands out of the letter's text, in pixels; and
# whether anything around it cuts off what stands out.
NUMBERS = """() => [...document.querySelectorAll('.prose ol')].map(list => {
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = getComputedStyle(list).font;
    const number = `${list.start + list.children.length - 1}. `;
    const left = e => e.getBoundingClientRect().left;
    const room = left(list) - left(list.parentElement);
    let cut = false;
    for (let e = list; e !== document.body; e = e.parentElement)
        cut = cut || getComputedStyle(e).overflowX !== 'visible';
    return [pen.measureText(number).width - room, cut];
})"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [320, 700])
def test_numbers_of_lists_are_whole(browser: Browser, theme: str, width: int) -> None:
    """Also where a list begins at 1986: they have room beside the items, and nothing cuts them."""
    content = replace(EVERYTHING, pieces=(pictured("Lists", body=NUMBERED),))
    with opened(browser, letter(content, theme).html, width) as page:
        found = page.evaluate(NUMBERS)
    assert len(found) == 3
    assert [(out, cut) for out, cut in found if out > 0 or cut] == []


@pytest.mark.parametrize("theme", THEMES)
def test_words_in_tables_are_whole(browser: Browser, theme: str) -> None:
    """A table that is wider than the letter scrolls by itself; no word of it is broken."""
    words = ("Bezeichnung", "Anmerkungen", "Eigenschaft", "Beschreibung", "Zusammenhang")
    row = f"|{'|'.join(words)}|\n"
    content = replace(EVERYTHING, pieces=(pictured("T", body=f"{row}|{'-|' * 5}\n{row}"),))
    document = letter(content, theme).html
    for source in (document, without_media(document)):
        with opened(browser, source, 360) as page:
            heights = page.evaluate(
                "[...document.querySelectorAll('.prose td')].map(e => e.clientHeight)"
            )
            assert len(heights) == 5 and max(heights) < 50
            box = page.locator(".scroll")
            assert box.evaluate("e => e.scrollWidth > e.clientWidth")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360


# How far the foot of the first one is above the head of the other, in pixels.
GAP = """([one, other]) => document.querySelector(other).getBoundingClientRect().top
    - document.querySelector(one).getBoundingClientRect().bottom"""


@pytest.mark.parametrize("theme", THEMES)
def test_code_stands_by_itself(browser: Browser, theme: str) -> None:
    """There is as much room above and below its ground as around a quote."""
    body = "Before.\n\n    code\n\nBetween.\n\n> A quote\n\nAfter.\n"
    content = replace(EVERYTHING, pieces=(pictured("Code", body=body),))
    with opened(browser, letter(content, theme).html) as page:
        around = ((".prose > p:has(+ .set)", ".code"), (".code", ".prose > .set + p"))
        gaps = [page.evaluate(GAP, pair) for pair in around]
        quote = page.evaluate(GAP, [".prose > .set + p", ".prose blockquote"])
    assert gaps == [22, 22] and quote == 22


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    "body", ["<p>Text</p>", "Text", "<div>Text</div>", "<ul><li>Text</li></ul>"]
)
@pytest.mark.parametrize("is_full", [True, False])
def test_the_way_on_stands_below_the_text(
    browser: Browser, theme: str, body: str, is_full: bool
) -> None:
    """As far below, whether the text ends in a paragraph or not."""
    one = pictured("Oaks", full=is_full, body_html=body, summary_html=body)
    with opened(browser, letter(replace(EVERYTHING, pieces=(one,)), theme).html) as page:
        is_lead = theme == "magazine" and not is_full
        foot = page.evaluate(
            """() => { const range = document.createRange();
            const text = document.querySelectorAll('.prose')[1];
            range.selectNodeContents(text); return range.getBoundingClientRect().bottom }"""
        )
        head = page.locator(".button" if is_lead else ".on").first.bounding_box()
    assert head is not None and 17 <= head["y"] - foot <= 25
