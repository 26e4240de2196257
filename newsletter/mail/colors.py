"""A publication's one colour, turned into the few that a letter needs, each readable.

The contrast is WCAG 2.2's (§1.4.3): at least 4.5 to 1 for text, in light and in dark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

DEFAULT = "#1f5f4a"
LIGHT_GROUND = "#ffffff"
DARK_GROUND = "#1d1e22"
_ENOUGH = 4.5
_ENOUGH_IN_THE_DARK = 5.5  # thin bright words on a dark ground read worse
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS = 40


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
def palette(accent: str) -> Palette:
    """The colours of a publication; `accent` is #rrggbb, anything else counts as the default."""
    accent = accent.lower() if _HEX.fullmatch(accent) else DEFAULT
    dark_accent = _readable(accent, DARK_GROUND, toward="#ffffff", enough=_ENOUGH_IN_THE_DARK)
    return Palette(
        accent=accent,
        on_accent=_on(accent),
        link=_readable(accent, LIGHT_GROUND, toward="#000000", enough=_ENOUGH),
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


def _readable(color: str, ground: str, *, toward: str, enough: float) -> str:
    """`color`, moved toward black or white until words of it can be read on `ground`."""
    for step in range(_STEPS):
        mixed = _mix(color, toward, step / _STEPS)
        if contrast(mixed, ground) >= enough:
            return mixed
    return toward


def _mix(color: str, other: str, share: float) -> str:
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
