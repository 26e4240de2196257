"""The language of a page: what the browser asks for, as far as we have it, else the publication's.

`?lang=de` goes before the browser's wish, so that a site in German can link to a form in German;
the links of such a page keep it. Nothing is remembered: there is no cookie.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from babel import Locale
from babel.dates import format_date
from flask import Flask, g, has_request_context, request
from markupsafe import Markup

from newsletter import i18n
from newsletter.mail import isolation
from newsletter.mail.voices import attributes, direction, turned

# The pages that people go to and fro between; what is mailed or fetched has its own language.
_KEEPING = frozenset({"start", "publication", "form", "subscribe", "embed", "archive", "archived"})
# Where a page that answers a form is not there again to be looked at.
_PASSING = frozenset({"subscribe", "access"})


def install(app: Flask) -> None:
    """Give the app's templates gettext, in the language of the request that they are shown for."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        gettext, ngettext, newstyle=True
    )
    # As in letters: line ends within {% trans %} are blanks.
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.add_template_filter(day, "day")
    app.add_template_filter(isolation.in_html, "dotted")
    app.add_template_filter(moment, "moment")
    app.jinja_env.globals |= {
        "current_language": current,
        "languages": names,
        "other_languages": others,
        "spoken": spoken,
        "back": back,
        "ours": ours,
        "direction": direction,
    }

    @app.url_defaults
    def keep(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint in _KEEPING and (asked := _asked()):
            values.setdefault("lang", asked)


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


def others() -> list[tuple[str, str, str | None]]:
    """The page in its other languages: each one's tag, its name for itself, and where it is.

    The address is None for the language that the page has. Nothing at all when there is but one
    language, or when the page answers a form and cannot be looked at again.
    """
    found = names()
    is_passing = request.method == "POST" and request.endpoint in _PASSING
    if len(found) < 2 or is_passing:
        return []
    # Of the query only what we know comes back.
    number = request.args.get("page", type=int)
    kept = {"page": str(number)} if number else {}
    here = current()
    return [
        (tag, name, None if tag == here else "?" + urlencode({**kept, "lang": tag}))
        for tag, name in found
    ]


def spoken(language: str, *, within: str | None = None, side: str | None = None) -> Markup:
    """The attributes of an element that speaks `language`; none where what is around it does too.

    within: the language of that; None for the page's. WCAG 2.2, 3.1.2: a screen reader must know
    whose voice to take. side: "rtl" or "ltr" of an element whose own language nobody knows.
    """
    around = current() if within is None else within
    if side is not None:
        return turned(around, side)
    return Markup() if i18n.is_same(language, around) else attributes(language)


def back(language: str, side: str | None = None) -> Markup:
    """The attributes with which an element inside one that speaks `language` has the page's.

    side: as for `spoken`, of the one around.
    """
    is_turned = side is not None and side != direction(current())
    is_here = i18n.is_same(language, current()) and not is_turned
    return Markup() if is_here else attributes(current())


def ours(within: str, side: str | None = None) -> Markup:
    """The attributes of an element with words of ours, in whatever language we have them, inside
    one that speaks `within`. side: as for `spoken`, of the one around.
    """
    have = i18n.choose([current()])
    is_turned = side is not None and side != direction(have)
    is_here = i18n.choose([within], "") == have and not is_turned
    return Markup() if is_here else attributes(have)


def day(value: date | str, tag: str | None = None) -> str:
    """A date (or its ISO form) as the language `tag`, or the page's, writes it: March 1, 2026."""
    parsed = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    return format_date(parsed, "long", locale=i18n.locale_of(tag or current()))


def moment(value: datetime | str) -> str:
    """A moment (or its RFC 3339 form) in UTC, said so, as the page's language writes it."""
    return i18n.moment(value, current())


def _asked() -> str | None:
    """The language that the address asks for, if it is one that we have."""
    asked = request.args.get("lang", "") if has_request_context() else ""
    return asked if asked in i18n.languages() else None
