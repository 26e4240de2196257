"""The themes: what each shows, in any script, and what all of them keep to."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from lettering import EVERYTHING, LOGO, READER, THEMES, frozen, letter, pictured, piece, values

from newsletter.digests.content import Content
from newsletter.mail import letters
from newsletter.mail.frozen import fill
from newsletter.mail.letters import LetterError, of_files
from newsletter.mail.look import FONTS, look_of

PERSONAL = ["confirmation", "already-confirmed", "access", "welcome", "goodbye"]
THIRTY = Content(
    subject="A year",
    intro_html="<p>Much happened.</p>",
    pieces=tuple(
        pictured(
            f"Piece number {n} of a long year",
            summary="Every spring the same walk, every spring another wood. What forty years of "
            "counting trees on foot tells, and what a satellite does not see.",
            author="Ada Lovelace",
            published="2026-03-01",
            tags=("Birds",),
            section=f"Month {n // 6}",
        )
        for n in range(30)
    ),
)


class Tree(HTMLParser):
    """Start tags with their attributes, in their order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [a for name, a in self.tags if name == tag and kind in a.get("class", "")]


def outlook(document: str) -> str:
    """The document as Outlook on Windows reads it: with what is for it alone."""
    return re.sub(r"<!--\[if mso\]>(.*?)<!\[endif\]-->", r"\1", document, flags=re.DOTALL)


def test_there_are_two() -> None:
    """A quiet one made of text, and one with pictures."""
    assert of_files("en").themes() == ["magazine", "plain"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", ["en", "ar", "he", "ja", "pt-BR"])
def test_a_theme_only_shows_a_reader(theme: str, language: str) -> None:
    """So that a digest is rendered once for all its readers, whatever is in it."""
    kept = frozen(replace(EVERYTHING, language=language), theme, **LOGO)
    assert kept["logic"] is None
    assert set(kept["slots"]) == {"greeting", "address", "unsubscribe_url", "preferences_url"}
    assert READER["unsubscribe_url"] in fill(kept, READER).html


@pytest.mark.parametrize("theme", THEMES)
def test_thirty_articles_are_not_too_much(theme: str) -> None:
    """Under 90 KB, with 16 KB of style at most: Gmail cuts the one and drops the other."""
    document = letter(THIRTY, theme).html
    assert len(document.encode()) < 90_000
    [style] = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    assert len(style.encode()) < 6_000
    assert document.encode().index(READER["unsubscribe_url"].encode()) < 100_000


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", [*PERSONAL, "digest"])
def test_outlook_gets_whole_tables(theme: str, name: str) -> None:
    """With what is for it alone, every table, row and cell is closed, and is for the layout."""
    document = (
        letter(theme=theme).html
        if name == "digest"
        else letters.render(name, "en", values(theme=theme)).html
    )
    seen = outlook(document)
    for tag in ("table", "tr", "td", "div", "a", "p"):
        assert len(re.findall(rf"<{tag}[ >]", seen)) == seen.count(f"</{tag}>"), tag
    tables = Tree(seen).all("table")
    assert all(table.get("role") == "presentation" for table in tables)
    assert all(table.get("width", "").rstrip("%").isdigit() for table in tables
               if table.get("class") != "button")  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
def test_every_article_has_a_place_of_its_own(theme: str) -> None:
    """One element holds it with its title: the list links it, and a check can name it."""
    document = letter(theme=theme).html
    for number, each in enumerate(EVERYTHING.pieces, 1):
        start = document.index(f'id="article-{number}"')
        end = document.find('id="article-', start + 20)
        assert f">{each.title}</a>" in document[start:end]


@pytest.mark.parametrize("theme", THEMES)
def test_headings_part_a_digest(theme: str) -> None:
    """Each section is named once, in both parts; the outro stands at the end."""
    made = letter(theme=theme)
    for part in (made.html, made.text):
        assert part.count("Close to home") == part.count("In short") == 1
        order = [part.index(words) for words in ("It was", "Close to home", "In short", "Until")]
        assert order == sorted(order)
    levels = [tag for tag, _ in Tree(made.html).tags if re.fullmatch("h[1-6]", tag)]
    assert levels == ["h1", "h2", "h2", "h3", "h3", "h3", "h2", "h3", "h3"]


@pytest.mark.parametrize("theme", THEMES)
def test_no_level_of_heading_is_skipped(theme: str) -> None:
    """Headings within an article stand below its title, which stands below its section's."""
    body = "# First\n\nWords.\n\n## Second\n\nWords.\n"
    for section, levels in ((None, "h1 h2 h3 h4"), ("Near", "h1 h2 h3 h4 h5")):
        content = replace(EVERYTHING, pieces=(pictured("Oaks", body=body, section=section),))
        tags = [tag for tag, _ in Tree(letter(content, theme).html).tags]
        assert " ".join(tag for tag in tags if re.fullmatch("h[1-6]", tag)) == levels
    whole = replace(EVERYTHING, pieces=(pictured(EVERYTHING.subject, body=body),))
    tags = [tag for tag, _ in Tree(letter(whole, theme).html).tags]
    assert " ".join(tag for tag in tags if re.fullmatch("h[1-6]", tag)) == "h1 h2 h3"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    "subject", ["Oaks, Owl and 4 more", "Mud", "The Oaks and I", "Oa… and 5 more"]
)
def test_a_subject_made_of_titles_is_not_told_again(theme: str, subject: str) -> None:
    """The publication's name is the letter's heading, and the titles stand where they are."""
    made = letter(replace(EVERYTHING, subject=subject), theme)
    [heading] = re.findall(r"<h1[^>]*>(.*?)</h1>", made.html, re.DOTALL)
    assert "Field Notes" in heading
    body = re.sub('<title>.*?</title>|aria-label="[^"]*"', "", made.html)
    assert subject == "Mud" or subject not in body
    assert re.search(r"<h3[^>]*><a [^>]*>Mud</a></h3>", made.html)
    assert made.text.startswith("Field Notes\n===========\n\nHello")


@pytest.mark.parametrize("theme", THEMES)
def test_a_way_on_says_where_it_leads(theme: str) -> None:
    """To who hears a list of links, each "Read on" has the title of its article."""
    ways = [
        link["aria-label"]
        for link in Tree(letter(theme=theme).html).all("a")
        if "aria-label" in link
    ]
    assert ways == [
        *(f"Read on: {title}" for title in ("Oaks", "Owl", "Mud", "Hedge", "Letters")),
        "Read it on the web: Walk",
    ]


def test_a_magazine_begins_with_a_large_picture() -> None:
    """The lead's, as wide as the sheet, in its own proportions; further ones in pairs or beside."""
    tree = Tree(letter(theme="magazine").html)
    sizes = [(image["width"], image["height"]) for image in tree.all("img")]
    assert sizes == [("640", "360"), ("268", "179"), ("268", "179"), ("184", "245")]
    assert len(tree.all("div", "half")) == 2 and len(tree.all("div", "thumb tall")) == 1
    assert len(tree.all("table", "button")) == 1


def test_the_first_is_the_lead_when_nobody_chose_one() -> None:
    """A magazine has a first page; the quiet theme treats all alike."""
    content = replace(EVERYTHING, pieces=(pictured("One"), pictured("Two"), pictured("Three")))
    tree = Tree(letter(content, "magazine").html)
    assert [image["width"] for image in tree.all("img")] == ["640", "268", "268"]
    assert not Tree(letter(content, "plain").html).all("img")


def test_only_like_pictures_stand_side_by_side() -> None:
    """Of the same section, and of about the same shape; others get a row each."""
    lead = pictured("Lead")
    for one, other in (
        (pictured("Wide", 1600, 900), pictured("Tall", 900, 1600)),
        (pictured("Here", section="A"), pictured("There", section="B")),
        (pictured("Teaser"), pictured("Whole", body="All of it.")),
        (pictured("Teaser"), piece("No picture")),
    ):
        content = replace(EVERYTHING, pieces=(lead, one, other))
        assert not Tree(letter(content, "magazine").html).all("div", "half")
    content = replace(EVERYTHING, pieces=(lead, pictured("A", None, None), pictured("B", 300, 200)))
    assert len(Tree(letter(content, "magazine").html).all("div", "half")) == 2


def test_the_quiet_theme_shows_few_pictures() -> None:
    """The lead's, and those of articles that stand there whole."""
    content = replace(
        EVERYTHING,
        pieces=(pictured("L", is_lead=True), pictured("T"), pictured("W", body="All of it.")),
    )
    shown = [image["src"] for image in Tree(letter(content, "plain").html).all("img")]
    assert shown == ["https://a.example/l.jpg", "https://a.example/w.jpg"]


@pytest.mark.parametrize("theme", THEMES)
def test_a_small_picture_stays_small(theme: str) -> None:
    """It is not blown up, and one that is wider than the letter is brought down for Outlook."""
    body = (
        '<img src="https://a.example/b.png" alt="b" width="1200" height="600">'
        '<img src="https://a.example/i.png" alt="i" width="20" height="20">'
        '<img src="https://a.example/u.png" alt="u">'
    )
    content = replace(EVERYTHING, pieces=(pictured("S", 200, 100, body=body, is_lead=True),))
    images = {image["alt"]: image for image in Tree(letter(content, theme).html).all("img")}
    room = 560 if theme == "magazine" else 528
    own = images["What S looks like"]
    assert (own["width"], own["height"]) == ("200", "100")
    assert "max-width: 200px" in own["style"]
    assert (images["b"]["width"], images["b"]["height"]) == (str(room), str(room // 2))
    assert images["i"]["width"] == "20" and "width" not in images["u"]


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_that_are_not_loaded_read_well(theme: str) -> None:
    """Their alternative text is set like text, and without one they are no link to nowhere."""
    tree = Tree(letter(theme=theme).html)
    for image in tree.all("img", "picture"):
        assert "font-size: 16px" in image["style"] and "color: #" in image["style"]
        assert image["alt"] != "" or "hedge" in image["src"]
    document = letter(replace(EVERYTHING, pieces=(pictured("O", is_lead=True, image_alt=""),))).html
    assert not re.search(r"<a [^>]*>\s*<img", document)


@pytest.mark.parametrize("theme", THEMES)
def test_a_digest_without_any_picture(theme: str) -> None:
    """No image, and nothing that waits for one."""
    content = replace(EVERYTHING, pieces=tuple(piece(f"P{n}") for n in range(5)))
    document = letter(content, theme).html
    assert "<img" not in document and 'class="pictured"' not in document


def test_a_letter_that_is_one_article() -> None:
    """Its title is the letter's, once, in each theme."""
    content = replace(EVERYTHING, pieces=(pictured(EVERYTHING.subject, body="All of it."),))
    for theme in THEMES:
        headings = re.findall(r"<h[12][ >].*?</h[12]>", letter(content, theme).html, re.DOTALL)
        assert len(headings) == 1 and "The wood in March" in headings[0]


@pytest.mark.parametrize("theme", THEMES)
def test_a_logo_stands_for_the_name(theme: str) -> None:
    """With its size, and the name where it is not loaded; not in a mail to a stranger."""
    [logo] = Tree(letter(theme=theme, **LOGO).html).all("img", "logo")
    assert (logo["src"], logo["alt"]) == ("https://a.example/l.png", "Field Notes")
    assert (logo["width"], logo["height"]) == ("240", "60")
    for name in PERSONAL:
        document = letters.render(name, "en", values(theme=theme, **LOGO)).html
        assert ("l.png" in document) == (name != "confirmation")


@pytest.mark.parametrize(
    "wrong",
    [
        {"logo_url": "http://a.example/l.png"},
        {"logo_url": "javascript:alert(1)"},
        {"logo_url": "https://[x"},
        {"logo_width": "0"},
        {"logo_height": "9999"},
        {"logo_width": "wide"},
    ],
)
def test_a_logo_that_cannot_be_is_none(wrong: dict[str, str]) -> None:
    """The name stands there then, as it does without a logo."""
    assert look_of({**LOGO, **wrong}, "en")["logo"] is None
    assert "<img" not in letter(replace(EVERYTHING, pieces=()), **{**LOGO, **wrong}).html


def test_fonts_are_chosen_by_name() -> None:
    """For headings and for text; what is no name of one is the theme's own choice."""
    made = letter(heading_font="trebuchet", text_font="verdana").html
    assert f'<h1 dir="auto" style="font-family: {FONTS["trebuchet"]}' in made
    assert f"font-family: {FONTS['verdana']}" in made and "Georgia" not in made
    assert letter(heading_font="x;}</style>").html == letter().html


def test_scripts_that_do_not_slant() -> None:
    """Arabic letters join and Chinese ones have no italic: neither is spaced out nor slanted."""
    for language, plain in (("ar", True), ("ja", True), ("en", False), ("ru", False)):
        for theme in THEMES:
            document = letter(replace(EVERYTHING, language=language), theme).html
            assert ("letter-spacing: -" not in document) == plain
            assert ("font-style: italic" not in document) == plain


@pytest.mark.parametrize("theme", THEMES)
def test_right_to_left(theme: str) -> None:
    """Sides change places; a title in another script keeps its own order."""
    content = replace(EVERYTHING, language="ar")
    document = letter(content, theme).html
    [aside] = re.findall(r"<td class=\"(\w+)\"[^>]*text-align: left", document)
    assert aside == "aside"  # the way to the browser, at the line's end
    assert "border-right: 3px solid" in document and "border-left" not in document
    # Our words are English there, and point where English goes on.
    assert "→" in document and "←" not in document
    tree = Tree(document)
    assert all(h.get("dir") == "auto" for tag in ("h1", "h2") for h in tree.all(tag))
    [article] = [a for tag, a in tree.tags if a.get("role") == "article"]
    assert (article["lang"], article["dir"]) == ("ar", "rtl")


def test_a_theme_that_is_gone() -> None:
    """A digest is not approved in another look; a personal letter is written all the same."""
    with pytest.raises(LetterError, match=r"no theme .neon.; there are: magazine, plain"):
        letter(theme="neon")
    for name in PERSONAL:
        made = letters.render(name, "en", values(theme="neon"))
        assert made == letters.render(name, "en", values(theme="plain"))


@pytest.mark.parametrize("accent", ["#ffd400", "#ff0000", "#000000", "#ffffff", "#777777"])
def test_a_colour_is_mended_where_it_is_read(accent: str) -> None:
    """As an area it stays what it is; links have it as dark as they need."""
    document = letter(theme="magazine", accent_color=accent).html
    assert f"border-top: 6px solid {accent}" in document
    [link] = set(re.findall(r'class="topic" style="[^"]*[; ]color: (#\w{6})', document))
    assert (link == accent) == (accent == "#000000")
