"""A publication's colour is readable, whatever the operator chose."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from newsletter import store
from newsletter.web import theme

COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLORS)
def test_every_colour_becomes_readable(color: str) -> None:
    """At least 4.5 to 1 on light and on dark paper (WCAG 2.2, 1.4.3)."""
    for ground in (theme.LIGHT_GROUND, theme.DARK_GROUND):
        assert theme.contrast(theme.readable(color, ground), ground) >= 4.5


def test_a_readable_colour_stays_as_it_is() -> None:
    """Only what must change changes; what is no colour is the standard one."""
    assert theme.readable("#1f5f4a", theme.LIGHT_GROUND) == "#1f5f4a"
    assert theme.readable("red;}", theme.LIGHT_GROUND) == theme.DEFAULT


def test_contrast_is_wcags() -> None:
    """Black on white is 21 to 1; the order does not matter."""
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert theme.contrast("#ffffff", "#777777") == theme.contrast("#777777", "#ffffff")


def test_the_stylesheets_colours_are_readable(client: FlaskClient) -> None:
    """The colours of style.css itself, on both papers, and on the panels."""
    text = client.get("/static/style.css").text
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]+);", part)) for part in _roots(text))
    for colors in (light, dark):
        panel = colors["panel"] if len(colors["panel"]) == 7 else "#ffffff"
        for ground in (colors["paper"], panel):
            for name in ("ink", "soft", "accent", "wrong"):
                assert theme.contrast(colors[name], ground) >= 4.5, (name, ground)
            # WCAG 2.2, 1.4.11: the edge of a field.
            assert theme.contrast(colors["edge"], ground) >= 3
    assert light["paper"] == theme.LIGHT_GROUND
    assert dark["panel"] == theme.DARK_GROUND
    assert len(text) < 12_000


def _roots(text: str) -> list[str]:
    found = re.findall(r"(?s):root \{(.*?)\}", text)
    assert len(found) == 2
    return found


def test_the_theme_is_a_stylesheet_of_its_own(
    client: FlaskClient, engine: Engine, make_publication: Any
) -> None:
    """Linked from the publication's pages, with an address that changes with the colour."""
    with store.transaction(engine) as session:
        make_publication(session, accent_color="#ffd400")
    found = re.search(r'href="(/field-notes/theme.css\?v=\w+)"', client.get("/").text)
    assert found
    answer = client.get(found[1])
    assert answer.mimetype == "text/css"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "#ffd400" in answer.text
    with store.transaction(engine) as session:
        session.query(store.Publication).one().accent_color = "#004488"
    assert found[1] not in client.get("/").text
