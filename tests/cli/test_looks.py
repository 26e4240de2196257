"""What letters look like, as an operator chooses it: theme, colours, fonts, logo, own templates."""

from __future__ import annotations

import re

import pytest
from commandline import Home

from newsletter.mail.look import FONTS


def show(home: Home) -> dict[str, object]:
    found: dict[str, object] = home.json("publication", "show", "field-notes")
    return found


def preview(home: Home) -> str:
    """The HTML part of a digest, as `digest preview` writes it, without its signed links."""
    out = home.folder / "out"
    home.run("digest", "preview", 1, "--out", out)
    page = (out / "digest.html").read_text(encoding="utf-8")
    return re.sub(r"/(unsubscribe|preferences)/[^\"]+", r"/\1/", page)


@pytest.fixture
def drafted(home: Home) -> Home:
    """An installation with a publication and a draft."""
    home.publish()
    home.write("one.md", "---\ntitle: Oaks\nurl: https://a.example/oaks\n---\n\nEach spring.\n")
    home.run("article", "add", home.folder / "one.md")
    home.run("digest", "new", "--publication", "field-notes", "--subject", "The wood", 1)
    return home


def test_a_look_is_chosen_and_taken_back(home: Home) -> None:
    """Each part by its option; an empty text goes back to the theme's choice."""
    home.publish()
    before = show(home)
    assert (before["theme"], before["heading_font"], before["logo_url"]) == ("plain", None, None)
    home.run(
        *("publication", "edit", "field-notes", "--theme", "magazine", "--text-font", "verdana"),
        *("--heading-font", "palatino", "--logo-url", "https://a.example/l.png"),
        *("--logo-size", "240x60", "--logo-alt", "The Field Notes"),
    )
    after = show(home)
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "theme": "magazine",
        "text_font": "verdana",
        "heading_font": "palatino",
        "logo_url": "https://a.example/l.png",
        "logo_alt": "The Field Notes",
        "logo_width": 240,
        "logo_height": 60,
    }
    home.run(
        *("publication", "edit", "field-notes", "--theme", "plain", "--text-font", ""),
        *("--heading-font", "", "--logo-url", ""),
    )
    assert show(home) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--theme", "neon"), "The theme is one of: magazine, plain"),
        (("--heading-font", "comic"), ", ".join(FONTS)),
        (("--logo-url", "http://a.example/l.png", "--logo-size", "9x9"), "https://"),
        (("--logo-url", "https://a.example/l.png"), "--logo-size 240x60"),
        (("--logo-url", "https://a.example/l.png", "--logo-size", "big"), "--logo-size 240x60"),
        (("--logo-url", "https://a.example/l.png", "--logo-size", "2000x60"), "16 to 480 pixels"),
        (("--logo-alt", "a\nb"), "one line"),
    ],
)
def test_a_look_that_cannot_be_is_refused(home: Home, words: tuple[str, ...], said: str) -> None:
    """With the cure, and nothing is changed."""
    home.publish()
    before = show(home)
    assert said in home.run("publication", "edit", "field-notes", *words, code=1).stderr
    assert show(home) == before


def test_a_colour_that_cannot_be_read_is_told(home: Home) -> None:
    """Its owner learns what letters make of it; one that can be read needs no word."""
    home.publish()
    result = home.run("publication", "edit", "field-notes", "--accent-color", "#ffd400")
    assert "#ffd400 cannot be read on white" in result.stderr and "links in #" in result.stderr
    result = home.run("publication", "edit", "field-notes", "--accent-color", "#113355")
    assert result.stderr == ""


def test_a_draft_follows_the_look_and_an_approved_digest_does_not(drafted: Home) -> None:
    """What was approved stays as it was."""
    home = drafted
    plain = preview(home)
    home.run("publication", "edit", "field-notes", "--theme", "magazine")
    magazine = preview(home)
    assert "border-top: 6px solid" in magazine and "border-top: 6px solid" not in plain
    home.run("digest", "approve", 1)
    home.run("publication", "edit", "field-notes", "--theme", "plain")
    assert preview(home) == magazine


def test_own_templates_lie_beside_the_settings(drafted: Home) -> None:
    """They are in the preview and in what is approved; a broken one stops both, with its place."""
    home = drafted
    home.set(templates_folder="templates")
    ours = preview(home)
    (home.folder / "templates" / "digest").mkdir(parents=True)
    home.write(
        "templates/digest/body.html",
        '{% extends "shipped/digest/body.html" %}\n'
        "{% block footer %}Mine.{{ super() }}{% endblock %}",
    )
    assert "Mine." in preview(home) and "Mine." not in ours
    home.write("templates/digest/subject.txt", "{{ digest.subjekt }}")
    for command in ("preview", "approve"):
        said = home.run("digest", command, 1, code=1).stderr
        assert "digest/subject.txt, line 1" in said and "subjekt" in said
    home.write("templates/digest/subject.txt", "[Mine] {{ digest.subject }}")
    home.run("digest", "approve", 1)
    home.write("templates/digest/subject.txt", "changed")
    assert home.run("digest", "preview", 1).stdout.startswith("Subject: [Mine] The wood\n")


def test_a_theme_of_ones_own_can_be_chosen(home: Home) -> None:
    """Once it lies in the folder."""
    home.publish()
    home.set(templates_folder="templates")
    folder = home.folder / "templates" / "themes" / "dusk"
    folder.mkdir(parents=True)
    (folder / "style.css").write_text("p { color: #222222 }")
    home.run("publication", "edit", "field-notes", "--theme", "dusk")
    assert show(home)["theme"] == "dusk"
