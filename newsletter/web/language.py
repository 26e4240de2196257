"""The language of a page: what the browser asks for, as far as we have it, else the publication's.

`?lang=de` goes before the browser's wish, so that a site in German can link to a form in German.
"""

from __future__ import annotations

from datetime import date, datetime

from babel import Locale
from babel.dates import format_date
from flask import Flask, g, has_request_context, request

from newsletter import i18n


def install(app: Flask) -> None:
    """Give the app's templates gettext, in the language of the request that they are shown for."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        gettext, ngettext, newstyle=True
    )
    app.add_template_filter(day, "day")
    app.add_template_filter(moment, "moment")


def settle(default: str, *, first: str = "") -> str:
    """Choose the language of this request, unless it is chosen already; returns it.

    default: for a browser that asks for none that we have.
    first: goes before what the browser asks for; what the reader has told us.
    """
    if "language" not in g:
        wanted = [request.args.get("lang", ""), first, *request.accept_languages.values()]
        fallback = default if default in i18n.languages() else i18n.SOURCE_LANGUAGE
        g.language = i18n.choose([tag for tag in wanted if tag], fallback)
    return str(g.language)


def change(language: str) -> None:
    """From now on the page is in `language`, which is one that we have."""
    g.language = language


def current() -> str:
    """The language of the page that is being made."""
    if not has_request_context():
        return i18n.SOURCE_LANGUAGE
    return settle(i18n.SOURCE_LANGUAGE)


def gettext(message: str) -> str:
    """`message` in the language of the page."""
    return i18n.translations(current()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """One of the two, by the rules of the page's language."""
    return i18n.translations(current()).ngettext(singular, plural, number)


def names() -> list[tuple[str, str]]:
    """The languages that we have: each one's tag and its own name for itself."""
    found = []
    for language in i18n.languages():
        name = Locale.parse(language.replace("-", "_")).get_display_name() or language
        found.append((language, name[0].upper() + name[1:]))
    return found


def day(value: date | str) -> str:
    """A date (or its ISO form) as the page's language writes it, such as 1 March 2026."""
    parsed = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    return format_date(parsed, "long", locale=i18n.locale_of(current()))


def moment(value: datetime | str) -> str:
    """A moment (or its RFC 3339 form) in UTC, said so, as the page's language writes it."""
    return i18n.moment(value, current())
