"""The language of what people read: gettext catalogs, chosen by reader, publication or browser.

English is the language of the sources. A further language is a folder
newsletter/locale/<language>/LC_MESSAGES with a compiled messages.mo; nothing else names it.
"""

from __future__ import annotations

import gettext
from datetime import datetime
from functools import cache
from pathlib import Path

from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.dates import format_datetime

_CATALOGS = Path(__file__).resolve().parent / "locale"
SOURCE_LANGUAGE = "en"


@cache
def languages() -> tuple[str, ...]:
    """The languages that pages and letters can be shown in, English first."""
    found = sorted(path.parts[-3] for path in _CATALOGS.glob("*/LC_MESSAGES/messages.mo"))
    return (SOURCE_LANGUAGE, *(name for name in found if name != SOURCE_LANGUAGE))


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalog of `language`, with `.gettext` and `.ngettext`; English when there is none."""
    return gettext.translation("messages", _CATALOGS, [language], fallback=True)


def choose(wanted: list[str], default: str = SOURCE_LANGUAGE) -> str:
    """The best language that we have for `wanted` (BCP 47 tags, most wanted first)."""
    have = languages()
    found = negotiate_locale([tag.replace("-", "_") for tag in wanted], have, sep="_")
    return found if found in have else default


def locale_of(language: str) -> Locale:
    """The CLDR locale for dates and numbers in `language`; English for an unknown one."""
    try:
        return Locale.parse(language.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return Locale.parse(SOURCE_LANGUAGE)


def moment(value: datetime | str, language: str) -> str:
    """A moment (or its RFC 3339 form) in UTC, said so, as `language` writes it."""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{format_datetime(parsed, 'd MMMM y, HH:mm', locale=locale_of(language))} UTC"


def is_right_to_left(language: str) -> bool:
    """Whether text in `language` runs from right to left."""
    return locale_of(language).text_direction == "rtl"
