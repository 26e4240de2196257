"""A publication's look on its pages: colour, fonts and logo as in its letters, always readable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from newsletter import store
from newsletter.mail.colors import contrast
from newsletter.mail.look import FONTS
from newsletter.resources import resource_dir
from newsletter.web import theme

COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
LOGO = {
    "logo_url": "https://pictures.example:8443/logo.png",
    "logo_alt": "Field Notes, a heron",
    "logo_width": 180,
    "logo_height": 48,
}
STYLES = Path(theme.__file__).parent / "static" / "style.css"
# What the pages and the letters call the same colour.
THEIRS = {
    "ground": "ground", "paper": "paper", "panel": "tint", "ink": "ink", "head": "head",
    "line": "rule",
}  # fmt: skip
NAMES = ("ground", "paper", "panel", "field", "ink", "head", "soft", "edge", "wrong")


def grounds() -> list[tuple[str, dict[str, str]]]:
    """The colours of style.css: for each theme, in light and in dark."""
    text = STYLES.read_text(encoding="utf-8")
    found = re.findall(r"(?s)(:root|\.magazine) \{(.*?)\}", text)
    light, dark, magazine, dark_magazine = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", body)) for _, body in found
    )
    return [
        ("light", light),
        ("dark", light | dark),
        ("light magazine", light | magazine),
        ("dark magazine", light | dark | magazine | dark_magazine),
    ]


@given(COLORS)
def test_every_colour_becomes_readable(color: str) -> None:
    """At least 4.5 to 1 on every ground, in light and in dark (WCAG 2.2, 1.4.3)."""
    colors = theme.colors_of(color)
    for name, found in grounds():
        is_dark = "dark" in name
        link = colors.dark_accent if is_dark else colors.link
        fill, words = (
            (colors.dark_accent, colors.on_dark_accent)
            if is_dark
            else (colors.accent, colors.on_accent)
        )
        assert contrast(words, fill) >= 4.5
        for ground in ("ground", "paper", "panel", "field"):
            assert contrast(link, found[ground]) >= 4.5, (name, ground)


def test_the_stylesheets_own_colours_are_readable() -> None:
    """Words on every ground 4.5 to 1, the edge of a field 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    for name, found in grounds():
        assert set(NAMES) <= set(found), name
        for ground in ("ground", "paper", "panel", "field"):
            for words in ("ink", "head", "soft", "wrong", "link"):
                assert contrast(found[words], found[ground]) >= 4.5, (name, words, ground)
            assert contrast(found["edge"], found[ground]) >= 3, (name, ground)
        assert contrast(found["on-accent"], found["accent"]) >= 4.5
    hardest = grounds()[2][1]["ground"]
    assert hardest == theme.LIGHT_GROUND
    assert grounds()[3][1]["panel"] == theme.DARK_GROUND


@pytest.mark.parametrize("name", sorted(theme.THEMES))
def test_pages_and_letters_have_one_palette(name: str) -> None:
    """Paper, ground, ink and lines are those of the letters' theme of the same name."""
    source = (resource_dir("templates") / "mail" / "themes" / name / "tokens.css").read_text()
    tokens = dict(re.findall(r'set (\w+) = "(#[0-9a-f]{6})"', source))
    suffix = " magazine" if name == "magazine" else ""
    pages = dict(grounds())
    for mode, prefix in (("light", ""), ("dark", "dark_")):
        found = pages[mode + suffix]
        for ours, theirs in THEIRS.items():
            assert found[ours] == tokens[prefix + theirs], (mode, ours)


def test_pages_and_letters_have_the_same_fonts() -> None:
    """What a publication does not choose is what its letters have."""
    text = STYLES.read_text(encoding="utf-8")
    assert f"--serif: {FONTS['georgia']};" in text
    assert f"--sans: {FONTS['system']};" in text


def test_the_stylesheet_is_small() -> None:
    """One file for all pages, smaller than a picture."""
    assert STYLES.stat().st_size < 16_000


def test_the_theme_is_a_stylesheet_of_its_own(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """Linked from the publication's pages, with an address that changes with the look."""
    with store.transaction(engine) as session:
        make_publication(session, accent_color="#ffd400", heading_font="verdana")
    found = re.search(r'href="(/field-notes/theme.css\?v=\w+)"', client.get("/").text)
    assert found
    answer = client.get(found[1])
    assert answer.mimetype == "text/css"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "--accent:#ffd400;" in answer.text
    assert "--heading:Verdana, " in answer.text
    assert "--text" not in answer.text
    with store.transaction(engine) as session:
        session.query(store.Publication).one().heading_font = "georgia"
    assert found[1] not in client.get("/").text


def test_what_is_no_colour_is_the_standard_one(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """Nothing that stands in a row comes into the stylesheet unread."""
    with store.transaction(engine) as session:
        make_publication(session, accent_color="red;}", text_font="x;}*{}")
    text = client.get("/field-notes/theme.css").text
    assert "red" not in text
    assert "*" not in text
    assert text.count("{") == text.count("}") == 3


def test_the_logo_stands_for_the_name(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """With its words and its size, and allowed by the policy from where it lies, and only there."""
    with store.transaction(engine) as session:
        make_publication(session, **LOGO)
        make_publication(session, slug="night-sky", title="The Night Sky")
    answer = client.get("/field-notes/")
    wanted = '<img src="{logo_url}" alt="{logo_alt}" width="{logo_width}" height="{logo_height}">'
    assert wanted.format(**LOGO) in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "img-src 'self' https://pictures.example:8443;" in policy
    other = client.get("/night-sky/")
    assert "img-src 'self';" in other.headers["Content-Security-Policy"]
    assert ">The Night Sky</a>" in other.text


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://example.org/x;y,z", "https://example.org"),
        ("https://bücher.example/logo.png", "https://xn--bcher-kva.example"),
        ("https://exa mple.org'; script-src *", "https:"),
        (f"https://{'ü' * 70}.example/", "https:"),
    ],
)
def test_a_policy_names_hosts_in_ascii(address: str, expected: str) -> None:
    """A header takes no other letters, and no address can add a directive."""
    assert theme.origin(address) == expected


@pytest.mark.parametrize(
    ("chosen", "expected"), [("plain", "plain"), ("magazine", "magazine"), ("my-own", "plain")]
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_pages_follow_the_letters_theme(
    client: FlaskClient, engine: Engine, make_publication: Any, chosen: str, expected: str
) -> None:
    """A theme of the operator's own has no pages of its own: they are quiet ones."""
    with store.transaction(engine) as session:
        make_publication(session, theme=chosen)
    assert f'<body class="{expected}">' in client.get("/field-notes/").text
