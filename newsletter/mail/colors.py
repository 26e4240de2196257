"""A publication's one colour, turned into the few that a letter needs, each readable.

The contrast is WCAG 2.2's (§1.4.3): at least 4.5 to 1 for text, in light and in dark.
"""

from __future__ import annotations

import colorsys
import re
from dataclasses import dataclass
from functools import cache

DEFAULT = "#1f5f4a"
LIGHT_GROUND = "#ffffff"
DARK_GROUND = "#1d1e22"
_ENOUGH = 4.5
_ENOUGH_IN_THE_DARK = 5.5  # thin bright words on a dark ground read worse
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS = 100


@dataclass(frozen=True)
class Palette:
    """Colours as #rrggbb. `accent` fills areas, `link` is for words, the `on_` ones stand on them.

    The dark ones are for a reader who has dark mode on.
    """

    accent: str
    on_accent: str
    link: str
    dark_accent: str
    on_dark_accent: str


@cache
def palette(accent: str, light: str = LIGHT_GROUND, dark: str = DARK_GROUND) -> Palette:
    """The colours of a publication; `accent` is #rrggbb, anything else counts as the default.

    light, dark: the grounds (#rrggbb) on which words of it are read.
    """
    accent = accent.lower() if _HEX.fullmatch(accent) else DEFAULT
    dark_accent = _readable(accent, dark, toward=1, enough=_ENOUGH_IN_THE_DARK)
    return Palette(
        accent=accent,
        on_accent=_on(accent),
        link=_readable(accent, light, toward=0, enough=_ENOUGH),
        dark_accent=dark_accent,
        on_dark_accent=_on(dark_accent),
    )


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _on(ground: str) -> str:
    """White if it can be read on `ground`, else nearly black, else black, which then always can."""
    for color in ("#ffffff", "#14151a"):
        if contrast(color, ground) >= _ENOUGH:
            return color
    return "#000000"


def _readable(color: str, ground: str, *, toward: float, enough: float) -> str:
    """`color`, made lighter or darker until words of it can be read on `ground`.

    toward: the lightness at the end, 1 for white, 0 for black. The hue stays what it is.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in _channels(color)))
    for step in range(_STEPS):
        moved = lightness + (toward - lightness) * step / _STEPS
        mended = _written(colorsys.hls_to_rgb(hue, moved, saturation))
        if contrast(mended, ground) >= enough:
            return mended
    return _written((toward, toward, toward))


def _written(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in color)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
