"""The gate: our own letters pass it, and each rule finds what it is there for, and where."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from checking import (
    CONTENT,
    FACTS,
    OAKS,
    SWIFTS,
    findings,
    html,
    letter,
    names,
    with_header,
    with_html,
    with_style,
    with_subject,
    with_text,
)

from newsletter.digests import markdown
from newsletter.digests.check import Built, Level, NotFit, check, demand, features, rules
from newsletter.digests.content import Content
from newsletter.mail.letters import of_files

THEMES = of_files("en").themes()


@pytest.mark.parametrize("accent", ["#1f5f4a", "#ffee00", "#000000", "#ffffff", "#7f7f7f"])
@pytest.mark.parametrize("theme", THEMES)
def test_our_own_letters_pass(theme: str, accent: str) -> None:
    """Every theme in every colour, in light and in dark, without error or warning."""
    assert findings(letter(theme=theme, accent=accent)) == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_digests_of_any_length_pass(theme: str, count: int) -> None:
    """One whole article, two, and five with their contents list, with a lead and sections."""
    pieces = tuple(
        replace(
            (OAKS, SWIFTS)[number % 2],
            title=f"An article with the number {number}",
            section="Woods" if number < 2 else "Birds",
            is_lead=number == 0,
        )
        for number in range(count)
    )
    outro = {"outro_html": "<p>Until April, then.</p>", "outro_text": "Until April, then."}
    assert findings(letter(replace(CONTENT, pieces=pieces, **outro), theme)) == []


@pytest.mark.parametrize("theme", THEMES)
def test_long_topics_and_credits_pass(theme: str) -> None:
    """They are in both parts; the text part has them with the author and the date."""
    long = {
        "tags": ("Birds that breed under the roofs of old towns in the north",),
        "image_credit": "Photo: Ada Byron, from the collection of the museum in Ambleside",
    }
    pieces = (replace(SWIFTS, **long), replace(OAKS, tags=long["tags"], section="Woods"))
    made = letter(replace(CONTENT, pieces=pieces), theme)
    assert findings(made) == []
    told = f"{long['tags'][0]} · Ada Byron · February 20, 2026 · {long['image_credit']}"
    assert told in " ".join(made.text.split())


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", ["de", "fr", "es", "ar", "ja"])
def test_letters_in_any_language_pass(theme: str, language: str) -> None:
    """From left to right or from right to left; the words around the articles are its own."""
    built = letter(replace(CONTENT, language=language), theme)
    assert findings(built, replace(FACTS, language=language)) == []


def without(*before: str) -> Built:
    return html(*((each, "") for each in before))


LONG = "Lots of words that say the same again and again. " * 40
HUGE = Content(
    subject="The wood in March",
    preheader="Much of it.",
    pieces=tuple(
        replace(OAKS, title=f"Part {n}", body_html=f"<p>{LONG}</p>" * (n % 7 + 3), body_text=LONG)
        for n in range(12)
    ),
)
FOOTER = letter().unsubscribe_url
POSTAL = "12 Orchard Lane"

# A rule, and a letter that breaks it.
CASES: list[tuple[str, Callable[[], Built]]] = [
    ("html-large", lambda: with_html(f"<!--{'x' * 85_000}-->")),
    ("html-cut", lambda: letter(HUGE)),
    ("html-huge", lambda: with_html("x" * 400_000)),
    ("unsubscribe-cut", lambda: letter(HUGE)),
    ("style-large", lambda: with_style(".a { color: #000000 }\n" * 900)),
    ("header-missing", lambda: with_header("List-Id", None)),
    ("header-twice", lambda: replace(letter(), headers=(*letter().headers, ("Date", "now")))),
    ("unsubscribe-header", lambda: with_header("List-Unsubscribe", "<mailto:a@example.org>")),
    ("unsubscribe-one-click", lambda: with_header("List-Unsubscribe-Post", "yes")),
    ("unsubscribe-not-https", lambda: with_header("List-Unsubscribe", "<http://n.example.org/>")),
    ("language-differs", lambda: with_header("Content-Language", "fr")),
    ("from-bare", lambda: with_header("From", "notes@example.org")),
    ("subject-empty", lambda: with_subject("")),
    ("subject-fake-reply", lambda: with_subject("RE: your order")),
    ("subject-long", lambda: with_subject("word " * 20)),
    ("subject-short", lambda: with_subject("Hi")),
    ("subject-capitals", lambda: with_subject("THE WOOD IN MARCH")),
    ("subject-signs", lambda: with_subject("The wood in March!!!")),
    ("subject-unseen", lambda: with_subject("The\u200b wood\u2060 in March")),
    ("preheader-missing", lambda: without(CONTENT.preheader)),
    ("preheader-repeats", lambda: html((CONTENT.preheader, "The wood, in March"))),
    ("postal-address", lambda: without(POSTAL)),
    ("unsubscribe-link", lambda: without(f'href="{FOOTER}"')),
    ("name-missing", lambda: without("Field Notes")),
    ("name-spelling", lambda: with_text("Thank you for reading Feild Notes.")),
    ("text-missing", lambda: replace(letter(), text="\n")),
    ("html-missing", lambda: replace(letter(), html="")),
    ("text-other", lambda: replace(letter(), text=f"{LONG}{letter().unsubscribe_url}")),
    ("text-lacks-words", lambda: with_html(f"<p>{LONG[:49]} Only here.</p>")),
    ("text-lacks-link", lambda: with_html('<a href="https://example.org/only">Only here</a>')),
    ("text-long-line", lambda: with_text("word " * 30)),
    ("text-markup", lambda: with_text("<p>Every&nbsp;spring</p>")),
    ("placeholder", lambda: with_html("<p>Dear {{ name }}</p>")),
    ("placeholder-words", lambda: with_html("<p>Lorem ipsum</p>")),
    ("link-empty", lambda: with_html('<a href="">Here it is</a>')),
    ("link-relative", lambda: with_html('<a href="/swifts">Swifts</a>')),
    ("link-scheme", lambda: with_html('<a href="java\nscript:alert(1)">Swifts</a>')),
    ("link-broken", lambda: with_html('<a href="https:///swifts">Swifts</a>')),
    ("link-anchor", lambda: with_html('<a href="#nowhere">Swifts</a>')),
    ("link-local", lambda: with_html('<a href="http://127.0.0.1:8000/x">Swifts</a>')),
    ("picture-address", lambda: with_html('<img src="cid:1" alt="" width="1" height="1">')),
    ("picture-not-https", lambda: html((SWIFTS.image or "", "http://example.org/swifts.jpg"))),
    ("picture-size", lambda: with_html('<img src="https://example.org/a.png" alt="">')),
    ("pictures-only", lambda: html_of_pictures()),
    ("lang-missing", lambda: html((' lang="en"', ""))),
    ("direction-wrong", lambda: html(('<html lang="en" dir="ltr"', '<html lang="ar" dir="ltr"'))),
    ("title-missing", lambda: html(("<title>The wood in March</title>", ""))),
    ("alt-missing", lambda: html((f'alt="{SWIFTS.image_alt}"', ""))),
    ("alt-file-name", lambda: html((f'alt="{SWIFTS.image_alt}"', 'alt="IMG_2041.jpg"'))),
    ("table-role", lambda: html(('<table role="presentation" ', "<table "))),
    ("table-head", lambda: with_html("<table><tr><td>1</td></tr></table>")),
    ("heading-missing", lambda: html(("<h1 ", "<p "), ("</h1>", "</p>"))),
    ("link-without-words", lambda: with_html('<a href="https://example.org/"> &nbsp; </a>')),
    ("link-signs", lambda: with_html('<a href="https://example.org/">→</a>')),
    ("link-vague", lambda: with_html('<a href="https://example.org/">Click here</a>')),
    ("text-small", lambda: with_html('<p style="font-size: 11px">Small print</p>')),
    ("contrast-low", lambda: with_html('<p style="color: #888888">Pale words</p>')),
    ("contrast-none", lambda: with_html('<p style="color: #f3f3f3">Hidden words</p>')),
    ("active-element", lambda: with_html("<script>alert(1)</script>")),
    ("active-handler", lambda: with_html('<p onclick="alert(1)">Words</p>')),
    ("active-refresh", lambda: with_html('<meta http-equiv="refresh" content="0">')),
    ("active-style", lambda: with_html('<p style="width: expression(alert(1))">Words</p>')),
]


def html_of_pictures() -> Built:
    picture = '<img src="https://example.org/a.png" alt="" width="600" height="900">'
    return replace(letter(), html=f"<html lang='en'><body>{picture}</body></html>")


@pytest.mark.parametrize(("name", "broken"), CASES, ids=[name for name, _ in CASES])
def test_each_rule_finds_what_it_is_for(name: str, broken: Callable[[], Built]) -> None:
    """What is wrong is found under the rule's name, with where it is and how to mend it."""
    assert name not in names(letter())
    found = [each for each in findings(broken()) if each.rule.name == name]
    assert found, names(broken())
    assert all(each.rule.says and each.rule.mend for each in found)


def test_every_rule_is_tried() -> None:
    """There is a letter for each rule; those about what others say have tests of their own."""
    of_the_web = {"link-dead", "link-failing", "placeholder-foreign"}
    tried = {name for name, _ in CASES} | {rule.name for rule in features.rules()} | of_the_web
    assert tried == set(rules())


def sample(kind: str, sign: str) -> Built:
    """A letter that uses what `sign` is the sign of."""
    if kind == "property":
        name, _, value = sign.partition("=")
        said = {"url": "url(https://example.org/a.png)"}.get(value, value or "1px")
        return with_html(f'<p style="{name}: {said}">Words</p>')
    made = {
        "function": lambda: with_html(f'<p style="width: {sign}(1px, 2px)">Words</p>'),
        "outside-cells": lambda: with_html(f'<p style="{sign}: 8px">Words</p>'),
        "unit": lambda: with_html(f'<p style="width: 10{sign}">Words</p>'),
        "at-rule": lambda: with_style(f'@{sign} "https://example.org/a.css";'),
        "pseudo": lambda: with_style(f".a::{sign} {{ color: #000000 }}"),
        "nesting": lambda: with_style(".a { color: #000000; .b { color: #111111 } }"),
        "element": lambda: with_html(f"<{sign}>words</{sign}>"),
        "attribute": lambda: with_html(f'<p {sign}="https://example.org/a.png">Words</p>'),
        "picture": lambda: with_html(f'<img alt="" src="{_picture(sign)}">'),
    }
    return made[kind]()


def _picture(sign: str) -> str:
    return f"https://example.org/a{sign}?w=1" if sign[0] == "." else f"{sign}image/png;base64,AA"


@pytest.mark.parametrize("feature", features.table().features, ids=lambda each: each.rule.name)
def test_what_mail_programs_lack_is_found(feature: features.Feature) -> None:
    """Each line of the table by each of its signs; who lacks it is said."""
    for sign in feature.signs:
        found = [e for e in features.check(sample(feature.kind, sign)) if e.rule == feature.rule]
        assert len(found) == 1, sign
        assert feature.lacked_by[0] in feature.rule.says


def test_the_table_says_how_old_it_is() -> None:
    """Its date is that of the data that it was made of."""
    assert features.table().date >= "2026-05-13"


@pytest.mark.parametrize(
    "css",
    [
        "@media (max-width: 600px) { .a { display: flex } }",
        ".a { display: none; float: none; transform: none; visibility: visible }",
        ".a:hover { border-radius: 4px; box-shadow: 0 0 2px #000000 }",
    ],
)
def test_what_can_be_missing_without_harm_is_not_told(css: str) -> None:
    """Outlook on Windows reads no media query; rounded corners and shadows only adorn."""
    assert list(features.check(with_style(css))) == []


@pytest.mark.parametrize(
    "words",
    [
        '<table role="presentation"><tr><td style="padding: 8px">x</td></tr></table>',
        # A button, whose cell says the same to Outlook alone.
        '<table role="presentation"><tr><td style="mso-padding-alt: 14px 28px">'
        '<a href="https://example.org/a" style="padding: 14px 28px">Words</a></td></tr></table>',
        '<p>A <code style="padding: 1px 4px">word</code></p>',
        '<ul style="padding: 0">x</ul>',
    ],
)
def test_padding_that_nobody_misses_is_not_told(words: str) -> None:
    """That of cells, of buttons, and what is little."""
    assert list(features.check(with_html(words))) == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_our_own_letters_keep_their_gaps_in_outlook(theme: str, language: str) -> None:
    """Quotes, code, captions, lists, cards in a row, credits: all is in cells or margins."""
    body = (
        "> A quote\n\n- one\n\n10. ten\n\n    code\n\n|a|b|\n|-|-|\n|c|d|\n\n- [x] done\n\n"
        '<figure><img src="https://example.org/a.png" alt="A" width="9" height="9">'
        "<figcaption>B</figcaption></figure>\n\nTerm\n: Words\n"
    )
    whole = replace(OAKS, body_html=markdown.html(body, base_url=None))
    small = replace(SWIFTS, is_lead=False)
    pieces = (SWIFTS, small, replace(small, title="Two"), replace(small, title="Three"), whole)
    made = letter(replace(CONTENT, pieces=pieces, language=language), theme)
    assert list(features.check(made)) == []


def test_a_feature_is_told_once() -> None:
    """Where it is first used, and how often it is."""
    (found,) = features.check(with_html('<p style="display: flex">Words</p>' * 3))
    assert found.detail == "In 3 places."


def test_where_it_is() -> None:
    """A finding in HTML has its line, what stands there, and the article that it is in."""
    broken = html((f'alt="{SWIFTS.image_alt}"', ""))
    (found,) = [each for each in findings(broken) if each.rule.name == "alt-missing"]
    lines = letter().html.split("\n")
    assert "swifts.jpg" in lines[(found.place.line or 0) - 1]
    assert found.place.excerpt.startswith("<img ")
    assert found.place.article == SWIFTS.title


def test_errors_come_first() -> None:
    """Then what comes first in the mail."""
    found = findings(with_html('<img src="https://example.org/a.png"><a href="">x</a>'))
    assert [each.rule.level for each in found] == [Level.ERROR, Level.ERROR, Level.WARNING]


def test_what_to_shorten() -> None:
    """A letter that is too long says which articles take most of it."""
    (found,) = [each for each in findings(letter(HUGE)) if each.rule.name == "html-cut"]
    longest = [f"Part {n}" for n in (6, 5)]
    assert all(f"“{title}”" in found.detail for title in longest)
    assert "“Part 0”" not in found.detail


@pytest.mark.parametrize(
    "subject",
    [
        "Reading on the tram",
        "Re-opening: the swimming pool",
        "Is it spring? Yes!",
        "NASA and ESA at the meadow",
        "春の森を歩く",
        "ما الجديد في الغابة",
        "What’s new… in the wood",
        "100 % of the oaks",
    ],
)
def test_honest_subjects_pass(subject: str) -> None:
    """A subject in any script, with a question or a name in capitals, is no trick."""
    assert not {each for each in names(with_subject(subject)) if each.startswith("subject")}


@pytest.mark.parametrize("sign", ["Re:", "RE: ", "Fwd:", "AW:", "WG: ", "Re[2]:", "TR : ", "SV:"])
def test_fake_answers_in_many_languages(sign: str) -> None:
    """English, German, French and Scandinavian signs of an answer or of a forwarded mail."""
    assert "subject-fake-reply" in names(with_subject(f"{sign} The wood in March"))


@pytest.mark.parametrize(
    "subject",
    [
        "Re:Sale now",
        "FW:x sale",
        "Re：Sale",
        "回复：特价",
        "\u200bRe: Sale",
        "Re^2: Sale",
        "RE:sale",
        "Re:",
    ],
)
def test_fake_answers_without_a_blank(subject: str) -> None:
    """Nor does another colon, or something unseen before it, hide one."""
    assert "subject-fake-reply" in names(with_subject(subject))


@pytest.mark.parametrize("subject", ["I: Robot and me", "R: statistics", "Re:volution", "Reply: a"])
def test_what_is_no_answer(subject: str) -> None:
    """A single letter or a word that begins like a sign may begin a title."""
    assert "subject-fake-reply" not in names(with_subject(subject))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("In FieldNotes you read more.", "FieldNotes"),
        ("In Field notes you read more.", "Field notes"),
        ("In Fields Notes you read more.", "Fields Notes"),
        ("From my field notes of March.", None),
        ("FIELD NOTES", None),
        ("Field Notes is here, and Field Notes too.", None),
        ("Fields and notes. Fieldwork Notebooks.", None),
    ],
)
def test_how_the_name_is_spelled(line: str, said: str | None) -> None:
    """Nearly the name, written like a name, is meant to be it; common words are not."""
    found = [each for each in findings(with_text(line)) if each.rule.name == "name-spelling"]
    assert [f"“{said}”" in each.detail for each in found] == ([True] if said else [])


@pytest.mark.parametrize(
    "words",
    ["{{ reader.name }}", "{% if x %}", "*|FNAME|*", "%recipient.name%", "${name}", "%(title)s"],
)
def test_placeholders_of_many_programs(words: str) -> None:
    """An error in the subject, in either part and in an address; what stands in code is meant."""
    for built in (
        with_subject(words),
        with_text(words),
        with_html(f"<p>{words}</p>"),
        with_html(f'<a href="https://example.org/{words}">Words</a>'),
    ):
        assert "placeholder" in names(built)
    meant = with_html(f"<p>In Jinja write <code>{words}</code>.</p>")
    assert "placeholder" not in names(replace(meant, text=f"{meant.text}\n    {words}\n"))


def test_contrast_in_dark_mode() -> None:
    """Words that a dark ground swallows are found, though they are good in light."""
    css = "@media (prefers-color-scheme: dark) { .masthead a { color: #222222 !important } }"
    (found,) = findings(with_style(css))
    assert found.rule.name == "contrast-none"
    assert "in dark mode" in found.detail
    assert "Field Notes" in found.place.excerpt


def test_contrast_of_large_words() -> None:
    """Large ones need 3 to 1, small ones 4.5 to 1 (WCAG 1.4.3)."""
    grey = '<p style="color: #8a8a8a; background: #ffffff; font-size: {}px">Words</p>'
    assert "contrast-low" not in names(with_html(grey.format(24)))
    assert "contrast-low" in names(with_html(grey.format(18)))


@pytest.mark.parametrize(
    "ground", ["url(https://example.org/a.png)", "linear-gradient(#111, #333)"]
)
def test_contrast_before_a_picture(ground: str) -> None:
    """Nobody knows what is behind the words: nothing is said."""
    pale = '<p style="color: #f3f3f3; background: {}">Words in front of it</p>'
    assert "contrast-none" not in names(with_html(pale.format(ground)))
    assert "contrast-none" in names(with_html(pale.format("#ffffff")))


def test_contrast_of_a_link() -> None:
    """A link without a colour of its own is blue in mail programs, whatever is around it."""
    box = '<div style="background-color: #0000ee; color: #ffffff">{}</div>'
    assert "contrast-none" in names(with_html(box.format('<a href="https://example.org/">Go</a>')))
    assert "contrast-none" not in names(with_html(box.format("<a>Go</a>")))


def test_what_the_web_says() -> None:
    """Gone is an error; a failing server a warning; one that refuses programs says nothing."""
    from newsletter.digests.check import Answer, links

    built = letter()
    asked = links.web_addresses(built, FACTS)
    assert set(asked) == {
        OAKS.url,
        SWIFTS.url,
        SWIFTS.image,
        "https://fieldnotes.example.org/map",
        "https://fieldnotes.example.org/privacy",
    }
    for answer, expected in (
        (Answer(404), ["link-dead"]),
        (Answer(None, "There is no such host.", is_gone=True), ["link-dead"]),
        (Answer(503), ["link-failing"]),
        (Answer(None, "It did not answer within 10 seconds."), ["link-failing"]),
        (Answer(403), []),
        (Answer(429), []),
        (Answer(200), []),
    ):
        found = check(built, FACTS, {SWIFTS.url or "": answer})
        assert [each.rule.name for each in found] == expected


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("subject", [OAKS.title, "The wood in March"])
@pytest.mark.parametrize("more", ["", "<h3>What was new</h3>"])
def test_a_letter_of_one_article_names_it(theme: str, subject: str, more: str) -> None:
    """Its title is the letter's heading then, whatever headings the article has of its own."""
    piece = replace(OAKS, body_html=more + f"<p>{LONG}</p>" * 70, body_text=LONG)
    made = letter(replace(CONTENT, subject=subject, pieces=(piece,)), theme)
    (found,) = [each for each in findings(made) if each.rule.name == "html-cut"]
    assert "The longest: “Counting oaks” " in found.detail


def test_what_nobody_looked_at_does_not_pass() -> None:
    """A letter that is too large to be looked at may lack anything: no name lets it through."""
    found = findings(with_html("x" * 400_000))
    stopping = {each.rule.name for each in found if each.rule.level == Level.ERROR}
    assert {"html-huge", "html-cut", "unsubscribe-cut"} <= stopping
    with pytest.raises(NotFit, match=r"Nothing lets html-huge pass\. Give summaries") as told:
        demand(1, found, stopping)
    assert "--force html" not in f"{told.value}{told.value.told_elsewhere}"
    rest = [each for each in found if each.rule.name != "html-huge"]
    demand(1, rest, stopping)
    with pytest.raises(NotFit, match="--force html-cut --force unsubscribe-cut"):
        demand(1, rest)


def test_a_large_letter_is_checked_quickly() -> None:
    """A letter of half a megabyte, in about the time that it takes to render it."""
    piece = replace(OAKS, body_html=f"<p>{LONG}</p>" * 20, body_text=f"{LONG}\n\n" * 20)
    content = Content(subject="Much", preheader="Of it.", pieces=(piece,) * 12)
    built = letter(content)
    assert len(built.html) > 400_000
    begin = time.thread_time()
    found = names(built)
    assert {"html-cut", "html-huge"} <= set(found)
    assert "link-empty" not in names(html(("<body", "<body><a></a"), of=built))
    assert time.thread_time() - begin < 3


@pytest.mark.parametrize(
    "markup",
    [
        "<div>" * 3000,
        "<p style='" + "(" * 3000 + "'>Words</p>",
        "<style>" + "a{" * 3000 + "</style>",
        "<a href='http://[::1'>Words</a><a href='//'>Words</a><img src='https://[x'>",
        "<table>" * 500,
        "</p>" * 3000 + "<![CDATA[x]]><?php ?><!-- <!--[if mso]> <table> <![endif]-->",
        "<p style='color: rgb(1e999, NaN, -5); font-size: 1e999px; background: #12'>Words</p>",
        "\0\ufffd\ud7ff",
    ],
)
def test_what_is_no_letter_at_all_is_checked(markup: str) -> None:
    """Whatever a template makes, the gate says something of it, and soon."""
    begin = time.thread_time()
    findings(with_html(markup))
    assert time.thread_time() - begin < 10
