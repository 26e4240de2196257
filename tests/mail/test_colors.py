"""A publication's colour, whatever it is, gives words that can be read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from newsletter.mail.colors import DARK_GROUND, DEFAULT, LIGHT_GROUND, contrast, palette


@given(st.integers(0, 0xFFFFFF))
def test_every_colour_is_readable(number: int) -> None:
    """WCAG 2.2 §1.4.3: 4.5 to 1 at least, on light, on dark and on the button."""
    colors = palette(f"#{number:06x}")
    assert contrast(colors.link, LIGHT_GROUND) >= 4.5
    assert contrast(colors.dark_accent, DARK_GROUND) >= 4.5
    assert contrast(colors.on_accent, colors.accent) >= 4.5
    assert contrast(colors.on_dark_accent, colors.dark_accent) >= 4.5


def test_a_readable_colour_stays() -> None:
    """A colour that can be read already is not changed."""
    assert palette("#1F5F4A").link == palette("#1F5F4A").accent == "#1f5f4a"
    assert round(contrast("#000000", "#ffffff"), 1) == 21


def test_what_is_no_colour_is_the_default() -> None:
    """Nothing but six hex digits gets into a style."""
    for bad in ("red", "#fff", "", "#12345g", "#123456;background:url(x)"):
        assert palette(bad) == palette(DEFAULT)
