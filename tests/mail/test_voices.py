"""Letters in which several languages stand: each begins on its side, and is read in its voice."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lettering import CHROMIUM, EVERYTHING, THEMES, frozen, letter, opened, pictured

from newsletter.mail.voices import Voices

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
]

BODY = "كلمة.\n\n> اقتباس\n\n- واحد\n- اثنان\n\n1. أول\n\n|اسم|عدد|\n|-|-:|\n|دقيق|500|\n"
ARABIC = pictured(
    "مساء عودة السمامات", body=BODY, language="ar", author="ليلى", published="2026-05-07"
)
ENGLISH = pictured("Oaks", body="A word.\n\n> Quoted\n\n- one\n", language="en", author="Ada")
SIDES = """title => {
    const heading = [...document.querySelectorAll('h1, h2, h3')].find(e => e.innerText === title);
    const text = heading.parentElement.querySelector('.prose');
    const of = (name, property) => {
        for (let e = text.querySelector(name); e !== text; e = e.parentElement) {
            if (parseFloat(getComputedStyle(e)[`${property}Left`])) return 'left';
            if (parseFloat(getComputedStyle(e)[`${property}Right`])) return 'right';
        }
    };
    const border = e => parseFloat(getComputedStyle(e).borderLeftWidth) ? 'left'
        : parseFloat(getComputedStyle(e).borderRightWidth) ? 'right' : '';
    const quote = text.querySelector('blockquote');
    return {
        lines: getComputedStyle(text.querySelector('p')).textAlign,
        bar: [quote, ...quote.querySelectorAll('td')].map(border).find(side => side),
        list: of('ul li', 'margin'),
        slant: getComputedStyle(quote.querySelector('p')).fontStyle,
        lang: heading.closest('[lang]').lang,
    };
}"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_an_article_begins_on_its_own_side(browser: Browser, theme: str, language: str) -> None:
    """Lines, the bar of a quote, and lists; whichever side the letter begins on, lead or not."""
    for pieces in ((ARABIC, ENGLISH), (ENGLISH, ARABIC)):
        content = replace(EVERYTHING, subject="X", pieces=pieces, language=language)
        with opened(browser, letter(content, theme).html) as page:
            found = {each.title: page.evaluate(SIDES, each.title) for each in pieces}
        right: dict[str, Any] = {"lines": "right", "bar": "right", "list": "right"}
        left = dict.fromkeys(right, "left")
        slant = "italic" if language == "en" else "normal"
        assert found == {
            ARABIC.title: {**right, "slant": "normal", "lang": "ar"},
            ENGLISH.title: {**left, "slant": slant, "lang": "en"},
        }


@pytest.mark.parametrize("theme", THEMES)
def test_a_part_of_an_article_that_runs_the_other_way(browser: Browser, theme: str) -> None:
    """As its own HTML says, without a word of the article's language."""
    body = '<div dir="rtl">\n\nכלמה.\n\n> ציטוט\n\n- אחת\n\n</div>'
    content = replace(EVERYTHING, pieces=(pictured("Oaks", body=body),))
    with opened(browser, letter(content, theme).html) as page:
        found = page.evaluate(SIDES, "Oaks")
    assert [found[name] for name in ("lines", "bar", "list")] == ["right"] * 3


def test_dates_and_words_of_ours_in_a_mixed_letter() -> None:
    """An article's date is as its language writes it; our words are in the letter's."""
    made = letter(replace(EVERYTHING, pieces=(ARABIC, ENGLISH)))
    for part in (made.html, made.text):
        assert "7 مايو 2026" in part
    assert re.search(r'lang="en" dir="ltr"[^>]*>Read it on the web', made.html)
    german = letter(replace(EVERYTHING, language="de", pieces=(ENGLISH,))).html
    assert re.search(r'lang="de" dir="ltr"[^>]*>Im Web lesen', german)


@pytest.mark.parametrize("theme", THEMES)
def test_a_letter_in_a_language_that_we_have_no_words_of(theme: str) -> None:
    """It is in that language and direction; what is ours says that it is English."""
    document = letter(replace(EVERYTHING, language="ar"), theme).html
    assert '<html lang="ar" dir="rtl"' in document
    for words in ("View in browser", "Read on", "You receive this mail", "Hello Ada"):
        assert re.search(rf'<[^<>]* lang="en" dir="ltr"[^<>]*>{words}', document), words


@pytest.mark.parametrize("theme", THEMES)
def test_a_letter_in_one_language_says_so_once(theme: str) -> None:
    """Nothing is marked, and no rule is there for what runs the other way."""
    pieces = tuple(replace(each, language="en") for each in EVERYTHING.pieces)
    document = letter(replace(EVERYTHING, pieces=pieces), theme).html
    assert document == letter(theme=theme).html
    assert document.count(' lang="') == 2


def test_a_mixed_digest_is_filled_in() -> None:
    """It has slots as every other."""
    assert frozen(replace(EVERYTHING, pieces=(ARABIC, ENGLISH)))["logic"] is None


@pytest.mark.parametrize(
    ("letter_in", "tag", "said"),
    [
        ("en", None, ""),
        ("en", "en", ""),
        ("en", "ar", ' lang="ar" dir="rtl"'),
        ("pt_BR", "pt-br", ""),
        ("en", '"><x', ' lang="&#34;&gt;&lt;x" dir="ltr"'),
    ],
)
def test_what_is_said_of_a_voice(letter_in: str, tag: str | None, said: str) -> None:
    """Nothing of the letter's own; what is said is harmless in an attribute."""
    assert Voices(letter_in).spoken(tag) == said


# The parts of the line below a title in the order in which they are painted, from the left: each
# character's place, by the text that it stands in.
PAINTED = """(line) => {
    const found = [];
    const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode;
        for (const word of text.data.matchAll(/[^\\s\\u200f]+/g)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            found.push([range.getBoundingClientRect().left, word[0]]);
        }
    }
    return found.sort((one, other) => one[0] - other[0]).map(each => each[1]);
}"""
DATED = pictured("سمامات", language="ar", author="Ada Byron", published="2026-11-20")


@pytest.mark.parametrize("isolates", [True, False])
@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_line_of_two_scripts_is_in_order(browser: Browser, language: str, isolates: bool) -> None:
    """A Latin name comes first, at the right, and an Arabic date keeps its day, also in mail
    programs that know no isolation; in an English line each is where it is in English.
    """
    english = replace(DATED, title="Swifts", language="en", author="ليلى")
    content = replace(EVERYTHING, pieces=(DATED, english), language=language)
    document = letter(content).html
    if not isolates:
        document = document.replace('<span dir="auto"', "<span")
    with opened(browser, document) as page:
        arabic, latin = page.locator(".meta").all()
        painted = arabic.evaluate(PAINTED)
        assert painted == ["2026", "نوفمبر", "20", "·", "Ada", "Byron"]
        if isolates:
            assert latin.evaluate(PAINTED) == ["ليلى", "·", "November", "20,", "2026"]


def test_a_line_of_two_scripts_in_plain_text() -> None:
    """It has characters for the same where it runs to the left, and none where it need not."""
    arabic = letter(replace(EVERYTHING, pieces=(replace(DATED, image=None),), language="ar"))
    assert "\n\u200f\u2068Ada Byron\u2069 · \u206820 نوفمبر 2026\u2069\n" in arabic.text
    bare = replace(DATED, author=None, published=None, image=None)
    for text in (letter().text, letter(replace(EVERYTHING, pieces=(bare,))).text):
        assert not re.search("[\u2066-\u2069\u200e\u200f]", text)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_an_article_of_an_unknown_language(browser: Browser, theme: str, language: str) -> None:
    """It begins on its own side, and says nothing of its language; our words begin on theirs."""
    side, one = ("rtl", ARABIC) if language == "en" else ("ltr", ENGLISH)
    unknown = replace(one, language=None, direction=side)
    for pieces in ((unknown, pictured("Oaks")), (pictured("Owls"), unknown)):
        content = replace(EVERYTHING, subject="X", pieces=pieces, language=language)
        document = letter(content, theme).html
        with opened(browser, document) as page:
            found = page.evaluate(SIDES, one.title)
        begins = "right" if side == "rtl" else "left"
        assert [found[name] for name in ("lines", "bar", "list")] == [begins] * 3
        assert (found["slant"], found["lang"]) == ("normal", language)
        assert re.search(r'lang="en" dir="ltr"[^>]*>Read it on the web', document)
