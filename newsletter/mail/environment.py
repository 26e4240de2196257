"""The templates of letters: where they come from, and what they can do.

They run in Jinja's sandbox, in one language, and see values and the few filters that are here;
whoever writes one can show these values and nothing else. Digests are frozen together with their
templates when these look at a reader, and rendered years later: no filter and no value that
templates were ever given is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import jinja2
from babel.dates import format_date
from jinja2.ext import InternationalizationExtension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from newsletter.i18n import is_right_to_left, locale_of, translations
from newsletter.mail import columns, isolation
from newsletter.mail.colors import palette
from newsletter.mail.message import clean_line
from newsletter.mail.pictures import fitted, shown_size
from newsletter.mail.running import running
from newsletter.mail.voices import Voices
from newsletter.resources import resource_dir

TEXT_WIDTH = 72
STYLES_HERE = "<!--styles-->"
# Under this name a template in a folder of one's own reaches the one that it takes the place of.
SHIPPED = "shipped"
_KINDS = (".html", ".txt", ".css")
_HOURS_A_DAY = 24


def files(folder: Path | None) -> jinja2.BaseLoader:
    """The templates that are installed, and before them those in `folder`, if there is one.

    A template in `folder` can extend or include the installed one as "shipped/<its name>".
    """
    ours = jinja2.FileSystemLoader(resource_dir("templates") / "mail")
    if folder is None:
        return ours
    return jinja2.ChoiceLoader([_Before(folder, ours), jinja2.PrefixLoader({SHIPPED: ours})])


class _Before(jinja2.ChoiceLoader):
    """The templates in a folder, and for want of one those of `rest`, until there is one."""

    def __init__(self, folder: Path, rest: jinja2.BaseLoader) -> None:
        self._own = jinja2.FileSystemLoader(folder)
        self._rest = rest
        super().__init__([self._own, rest])

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """As Jinja asks for it: text, file, and whether it is still the one to take."""
        if self._has(environment, template):
            return self._own.get_source(environment, template)
        source, file, is_fresh = self._rest.get_source(environment, template)
        return (
            source,
            file,
            lambda: bool(is_fresh and is_fresh()) and not self._has(environment, template),
        )

    def _has(self, environment: jinja2.Environment, template: str) -> bool:
        try:
            self._own.get_source(environment, template)
        except jinja2.TemplateNotFound:
            return False
        return True

    # A template is then loaded by this loader as a whole, with what get_source says of it.
    load = jinja2.BaseLoader.load


def sources(environment: jinja2.Environment) -> dict[str, str]:
    """The texts of all templates, by name."""
    loader = environment.loader
    assert loader is not None  # noqa: S101 - `make` is always given one
    # An operator's folder may hold a picture or what an editor left behind.
    names = environment.list_templates(filter_func=lambda name: name.endswith(_KINDS))
    return {name: loader.get_source(environment, name)[0] for name in names}


def make(language: str, loader: jinja2.BaseLoader) -> jinja2.Environment:
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
    voices = Voices(language)
    environment.globals |= {
        "lang": language,
        "dir": "rtl" if rtl else "ltr",
        "start": "right" if rtl else "left",
        "end": "left" if rtl else "right",
        "lasting": lambda *, minutes=0, days=0: _lasting(language, minutes + days * 1440),
        "spoken": voices.spoken,
        "ours": voices.ours,
        "upright": voices.upright,
        "side_of": voices.side_of,
        "shown_size": shown_size,
        "styles_here": Markup(STYLES_HERE),  # noqa: S704 - a constant
    }
    environment.filters |= {
        "wrap": wrap,
        "line": lambda text: clean_line(str(text)),
        "columns": lambda text: columns.width(str(text)),
        "day": lambda iso, tag=None: _day(iso, tag or language),
        "color": palette,
        "dotted": isolation.in_html,
        "dotted_text": isolation.in_text,
        # What is safe HTML stays that, and what is not does not become it.
        "running": lambda html, room, level=2: type(html)(running(html, room, level)),
        # Of digests that were frozen before there was `running`.
        "fitted": lambda html, room: type(html)(fitted(html, room)),
    }
    return environment


def wrap(text: object, indent: str = "") -> str:
    """Paragraphs of `text` in lines of at most 72 columns; what has no blank stays whole."""
    paragraphs = re.split(r"\n\s*\n", str(text).strip())
    return "\n\n".join("\n".join(columns.lines(each, TEXT_WIDTH, indent)) for each in paragraphs)


def place_of(error: BaseException) -> str:
    """Where in the templates `error` arose: "digest/body.html, line 7"; "" when nowhere in them."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.name or error.filename}, line {error.lineno}"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        # Jinja writes the template's own names and lines into the frames.
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.suffix in _KINDS:
            found = f"{path.parent.name}/{path.name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


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
