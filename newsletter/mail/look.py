"""How a publication's letters look: theme, fonts, colour and logo, as plain values for templates.

Whatever a row or a digest frozen long ago says, what comes out of here is safe to stand in a style
or an attribute, and every letter has a look: what is missing or not known counts as the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TypedDict
from urllib.parse import urlsplit

from babel.core import get_global

from newsletter.mail.colors import DEFAULT as DEFAULT_ACCENT

DEFAULT_THEME = "plain"
THEME_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

# Stacks of fonts that are installed where mail is read. What Outlook on Windows has stands first:
# it takes Times New Roman when it does not know the first one.
FONTS: dict[str, str] = {
    "arial": "Arial, Helvetica, sans-serif",
    "georgia": "Georgia, 'Times New Roman', serif",
    "palatino": "'Palatino Linotype', Palatino, 'Book Antiqua', Georgia, serif",
    "system": "'Segoe UI', system-ui, -apple-system, Roboto, Arial, sans-serif",
    "times": "'Times New Roman', Times, serif",
    "trebuchet": "'Trebuchet MS', 'Lucida Grande', Tahoma, sans-serif",
    "verdana": "Verdana, Geneva, 'DejaVu Sans', sans-serif",
}

# In CSS pixels: what fits beside nothing else into a letter, and does not push it off the screen.
LOGO_WIDTHS = range(16, 481)
LOGO_HEIGHTS = range(8, 201)

# Scripts that have an italic, and whose letters do not join: others are never slanted or spaced.
_LIKE_LATIN = {"Latn", "Cyrl", "Grek"}
_ACCENT = re.compile(r"#[0-9a-fA-F]{6}")


class Logo(TypedDict):
    """A picture in place of the name. url: absolute https. width, height: in CSS pixels."""

    url: str
    alt: str
    width: int
    height: int


class Look(TypedDict):
    """What templates read as `look`.

    heading_font, text_font: CSS font stacks that the publication chose, None where the theme
    chooses. serif, sans: stacks that go with the letter's script. logo: None for the name in
    letters. is_slanting: whether the script has an italic and can be spaced.
    """

    theme: str
    accent: str
    heading_font: str | None
    text_font: str | None
    serif: str
    sans: str
    logo: Logo | None
    is_slanting: bool


def look_of(publication: object, language: str) -> Look:
    """The look of a letter.

    publication: as Publication.in_letters gives it, a mapping or an object; it may lack all of
        `theme`, `accent_color`, `heading_font`, `text_font` and `logo_url`, `logo_alt`,
        `logo_width`, `logo_height`. language: of the letter, a BCP 47 tag.
    """

    def told(name: str) -> str:
        if isinstance(publication, Mapping):
            return str(publication.get(name) or "")
        return str(getattr(publication, name, None) or "")

    slanting = is_slanting(language)
    accent = told("accent_color")
    return Look(
        theme=told("theme") if THEME_NAME.fullmatch(told("theme")) else DEFAULT_THEME,
        accent=accent if _ACCENT.fullmatch(accent) else DEFAULT_ACCENT,
        heading_font=FONTS.get(told("heading_font")),
        text_font=FONTS.get(told("text_font")),
        # The serif fonts of the stacks have Latin letters; for other scripts the system's font is
        # better than whatever serif a mail program finds.
        serif=FONTS["georgia" if slanting else "system"],
        sans=FONTS["system"],
        logo=_logo(
            told("logo_url"),
            told("logo_alt") or told("title"),
            told("logo_width"),
            told("logo_height"),
        ),
        is_slanting=slanting,
    )


@cache
def is_slanting(language: str) -> bool:
    """Whether `language` is written in a script like Latin, with an italic of its own."""
    subtags = language.replace("-", "_").split("_")
    script = next((tag.title() for tag in subtags[1:] if len(tag) == 4 and tag.isalpha()), None)
    if script is None:
        likely = get_global("likely_subtags")
        tag = likely.get(subtags[0].lower(), "en_Latn_US")
        script = next((part for part in tag.split("_") if len(part) == 4), "Latn")
    return script in _LIKE_LATIN


def _logo(url: str, alt: str, width: str, height: str) -> Logo | None:
    if not (width.isdecimal() and height.isdecimal()):
        return None
    if int(width) not in LOGO_WIDTHS or int(height) not in LOGO_HEIGHTS:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.netloc:
        return None
    return Logo(url=url, alt=alt, width=int(width), height=int(height))
