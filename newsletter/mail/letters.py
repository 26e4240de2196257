"""Writing a letter: a folder of three templates and some values become subject, text and HTML.

The same name, language and values give the same letter; a preview is this very call. Templates
are files of ours: what people wrote is only ever a value in them, escaped in the HTML part. The
HTML part carries its styles in its elements, because many mail programs read no others, and
nothing is loaded from anywhere to make it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import css_inline
import jinja2
from babel.dates import format_date
from jinja2.ext import InternationalizationExtension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from newsletter.errors import NewsletterError
from newsletter.i18n import is_right_to_left, locale_of, translations
from newsletter.mail.colors import DARK_GROUND, palette
from newsletter.mail.message import clean_line
from newsletter.mail.quoted import Pieces
from newsletter.resources import resource_dir

TEXT_WIDTH = 72
# A test mail is the digest itself.
_FOLDERS = {"test": "digest"}
_MANY_BLANK_LINES = re.compile(r"\n{3,}")
_TRAILING_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_STYLES_HERE = "<!--styles-->"
_HOURS_A_DAY = 24


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


def render(name: str, language: str, values: Mapping[str, object]) -> Letter:
    """The letter called `name`, in `language` (a BCP 47 tag), with `values` in it.

    values: `publication` (title, postal_address, privacy_url, accent_color, home_url),
        `reader` (name or None, address), `links` (those that the letter needs), and what the
        letter itself is about: `digest` and `greeting`, `good_for_days`, `good_for_minutes`.
        Mappings and objects with attributes are both fine.

    Raises LetterError naming what is missing.
    """
    return of_files(language).render(name, values)


class Templates:
    """The templates of all letters, in one language.

    sources: their texts by file name ("digest/body.txt"); None for the files as they are now.
    """

    def __init__(self, language: str, sources: Mapping[str, str] | None = None) -> None:
        self._environment = _environment(
            language,
            jinja2.FileSystemLoader(resource_dir("templates") / "mail")
            if sources is None
            else jinja2.DictLoader(sources),
        )
        self._styles = lru_cache(maxsize=64)(self._find_styles)

    def render(self, name: str, values: Mapping[str, object]) -> Letter:
        """As the function `render`."""
        folder = _FOLDERS.get(name, name)
        try:
            subject, text, html = (
                self._environment.get_template(f"{folder}/{part}").render(values)
                for part in ("subject.txt", "body.txt", "body.html")
            )
            styled = self._styled(html, _accent(values))
        except (jinja2.TemplateError, css_inline.InlineError, OSError) as error:
            raise LetterError(f"The letter {name} cannot be written: {error!r}") from error
        return Letter(subject=clean_line(subject), text=_tidy(text), html=styled)

    def sources(self) -> dict[str, str]:
        """The texts of all of them, as `Templates` takes them."""
        loader = self._environment.loader
        assert loader is not None  # noqa: S101 - both kinds of environment have one
        names = self._environment.list_templates()
        return {name: loader.get_source(self._environment, name)[0] for name in names}

    def _styled(self, html: str, accent: str) -> str:
        """Every rule of style.css into the elements it is for, those of media.css into the head."""
        inliner, media = self._styles(accent)
        return inliner.inline(html).replace(_STYLES_HERE, media, 1)

    def _find_styles(self, accent: str) -> tuple[css_inline.CSSInliner, str]:
        values = {"colors": palette(accent), "dark_ground": DARK_GROUND}
        style, media = (
            self._environment.get_template(f"_layout/{name}").render(values)
            for name in ("style.css", "media.css")
        )
        # By default it would read stylesheets that a document links to, local files among them.
        inliner = css_inline.CSSInliner(
            load_remote_stylesheets=False, keep_style_tags=False, extra_css=style
        )
        return inliner, f"<style>\n{media}\n</style>"


@lru_cache(maxsize=64)
def of_files(language: str) -> Templates:
    """The templates that are installed, in `language`."""
    return Templates(language)


def wrap(text: object, indent: str = "") -> str:
    """Paragraphs of `text` in lines of at most 72 characters; what has no blank stays whole."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", str(text).strip()))
    return "\n\n".join(
        textwrap.fill(
            paragraph,
            TEXT_WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for paragraph in paragraphs
    )


def _tidy(text: str) -> str:
    text = _TRAILING_BLANKS.sub("", text.replace("\r\n", "\n"))
    return _MANY_BLANK_LINES.sub("\n\n", text).strip() + "\n"


def _accent(values: Mapping[str, object]) -> str:
    publication = values.get("publication")
    if isinstance(publication, Mapping):
        return str(publication.get("accent_color", ""))
    return str(getattr(publication, "accent_color", ""))


def _environment(language: str, loader: jinja2.BaseLoader) -> jinja2.Environment:
    """Jinja for one language. The sandbox is a second wall: templates only read values."""
    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        extensions=[InternationalizationExtension],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        translations(language), newstyle=True
    )
    environment.policies["ext.i18n.trimmed"] = True
    rtl = is_right_to_left(language)
    environment.globals |= {
        "lang": language,
        "dir": "rtl" if rtl else "ltr",
        "start": "right" if rtl else "left",
        "end": "left" if rtl else "right",
        "lasting": lambda *, minutes=0, days=0: _lasting(language, minutes + days * 1440),
        "styles_here": Markup(_STYLES_HERE),  # noqa: S704 - a constant
    }
    environment.filters |= {
        "wrap": wrap,
        "line": lambda text: clean_line(str(text)),
        "day": lambda iso: _day(iso, language),
        "color": palette,
    }
    return environment


def _lasting(language: str, minutes: float) -> str:
    """A time span in words: "45 minutes", "36 hours", "7 days"."""
    ngettext = translations(language).ngettext
    hours = round(minutes / 60)
    if minutes < 120:
        count = round(minutes)
        return ngettext("%(num)d minute", "%(num)d minutes", count) % {"num": count}
    if hours < 2 * _HOURS_A_DAY and hours % _HOURS_A_DAY:
        return ngettext("%(num)d hour", "%(num)d hours", hours) % {"num": hours}
    days = round(hours / _HOURS_A_DAY)
    return ngettext("%(num)d day", "%(num)d days", days) % {"num": days}


def _day(iso: str, language: str) -> str:
    """An ISO 8601 date as people write it; what is none is shown as it is."""
    try:
        return format_date(date.fromisoformat(iso[:10]), "long", locale_of(language))
    except ValueError:
        return iso
