"""Writing a letter: a folder of three templates and some values become subject, text and HTML.

The same name, language and values give the same letter; a preview is this very call. Templates
are files, ours or the operator's own: what people wrote is only ever a value in them, escaped in
the HTML part. The HTML part carries its styles in its elements, because many mail programs read no
others, and nothing is loaded from anywhere to make it.

A theme is a folder below themes/: its tokens (colours and measures), its styles, and the layout of
its digests. All letters of a publication wear its theme.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import css_inline
import jinja2
import structlog

from newsletter.errors import NewsletterError
from newsletter.i18n import is_right_to_left
from newsletter.mail import environment
from newsletter.mail.colors import DARK_GROUND, palette
from newsletter.mail.environment import STYLES_HERE, TEXT_WIDTH, wrap
from newsletter.mail.look import DEFAULT_THEME, Look, look_of
from newsletter.mail.message import clean_line
from newsletter.mail.quoted import Pieces

__all__ = ["TEXT_WIDTH", "Letter", "LetterError", "Templates", "of_files", "render", "wrap"]

# A test mail is the digest itself.
_FOLDERS = {"test": "digest"}
_DIGEST = "digest"
_THEMES = "themes/"
_STYLES = re.compile(r"themes/[^/]+/style\.css")
# Where styles were before there were themes; digests that were frozen then still ask for them.
_BASE = "_layout"

_MANY_BLANK_LINES = re.compile(r"\n{3,}")
# What macros leave, which counts where Gmail cuts a letter; code keeps its own.
_GAPS = re.compile(r"(<pre\b.*?</pre>)|\n\s*\n", re.DOTALL)
_TRAILING_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
# What a template of somebody else's can end in, such as 1 / 0 or an endless recursion.
_FAULTS = (
    jinja2.TemplateError,
    css_inline.InlineError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)

log = structlog.get_logger()


class LetterError(NewsletterError):
    """A letter cannot be written: its template is missing or broken, or lacks a value."""


@dataclass(frozen=True)
class Letter:
    """One rendered mail. subject: one line. text: the plain part. html: a whole document."""

    subject: str
    text: str
    html: str

    @property
    def pieces(self) -> tuple[Pieces, Pieces]:
        """Text and HTML as they are encoded: in one piece, since nothing is known of slots."""
        return (self.text,), (self.html,)


def render(
    name: str, language: str, values: Mapping[str, object], folder: str | None = None
) -> Letter:
    """The letter called `name`, in `language` (a BCP 47 tag), with `values` in it.

    values: `publication` (title, postal_address, privacy_url, home_url and its look, as
        Publication.in_letters gives them), `reader` (name or None, address), `links` (those that
        the letter needs), and what the letter itself is about: `digest` and `greeting`,
        `good_for_days`, `good_for_minutes`. Mappings and objects with attributes are both fine.
    folder: where the operator's own templates lie. When these fail, the installed ones write the
        letter and the log says why: somebody waits for it.

    Raises LetterError naming what is missing.
    """
    if folder is not None:
        try:
            return of_files(language, folder).render(name, values)
        except LetterError as error:
            log.warning("own_template_fails", letter=name, problem=str(error))
    return of_files(language).render(name, values)


class Templates:
    """The templates of all letters, in one language.

    sources: where their texts come from, or these texts by file name ("digest/body.txt").
    """

    def __init__(self, language: str, sources: jinja2.BaseLoader | Mapping[str, str]) -> None:
        loader = jinja2.DictLoader(sources) if isinstance(sources, Mapping) else sources
        self._language = language
        self._environment = environment.make(language, loader)

    def render(self, name: str, values: Mapping[str, object]) -> Letter:
        """As the function `render`."""
        folder = _FOLDERS.get(name, name)
        look = self._look(folder, values)
        try:
            subject, text, html = (
                self._environment.get_template(f"{folder}/{part}").render(values, look=look)
                for part in ("subject.txt", "body.txt", "body.html")
            )
            styled = self._styled(html, look)
        except _FAULTS as error:
            place = environment.place_of(error)
            raise LetterError(
                f"The letter {name} cannot be written: "
                f"{f'{place}: ' if place else ''}{type(error).__name__}: {error}"
            ) from error
        return Letter(subject=clean_line(subject), text=_tidy(text), html=styled)

    def sources(self) -> dict[str, str]:
        """The texts of all of them, as `Templates` takes them."""
        return environment.sources(self._environment)

    def themes(self) -> list[str]:
        """The names of the themes, in order; none for a digest frozen before there were any."""
        names = self._environment.list_templates(
            filter_func=lambda name: bool(_STYLES.fullmatch(name))
        )
        return sorted(name.split("/")[1] for name in names)

    def _look(self, folder: str, values: Mapping[str, object]) -> Look:
        """The look of the letter. A theme that is gone stops a digest, but no personal letter."""
        look = look_of(values.get("publication"), self._language)
        if self._has_theme(look["theme"]) or not self._has_theme(DEFAULT_THEME):
            return look
        if folder == _DIGEST:
            raise LetterError(
                f'There is no theme "{look["theme"]}"; there are: {", ".join(self.themes())}.'
            )
        return {**look, "theme": DEFAULT_THEME}

    def _has_theme(self, name: str) -> bool:
        try:
            self._environment.get_template(f"{_THEMES}{name}/style.css")
        except jinja2.TemplateNotFound:
            return False
        except jinja2.TemplateSyntaxError:  # it is there; rendering it will say what is wrong
            return True
        return True

    def _styled(self, html: str, look: Look) -> str:
        """Every rule of style.css into the elements it is for, those of media.css into the head."""
        theme = look["theme"]
        here = f"{_THEMES}{theme}" if self._has_theme(theme) else _BASE
        values = {
            "look": look,
            # Whether something in it runs the other way than the letter.
            "is_mixed": f'dir="{"ltr" if is_right_to_left(self._language) else "rtl"}"' in html,
            # For digests that were frozen before there were themes.
            "colors": palette(look["accent"]),
            "dark_ground": DARK_GROUND,
        }
        style, media = (
            self._environment.get_template(f"{here}/{name}").render(values)
            for name in ("style.css", "media.css")
        )
        inlined = _GAPS.sub(lambda found: found[1] or "\n", _inliner(style).inline(html))
        return inlined.replace(STYLES_HERE, f"<style>\n{media}\n</style>", 1)


@lru_cache(maxsize=64)
def of_files(language: str, folder: str | None = None) -> Templates:
    """The templates that are installed, in `language`, and before them those in `folder`.

    Files that change are read anew.
    """
    return Templates(language, environment.files(Path(folder) if folder else None))


@lru_cache(maxsize=64)
def _inliner(style: str) -> css_inline.CSSInliner:
    # By default it would read stylesheets that a document links to, local files among them.
    return css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_style_tags=False, extra_css=style
    )


def _tidy(text: str) -> str:
    text = _TRAILING_BLANKS.sub("", text.replace("\r\n", "\n"))
    return _MANY_BLANK_LINES.sub("\n\n", text).strip() + "\n"
