"""The language of what people read: gettext catalogs, chosen by reader, publication or browser.

English is the language of the sources. A further language is a folder
newsletter/locale/<language>/LC_MESSAGES with newsletter.po, which people write, and newsletter.mo,
which is made of it; nothing else names it. Dates and numbers are written as the CLDR says.
"""

from __future__ import annotations

import gettext
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path

from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_decimal

_CATALOGS = Path(__file__).resolve().parent / "locale"
_DOMAIN = "newsletter"
SOURCE_LANGUAGE = "en"


@cache
def languages() -> tuple[str, ...]:
    """The languages that pages and letters can be shown in, English first."""
    found = sorted(path.parts[-3] for path in _CATALOGS.glob(f"*/LC_MESSAGES/{_DOMAIN}.mo"))
    return (SOURCE_LANGUAGE, *(name for name in found if name != SOURCE_LANGUAGE))


@lru_cache(maxsize=256)
def translations(language: str) -> gettext.NullTranslations:
    """The catalog of `language`, with `.gettext` and `.ngettext`; English when there is none.

    language: a BCP 47 tag; for "de-AT" we have "de".
    """
    return gettext.translation(_DOMAIN, _CATALOGS, [choose([language])], fallback=True)


def choose(wanted: list[str], default: str = SOURCE_LANGUAGE) -> str:
    """The best language that we have for `wanted` (BCP 47 tags, most wanted first)."""
    # In small letters: Babel gives back what it was asked for, however that is written.
    have = {name.lower(): name for name in languages()}
    tags = [tag.replace("-", "_").lower() for tag in wanted]
    return have.get(negotiate_locale(tags, list(have), sep="_") or "", default)


def locale_of(language: str) -> Locale:
    """The CLDR locale for dates and numbers in `language`; English for an unknown one."""
    try:
        return Locale.parse(language.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return Locale.parse(SOURCE_LANGUAGE)


def known(tag: str) -> str | None:
    """The BCP 47 tag `tag` in its usual spelling ("pt-BR"), or None when the CLDR has no such
    language: then nobody knows how it writes dates, or on which side it begins.
    """
    try:
        return str(Locale.parse(tag.strip().replace("-", "_"))).replace("_", "-")
    except (ValueError, UnknownLocaleError):
        return None


def is_same(one: str, other: str) -> bool:
    """Whether two tags name one language; "de_AT" and "de-at" do, "de-AT" and "de" do not."""
    return one.replace("_", "-").lower() == other.replace("_", "-").lower()


def moment(value: datetime | str, language: str) -> str:
    """A moment (or its RFC 3339 form) in UTC, said so, as `language` writes it."""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    locale = locale_of(language)
    both = str(get_datetime_format("long", locale))
    day = format_date(parsed, "long", locale)
    time = format_time(parsed, "HH:mm", locale=locale)
    return f"{both.replace('{1}', day).replace('{0}', time)} UTC"


def number(value: int, language: str) -> str:
    """A whole number as `language` groups its digits: 12,345 or 12.345."""
    return format_decimal(value, locale=locale_of(language))


def is_right_to_left(language: str) -> bool:
    """Whether text in `language` runs from right to left."""
    return locale_of(language).text_direction == "rtl"
