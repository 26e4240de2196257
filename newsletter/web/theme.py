"""A publication's own look on the pages: the same colour, fonts and logo as in its letters.

The pages allow no inline style, so colour and fonts come as a stylesheet of their own. An operator
may choose any colour; what is shown of it can be read (newsletter.mail.colors).
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

from newsletter.mail.colors import Palette, palette
from newsletter.mail.look import DEFAULT_THEME, Logo, look_of
from newsletter.store import Publication

# The grounds of static/style.css that words in the publication's colour are hardest to read on.
LIGHT_GROUND = "#efece6"
DARK_GROUND = "#26272c"
# The letters' themes that style.css knows; pages of a publication with another look quiet.
THEMES = frozenset({DEFAULT_THEME, "magazine"})

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


def stylesheet(publication: Publication) -> str:
    """The publication's colour and fonts as CSS custom properties, for light and for dark."""
    look = look_of(publication, publication.language)
    colors = colors_of(look["accent"])
    fonts = {"heading": look["heading_font"], "text": look["text_font"], "ui": look["text_font"]}
    chosen = "".join(f";--{name}:{stack}" for name, stack in fonts.items() if stack)
    light = _variables(colors.accent, colors.on_accent, colors.link)
    dark = _variables(colors.dark_accent, colors.on_dark_accent, colors.dark_accent)
    return f":root{{{light}{chosen}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def colors_of(accent: str) -> Palette:
    """What the pages make of a publication's colour (#rrggbb)."""
    return palette(accent, LIGHT_GROUND, DARK_GROUND)


def version(publication: Publication) -> str:
    """Names the stylesheet as it is now: it changes with the look, and with the code."""
    return hashlib.sha256(stylesheet(publication).encode()).hexdigest()[:8]


def name(publication: Publication | None) -> str:
    """The theme of the publication's pages, one of `THEMES`; None for the installation's."""
    if publication is None:
        return DEFAULT_THEME
    chosen = look_of(publication, publication.language)["theme"]
    return chosen if chosen in THEMES else DEFAULT_THEME


def logo(publication: Publication) -> Logo | None:
    """The publication's logo; None when its name stands in letters."""
    return look_of(publication, publication.language)["logo"]


def origin(address: str) -> str:
    """Where a picture lies, as a policy names it: scheme, host and port in ASCII.

    The scheme alone when the host is none that a header can name.
    """
    parts = urlsplit(address)
    try:
        host = parts.netloc.encode("idna").decode()
    except UnicodeError:
        host = ""
    return f"{parts.scheme}://{host}" if _HOST.fullmatch(host) else f"{parts.scheme}:"


def _variables(accent: str, on_accent: str, link: str) -> str:
    return f"--accent:{accent};--on-accent:{on_accent};--link:{link}"
