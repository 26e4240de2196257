"""Every letter, written: what stands in it, what must not, and what mail programs need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from newsletter.digests.content import Content, Piece
from newsletter.mail import letters
from newsletter.mail.letters import Letter, LetterError
from newsletter.resources import resource_dir

PERSONAL = ["confirmation", "already-confirmed", "access", "welcome", "goodbye"]
ALL = [*PERSONAL, "digest", "test"]
CONFIRM = "https://news.example.org/confirm/WyJ4WmQ4cVdmTHMyN2RhUVZKIl0.aSJkbQ.8mVh1Yb0Yx2zq2l3nFZ6"
EVIL = '<script>alert(1)</script>"{{ 7*7 }}{% raw %}'

PIECE = Piece(
    title="Counting oaks",
    url="https://fieldnotes.example.org/oaks",
    author="Ada Lovelace",
    published="2026-03-01",
    summary_html="<p>Every <em>spring</em> the same walk.</p>",
    summary_text="Every spring the same walk.",
    body_html="<p>The whole story.</p><h3>More</h3><table><tr><td>1</td></tr></table>",
    body_text="The whole story.",
    image="https://fieldnotes.example.org/oaks.jpg",
    image_alt="Oaks in the rain",
    image_credit="Photo: Jane Doe, CC BY 4.0",
    tags=("Woods",),
)
DIGEST = Content(
    subject="The wood in March",
    preheader="Oaks and an owl.",
    intro_html="<p>It was wet.</p>",
    intro_text="It was wet.",
    pieces=(PIECE,),
)


def piece(**over: Any) -> Piece:
    return Piece(**{**PIECE.__dict__, **over})


def values(**over: Any) -> dict[str, Any]:
    return {
        "publication": {
            "title": "Field Notes",
            "from_name": "Field Notes",
            "postal_address": "12 Orchard Lane\nAmbleside, England",
            "privacy_url": "https://fieldnotes.example.org/privacy",
            "accent_color": "#1f5f4a",
            "home_url": "https://news.example.org/field-notes/",
            "language": "en",
        },
        "reader": {"name": "Ada", "address": "ada@example.org"},
        "links": {
            "confirm_url": CONFIRM,
            "access_url": CONFIRM.replace("confirm", "access"),
            "unsubscribe_url": "https://news.example.org/unsubscribe/abc",
            "preferences_url": "https://news.example.org/preferences/abc",
            "archive_url": "https://news.example.org/field-notes/archive/abc",
        },
        "good_for_days": 7,
        "good_for_minutes": 60,
        "greeting": "Hello Ada,",
        "digest": DIGEST,
        **over,
    }


def written(name: str, language: str = "en", **over: Any) -> Letter:
    return letters.render(name, language, values(**over))


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of the title."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def targets(document: str) -> list[str]:
    return [str(link["href"]) for link in Elements(document).all("a")]


@pytest.mark.parametrize("name", ALL)
def test_every_letter_is_whole(name: str) -> None:
    """Subject of one line, both parts, the publication's name and postal address, no leftovers."""
    letter = written(name)
    assert letter.subject and "\n" not in letter.subject
    for part in (letter.text, letter.html):
        assert "Field Notes" in part and "12 Orchard Lane" in part
        assert not re.search(r"\{\{|\{%|%\(\w+\)s|<!--styles-->|None", part)
    assert letter.text.endswith("England\n")
    assert "<" not in letter.text


@pytest.mark.parametrize("name", ALL)
def test_every_letter_says_why_it_came(name: str) -> None:
    """Both parts hold the reason."""
    letter = written(name)
    assert "You receive this mail because" in letter.html
    assert "You receive this mail because" in " ".join(letter.text.split())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_html_is_what_mail_programs_need(name: str, language: str) -> None:
    """Language, direction, title, light and dark, tables that are layout, pictures with text, and
    little enough style that Gmail keeps it."""
    document = written(name, language).html
    elements = Elements(document)
    [root] = elements.all("html")
    assert (root["lang"], root["dir"]) == (language, "rtl" if language == "ar" else "ltr")
    assert re.search(r"<title>[^<]+</title>", document)
    metas = {meta.get("name"): meta.get("content") for meta in elements.all("meta")}
    assert metas["color-scheme"] == "light dark"
    layout = [table for table in elements.all("table") if "class" in table or "bgcolor" in table]
    assert all(table.get("role") == "presentation" for table in layout)
    assert all("alt" in image for image in elements.all("img"))
    [style] = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    assert "prefers-color-scheme: dark" in style and len(style.encode()) < 16_000
    assert len(document.encode()) < 90_000
    assert len(elements.all("h1")) == 1
    sizes = [int(size) for size in re.findall(r"font-size: (\d+)px", document)]
    assert min(size for size in sizes if size > 1) >= 13
    assert not elements.all("link") and not elements.all("script") and not elements.all("form")


@pytest.mark.parametrize("name", ALL)
def test_text_lines_are_short(name: str) -> None:
    """At most 72 characters, unless it is one address."""
    for line in written(name).text.splitlines():
        assert len(line) <= 72 or " " not in line


def test_the_confirmation_link_stands_alone() -> None:
    """Bare, on a line of its own, and no other address is in the letter."""
    letter = written("confirmation")
    lines = letter.text.split("\n")
    place = lines.index(CONFIRM)
    assert lines[place - 1] == lines[place + 1] == ""
    assert re.findall(r"https?://\S+", letter.text) == [CONFIRM]
    assert set(targets(letter.html)) == {CONFIRM}
    assert f">{CONFIRM}</a>" in letter.html


def test_the_confirmation_holds_nothing_typed_and_no_picture() -> None:
    """No name, no address, no image and no background picture: whoever typed them may be a
    stranger to the one who reads it."""
    letter = written("confirmation", reader={"name": "BUY NOW", "address": "buy@now.example"})
    for part in (letter.subject, letter.text, letter.html):
        assert "BUY NOW" not in part and "buy@now" not in part
    assert not Elements(letter.html).all("img")
    assert not re.search(r"url\(|background-image|<svg", letter.html)


@pytest.mark.parametrize(
    ("days", "words"), [(7, "7 days"), (1, "1 day"), (1.5, "36 hours"), (0.02, "29 minutes")]
)
def test_the_confirmation_says_how_long_it_is_good(days: float, words: str) -> None:
    """In both parts, in words."""
    letter = written("confirmation", good_for_days=days)
    assert f"good for {words}." in letter.text and f"good for {words}." in letter.html


def test_the_access_letter_says_how_long_it_is_good() -> None:
    """And it has its link alone on a line, too."""
    letter = written("access", good_for_minutes=60)
    assert "good for 60 minutes." in letter.text and "good for 60 minutes." in letter.html
    assert CONFIRM.replace("confirm", "access") in letter.text.split("\n")


@pytest.mark.parametrize("name", ["digest", "test", "welcome", "already-confirmed"])
def test_the_ways_out_are_visible(name: str) -> None:
    """Who is on the list finds the link to leave in both parts, inside the first 90 KB."""
    letter = written(name)
    for link in ("unsubscribe_url", "preferences_url"):
        url = values()["links"][link]
        assert url in letter.text.split("\n")
        assert url in targets(letter.html)
    assert ">Unsubscribe</a>" in letter.html


@pytest.mark.parametrize("name", ALL)
def test_what_people_wrote_is_only_text(name: str) -> None:
    """Script and template syntax in names, titles and addresses come out as they were typed."""
    base = values()
    letter = written(
        name,
        publication=base["publication"] | {"title": EVIL, "postal_address": EVIL},
        reader={"name": EVIL, "address": EVIL},
        greeting=EVIL,
        digest=Content(
            subject=EVIL,
            preheader=EVIL,
            pieces=(piece(title=EVIL, author=EVIL, image_alt=EVIL, image_credit=EVIL,
                          published=EVIL, tags=(EVIL,)),),
        ),
    )  # fmt: skip
    assert not Elements(letter.html).all("script")
    assert "49" not in re.sub(r"#\w+|\d+px", "", letter.html)
    assert "{{ 7*7 }}" in letter.text and "{{ 7*7 }}" in letter.subject
    assert all(set(image) <= {"class", "src", "alt", "width", "style"}
               for image in Elements(letter.html).all("img"))  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_a_title_cannot_break_the_subject(name: str) -> None:
    """Line ends and control characters in a title or subject leave one clean line."""
    title = "Field\r\nBcc: all@example.org\0\u2028Notes\x1b[31m"
    letter = written(
        name,
        publication=values()["publication"] | {"title": title},
        digest=Content(subject=title, pieces=(PIECE,)),
    )
    assert not re.search(r"[\x00-\x1f\u2028]", letter.subject)


def test_a_digest_shows_its_pieces() -> None:
    """Title with its link, picture with alt and credit, author and date, the summary, Read on."""
    letter = written("digest", publication=values()["publication"] | {"theme": "magazine"})
    document = letter.html
    assert letter.subject == "The wood in March"
    assert "Oaks and an owl." in document and "It was wet." in document
    assert targets(document).count(str(PIECE.url)) == 3  # picture, title, Read on
    [picture] = Elements(document).all("img")
    assert (picture["alt"], picture["src"]) == ("Oaks in the rain", PIECE.image)
    assert "Photo: Jane Doe, CC BY 4.0" in document
    assert "Ada Lovelace · March 1, 2026" in document
    assert "Every <em>spring</em> the same walk." in document and "The whole story" not in document
    assert "Read on" in document
    assert values()["links"]["archive_url"] in targets(document)
    for part in (
        "Hello Ada,",
        "It was wet.",
        "Counting oaks\n-------------\n",
        "Ada Lovelace · March 1, 2026",
        "Every spring the same walk.",
        str(PIECE.url),
    ):
        assert part in letter.text  # fmt: skip


def test_a_full_piece_shows_its_body() -> None:
    """The body instead of the summary; without an address there is nothing to read on."""
    letter = written("digest", digest=Content(subject="x", pieces=(piece(full=True, url=None),)))
    assert "The whole story." in letter.html and "The whole story." in letter.text
    assert "the same walk" not in letter.html + letter.text
    assert "Read" not in letter.html.replace("Read it", "Read")
    assert re.search(r'<h3 style="[^"]+">More</h3>', letter.html)


def test_a_title_that_is_the_subject_is_said_once() -> None:
    """One article whose title is the subject: one headline."""
    letter = written("digest", digest=Content(subject=PIECE.title, pieces=(PIECE,)))
    assert len(re.findall(r"<h[12][ >]", letter.html)) == 1


@pytest.mark.parametrize(("count", "listed"), [(3, False), (4, True)])
def test_a_long_digest_has_a_contents_list(count: int, listed: bool) -> None:
    """From four pieces on, in both parts; what is whole in the letter is linked inside it."""
    pieces = tuple(piece(title=f"Piece {n}", full=n == 2) for n in range(1, count + 1))
    letter = written("digest", digest=Content(subject="x", pieces=pieces))
    assert ("In this digest" in letter.html) == ("In this digest" in letter.text) == listed
    if listed:
        assert "#article-2" in targets(letter.html)
        assert 'id="article-2"' in letter.html


def test_nothing_is_loaded_to_style_a_letter(tmp_path: Path) -> None:
    """A stylesheet that some content links to is neither read from the disk nor from the net."""
    sheet = tmp_path / "secret.css"
    sheet.write_text("p { color: #abcdef }")
    html = f'<link rel="stylesheet" href="{sheet}"><link rel="stylesheet" href="file://{sheet}">'
    letter = written("digest", digest=Content(subject="x", intro_html=html + "<p>Hi</p>"))
    assert "abcdef" not in letter.html


def test_styles_stand_in_the_elements() -> None:
    """What most mail programs read: colours and sizes in the elements, the accent among them."""
    look = {"theme": "magazine", "accent_color": "#aa2200"}
    letter = written("digest", publication=values()["publication"] | look)
    assert "border-top: 6px solid #aa2200" in letter.html
    assert re.search(r'<p style="margin: 0 0 18px', letter.html)
    bad = written("digest", publication=values()["publication"] | {"accent_color": "x;}</style>"})
    assert "#1f5f4a" in bad.html


def test_slots_survive() -> None:
    """A token where a reader's link will be comes through in text, HTML and the links."""
    token = "slot0123456789abcdef"
    links = values()["links"] | {"unsubscribe_url": token}
    letter = written("digest", links=links, greeting=token, reader={"name": None, "address": token})
    assert letter.html.count(token) == letter.text.count(token) == 3
    assert token in targets(letter.html)


def test_objects_and_mappings_are_both_fine() -> None:
    """Values may be rows of a table or plain mappings."""

    class Plain:
        def __init__(self, fields: Mapping[str, Any]) -> None:
            self.__dict__.update(fields)

    plain = {
        name: Plain(value) if isinstance(value, dict) else value for name, value in values().items()
    }
    for name in ALL:
        assert letters.render(name, "en", plain) == written(name)


def test_the_same_values_give_the_same_letter() -> None:
    """A mail that is tried again is the same mail."""
    assert written("digest") == written("digest")


@pytest.mark.parametrize("name", ["nothing", "../pages/x", "_layout"])
def test_an_unknown_letter_is_said(name: str) -> None:
    """The error is one of ours and names the letter."""
    with pytest.raises(LetterError, match=re.escape(name)):
        written(name)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_value_is_said(name: str) -> None:
    """A letter is never sent with a hole where a link belongs."""
    with pytest.raises(LetterError):
        written(name, **({"publication": {}} if name == "goodbye" else {"links": {}}))


def test_every_sentence_can_be_translated() -> None:
    """In the templates, words stand only inside gettext calls."""
    for path in (resource_dir("templates") / "mail").rglob("*"):
        if path.suffix not in {".txt", ".html"}:
            continue
        rest = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", "", path.read_text(), flags=re.DOTALL)
        rest = re.sub(r"<!--\[if mso\]>.*?<!\[endif\]-->", "", rest, flags=re.DOTALL)
        rest = re.sub(r"<[^>]*>|&\w+;", "", rest, flags=re.DOTALL)
        assert not re.search(r"[A-Za-z]{2,}", rest), (path, rest)
