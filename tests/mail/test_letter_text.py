"""The text part: it reads like a letter, in any script, and says what the HTML part says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lettering import EVERYTHING, THEMES, letter, pictured, piece

from newsletter.digests import markdown, markup
from newsletter.mail import columns
from newsletter.mail.environment import wrap

JAPANESE = "水車小屋が記録を始めて以来、もっとも雨の多い二月でした。森は水と光に満ちていました。"


def test_a_digest_as_text() -> None:
    """Title, greeting, intro, list, sections, articles with their ways on, outro, ways out."""
    assert letter().text.startswith(
        """Field Notes

The wood in March
=================

Hello Ada Lovelace,

It was wet.

In this digest

1. Oaks
2. Owl
3. Mud
4. Hedge
5. Letters
6. Walk

------------------------------------------------------------------------

Oaks
----
Ada · March 1, 2026 · Photo: Jane Doe

Each spring.

Read on:
https://fieldnotes.example.org/oaks

========================================================================
Close to home
========================================================================

Owl
---
Birds

Each spring.
"""
    )
    assert letter().text.endswith(
        """------------------------------------------------------------------------

Walk
----

Come.

> A quote

- one
- two

Read it on the web:
https://fieldnotes.example.org/walk

------------------------------------------------------------------------

Until April.

------------------------------------------------------------------------

You receive this mail because this address is subscribed to Field Notes:
ada@example.org

Unsubscribe:
https://news.example.org/unsubscribe/1

Your preferences:
https://news.example.org/preferences/1

Privacy policy:
https://fieldnotes.example.org/privacy

Read this mail in a browser:
https://news.example.org/field-notes/archive/abc

Field Notes
12 Orchard Lane
Ambleside, England
"""
    )


@pytest.mark.parametrize("theme", THEMES)
def test_it_is_the_same_in_every_theme(theme: str) -> None:
    """A theme is for the eye; but who made a picture is told where the theme shows it."""
    by = {title: f"Maker of {title}" for title in ("Lead", "Teaser", "Whole")}
    pieces = (
        pictured("Lead", is_lead=True, image_credit=by["Lead"]),
        pictured("Teaser", image_credit=by["Teaser"]),
        pictured("Whole", body="All of it.", image_credit=by["Whole"]),
    )
    made = letter(replace(EVERYTHING, pieces=pieces), theme)
    shown = {name for name in by.values() if name in made.html}
    assert {name for name in by.values() if name in made.text} == shown
    assert len(shown) == (3 if theme == "magazine" else 2)
    bare = replace(EVERYTHING, pieces=tuple(replace(each, image=None) for each in pieces))
    assert letter(bare, theme).text == letter(bare).text


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "Picture"), ("de", "Bild"), ("fr", "Image\N{NO-BREAK SPACE}"), ("es", "Imagen")],
)
def test_who_wrote_and_who_took_the_picture(language: str, told: str) -> None:
    """Two names side by side: one says what it is for, unless it does so itself."""
    pieces = tuple(
        pictured("Oaks", is_lead=True, author="Ada", image_credit=credit)
        for credit in ("Jane Doe", "Foto: Jane Doe")
    )
    text = letter(replace(EVERYTHING, pieces=pieces, language=language)).text
    assert re.search(rf"\nAda · .*{told}: Jane Doe\n", text)
    assert "· Foto: Jane Doe\n" in text


def test_a_long_list_of_titles() -> None:
    """What goes on in a second line stands below the first letter, whatever the number."""
    content = replace(EVERYTHING, pieces=(piece("Twelve letters " * 6),) * 10)
    lines = letter(content).text.split("\n")
    for start in ("1. ", "10. "):
        place = lines.index(next(line for line in lines if line.startswith(f"{start}Twelve")))
        rest = lines[place + 1]
        assert rest.strip() and len(rest) - len(rest.lstrip()) == len(start)


def test_titles_in_wide_letters_are_underlined_to_their_end() -> None:
    """A Japanese title takes two columns a letter, and so does its line."""
    content = replace(EVERYTHING, subject="三月の森", pieces=(piece("雨の中で楢を数える"),))
    text = letter(content).text
    assert "\n三月の森\n========\n" in text
    assert "\n雨の中で楢を数える\n------------------\n" in text


TASKS = "- [ ] boots **on**\n- [x] notebook\n- [X] pencil\n- patience [x]\n"


def test_tasks_have_a_box() -> None:
    """Ticked or not, in both parts; the list that has them needs no bullets in the HTML."""
    assert markdown.text(TASKS, base_url=None) == (
        "- ☐ boots on\n- ☑ notebook\n- ☑ pencil\n- patience [x]"
    )
    assert markdown.html(TASKS, base_url=None) == (
        '<ul class="tasks">\n<li>☐ boots <strong>on</strong></li>\n<li>☑ notebook</li>\n'
        "<li>☑ pencil</li>\n<li>patience [x]</li>\n</ul>"
    )
    assert markdown.html("1. [x] first\n", base_url=None) == "<ol>\n<li>☑ first</li>\n</ol>"
    assert "tasks" not in markdown.html("- [link](https://a.example)\n- []\n", base_url=None)
    styled = letter(replace(EVERYTHING, pieces=(piece(body=TASKS),))).html
    [style] = re.findall(r'<ul class="tasks" style="([^"]*)"', styled)
    assert "list-style: none" in style and "margin-left: 0" in style


def test_tasks_of_a_page_have_one_too() -> None:
    """As the large forges write them; other fields, and other classes, are gone."""
    kept = markup.clean(
        '<ul class="contains-task-list x"><li><input type="checkbox" checked disabled> Done</li>'
        '<li><input type=checkbox>open</li></ul><ul class="menu"><li><input name="a">b</ul>',
        base_url=None,
    )
    assert kept == ('<ul class="tasks"><li>☑  Done</li><li>☐ open</li></ul><ul><li>b</li></ul>')
    assert markup.text(kept).startswith("- ☑ Done\n- ☐ open\n")


TERMS = """Lapwing
: A bird that cries its own name, and does so all day long in spring over every wet meadow.

Snipe
: It drums.
: It hides.

After.
"""


def test_definitions_stand_below_their_words() -> None:
    """Indented, wrapped, with a gap between two words."""
    wanted = """Lapwing
    A bird that cries its own name, and does so all day long in spring
    over every wet meadow.

Snipe
    It drums.
    It hides.

After."""
    assert markdown.text(TERMS, base_url=None) == wanted
    made = markdown.html(TERMS, base_url=None)
    assert made.startswith("<dl>\n<dt>Lapwing</dt>\n<dd>") and made.count("<dd>") == 3
    assert markup.text(made) == wanted


def test_a_table_in_wide_letters_lines_up() -> None:
    """By what the letters take, not by their number; also when its HTML is spread over lines."""
    source = "| 鳥 | count |\n|---|---:|\n| ひばり | 22 |\n| owl | 3 |\n"
    wanted = "鳥      count\n------  -----\nひばり  22\nowl     3"
    assert markdown.text(source, base_url=None) == wanted
    assert markup.text(markdown.html(source, base_url=None)) == wanted


def test_japanese_is_wrapped_between_letters() -> None:
    """At 72 columns, and no line begins with a full stop."""
    lines = wrap(JAPANESE * 3).split("\n")
    assert all(60 <= columns.width(line) <= 72 for line in lines[:-1])
    assert not any(line[0] in "、。」" for line in lines)
    assert "".join(lines) == JAPANESE * 3
    assert markdown.text(JAPANESE * 3, base_url=None) == "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", 5),
        ("é", 1),
        ("e\u0301", 1),
        ("日本", 4),
        ("한국", 4),
        ("ｱ", 1),
        ("🌲", 2),
        ("👩\u200d👧", 4),
        ("שלום", 4),
        ("a\u200bb", 2),
    ],
)
def test_width(text: str, wanted: int) -> None:
    """What a letter takes in a font whose letters are equally wide (UAX #11)."""
    assert columns.width(text) == wanted


def test_an_address_stays_whole() -> None:
    """On a line of its own if need be, Chinese around it or not."""
    address = f"https://a.example/{'x' * 90}"
    assert columns.lines(f"see {address} there", 40) == ["see", address, "there"]
    lines = columns.lines(f"参照{address}です。", 40)
    assert address in "".join(lines) and any(address in line for line in lines)


@given(st.text(st.sampled_from("ab 日、。「」é🌲\u200d\u0301\n-"), max_size=60), st.integers(4, 30))
def test_wrapping_loses_nothing(text: str, room: int) -> None:
    """But blanks; no line is longer than it must be, and the second one has its indent."""
    lines = columns.lines(text, room, "  ")
    assert "".join("".join(lines).split()) == "".join(text.split())
    for number, line in enumerate(lines):
        assert line == line.rstrip()
        assert number == 0 or line.startswith("  ")
        shortest = line.strip()
        if columns.width(line) > room:
            assert len(columns.lines(shortest, 1)) == 1 or not shortest
