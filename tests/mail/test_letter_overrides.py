"""An operator's own templates: in place of ours, on top of ours, frozen, and never in the way."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from lettering import EVERYTHING, READER, frozen, letter, values
from structlog.testing import capture_logs

from newsletter.mail import letters
from newsletter.mail.frozen import FrozenLetter, fill
from newsletter.mail.letters import LetterError, Templates, of_files
from newsletter.resources import resource_dir


def own(folder: Path, **files: str) -> Templates:
    """The templates with these files in place: digest__body_txt is digest/body.txt."""
    for name, source in files.items():
        *folders, kind = name.replace("__", "/").rsplit("_", 1)
        path = folder / f"{'_'.join(folders)}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return of_files("en", str(folder))


def test_a_file_of_the_same_name_takes_the_place_of_ours(tmp_path: Path) -> None:
    """The other parts, and all other letters, stay ours."""
    templates = own(tmp_path, digest__subject_txt="News: {{ digest.subject }}")
    made = letter(templates=templates)
    assert made.subject == "News: The wood in March"
    assert made.html == letter().html


def test_one_block_of_ours_can_be_changed(tmp_path: Path) -> None:
    """What extends the one it takes the place of has all the rest of it."""
    templates = own(
        tmp_path,
        goodbye__body_html='{% extends "shipped/goodbye/body.html" %}'
        "{% block words %}<h1>Farewell</h1>{{ super() }}{% endblock %}",
    )
    made, ours = (t.render("goodbye", values()).html for t in (templates, of_files("en")))
    assert ">Farewell</h1>" in made and "you have left Field Notes" in made
    assert re.sub(r"\s*<h1[^>]*>Farewell</h1>", "", made).split() == ours.split()


def test_a_part_of_ours_serves_their_letters_too(tmp_path: Path) -> None:
    """Ours find theirs: a style or a component is changed in one place for every letter."""
    templates = own(
        tmp_path,
        themes__plain__style_css='{% include "shipped/themes/plain/style.css" %}'
        "h1 { color: #123456; }",
    )
    assert "color: #123456" in letter(templates=templates).html
    assert "color: #123456" in templates.render("welcome", values()).html


def test_a_copy_of_a_theme_is_a_theme(tmp_path: Path) -> None:
    """Under its own name, with its own colours."""
    ours = resource_dir("templates") / "mail" / "themes" / "plain"
    mine = tmp_path / "themes" / "dusk"
    shutil.copytree(ours, mine)
    for path in mine.iterdir():
        text = path.read_text().replace("themes/plain", "themes/dusk")
        path.write_text(text.replace('ground = "#ffffff"', 'ground = "#fdf0e0"'))
    templates = of_files("en", str(tmp_path))
    assert templates.themes() == ["dusk", "magazine", "plain"]
    assert 'bgcolor="#fdf0e0"' in letter(theme="dusk", templates=templates).html
    with pytest.raises(LetterError, match="there are: magazine, plain"):
        letter(theme="dusk")


def test_what_looks_at_a_reader_is_frozen_with_all_it_needs(tmp_path: Path) -> None:
    """Whatever becomes of the files: the digest says what was approved."""
    templates = own(
        tmp_path,
        digest__body_html='{% extends "shipped/digest/body.html" %}'
        "{% block title %}{% if reader.name %}For {{ reader.name }}{% else %}For you{% endif %}"
        "{% endblock %}",
    )
    kept = frozen(templates=templates, theme="magazine")
    assert kept["logic"]
    assert {"digest/body.html", "shipped/digest/body.html"} <= set(kept["logic"]["templates"])
    (tmp_path / "digest" / "body.html").write_text("{{ gone }}")
    made = fill(kept, READER).html
    assert "<title>For Ada Lovelace</title>" in made and "Counting" not in made
    assert "<title>For you</title>" in fill(kept, {**READER, "name": ""}).html


def test_a_file_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    """A preview shows what stands in the file now, styles too; one that is new or gone as well."""
    assert "shipped" not in letter(templates=of_files("en", str(tmp_path))).html
    css = "themes__plain__style_css"
    ours = '{% include "shipped/themes/plain/style.css" %}'
    assert (
        "#111111"
        in letter(templates=own(tmp_path, **{css: f"{ours} h1 {{ color: #111111 }}"})).html
    )
    file = tmp_path / "themes" / "plain" / "style.css"
    file.write_text(f"{ours} h1 {{ color: #222222 }} /* longer */")
    made = letter(templates=of_files("en", str(tmp_path))).html
    assert "#222222" in made and "#111111" not in made
    file.unlink()
    assert letter(templates=of_files("en", str(tmp_path))) == letter()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("one\n{% if %}", r"digest/body\.html, line 2: TemplateSyntaxError"),
        ("one\ntwo\n{{ digest.titel }}", r"digest/body\.html, line 3: UndefinedError: .*titel"),
        ("{{ digest.__class__.__mro__ }}", r"digest/body\.html, line 1: .*unsafe"),
        ("{{ publication.update({}) }}", "line 1: SecurityError"),
        ("{% include 'nothing.html' %}", "TemplateNotFound: nothing.html"),
        ("{% include '../../../etc/passwd' %}", "TemplateNotFound"),
        ("{{ range(10**9)|list|length }}", "line 1: OverflowError"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    ],
)
def test_a_broken_one_says_where(tmp_path: Path, source: str, said: str) -> None:
    """File and line; and nothing but values is within its reach."""
    with pytest.raises(LetterError, match=said):
        letter(templates=own(tmp_path, digest__body_html=source))


def test_somebody_waits_for_a_personal_letter(tmp_path: Path) -> None:
    """When theirs is broken ours is sent, and the log says what is wrong with it."""
    own(tmp_path, confirmation__body_html="{{ links.confirm_uri }}")
    with capture_logs() as logs:
        made = letters.render("confirmation", "en", values(), str(tmp_path))
    assert made == letters.render("confirmation", "en", values())
    [entry] = logs
    assert entry["event"] == "own_template_fails"
    assert "confirmation/body.html, line 1" in entry["problem"]
    assert "confirm_uri" in entry["problem"]


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    """Letters go out in our own design while it is away."""
    assert letter(templates=of_files("en", str(tmp_path / "gone"))) == letter()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """A picture and what an editor left behind are no templates, and no digest freezes them."""
    (tmp_path / "digest").mkdir()
    (tmp_path / "digest" / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / ".DS_Store").write_bytes(b"\0\xff")
    templates = own(tmp_path, digest__body_txt="{{ reader.name|upper }}")
    kept = frozen(templates=templates)
    assert kept["logic"]
    assert all(name.endswith((".html", ".txt", ".css")) for name in kept["logic"]["templates"])


def test_what_people_wrote_is_text_in_theirs_too(tmp_path: Path) -> None:
    """Values are escaped without a word from the template's author, filters of ours included."""
    templates = own(
        tmp_path,
        digest__body_html="<p>{{ publication.title }} {{ publication.title|fitted(100) }}</p>",
    )
    evil = '<img src=x onerror="alert(1)">'
    assert "<img" not in letter(templates=templates, title=evil).html


# What a digest had frozen before there were themes: templates that ask for styles in _layout, and
# a publication that has only a colour.
BEFORE_THEMES = {
    "version": 2,
    "content": {**EVERYTHING.to_json(), "language": "en"},
    "subject": "x",
    "text": "",
    "html": "",
    "slots": {},
    "logic": {
        "templates": {
            "digest/subject.txt": "{{ digest.subject }}",
            "digest/body.txt": "{{ reader.name|upper }} {{ digest.subject|line|wrap }}",
            "digest/body.html": "<html><head>{{ styles_here }}</head><body><p>{{ reader.name }}"
            "{{ (publication.accent_color|color).accent }}</p></body></html>",
            "_layout/style.css": "p { color: {{ colors.link }}; text-align: {{ start }}; }",
            "_layout/media.css": "p { color: {{ dark_ground }} }",
        },
        "publication": {"title": "Field Notes", "accent_color": "#aa2200"},
        "links": {"archive_url": "https://a.example/"},
    },
    "checkpoint": None,
    "sha256": "0" * 64,
}


def test_digests_from_before_there_were_themes_are_still_sent() -> None:
    """They have no theme and ask for none."""
    made = FrozenLetter(BEFORE_THEMES).fill(READER)
    assert made.text == "ADA LOVELACE The wood in March\n"
    assert '<p style="color: #aa2200;text-align: left;">Ada Lovelace#aa2200</p>' in made.html
    assert "<style>\np { color: #1d1e22 }\n</style>" in made.html
