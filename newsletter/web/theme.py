"""A publication's own colour, made readable on light and on dark paper.

The pages allow no inline style, so the colour comes as a stylesheet of its own. An operator may
choose any colour; what is shown keeps the hue and changes the lightness until the contrast is what
WCAG 2.2 asks for text (1.4.3: 4.5 to 1).
"""

from __future__ import annotations

import colorsys
import re

from newsletter.store import Publication

DEFAULT = "#1f5f4a"
# The grounds of static/style.css that the colour must be read on, the harder ones: the paper where
# it is light, the panel where it is dark. Words on a button have the colour of the paper.
LIGHT_GROUND = "#fcfbf8"
DARK_GROUND = "#1f2226"
_CONTRAST = 4.6
_STEPS = 200

Color = tuple[float, float, float]


def stylesheet(publication: Publication) -> str:
    """The publication's colour as CSS custom properties, for light and for dark."""
    light = readable(publication.accent_color, LIGHT_GROUND)
    dark = readable(publication.accent_color, DARK_GROUND)
    return (
        f":root{{--accent:{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}\n"
    )


def readable(color: str, ground: str) -> str:
    """`color` (#rrggbb), as near as it gets to itself while it can be read on `ground`."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        color = DEFAULT
    hue, lightness, saturation = colorsys.rgb_to_hls(*_parse(color))
    end = 0.0 if _luminance(_parse(ground)) > 0.5 else 1.0
    for step in range(_STEPS + 1):
        part = step / _STEPS
        moved = lightness + (end - lightness) * part
        rounded = _write(colorsys.hls_to_rgb(hue, moved, saturation))
        if contrast(rounded, ground) >= _CONTRAST:
            return rounded
    return "#000000" if end == 0.0 else "#ffffff"


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (#rrggbb), from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(_parse(one)), _luminance(_parse(other))))
    return (lighter + 0.05) / (darker + 0.05)


def _parse(color: str) -> Color:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _write(color: Color) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in color)


def _luminance(color: Color) -> float:
    """WCAG 2.2, "relative luminance"."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
