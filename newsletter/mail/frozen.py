"""A digest's letter, rendered once at its approval, and filled in for each reader.

What differs from reader to reader is a slot: a random token that stands in the frozen parts where
the value will be. Filling is a plain replacement, so the templates are not run a million times,
and a reader's name can never become part of a template.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from newsletter.errors import BadInput
from newsletter.i18n import translations
from newsletter.mail.letters import Letter

# Line ends, and what a terminal or a header would act upon (C0, C1, the Unicode line separators).
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def fill(frozen: Mapping[str, Any], values: Mapping[str, str]) -> Letter:
    """One reader's letter.

    frozen: as newsletter.digests.freeze makes it; "subject", "text" and "html" hold the tokens of
        "slots", a mapping of slot name to token.
    values: slot name to text. It is escaped in the HTML part and plain in the others; control
        characters, line ends among them, become a blank.

    Raises BadInput when a slot has no value.
    """
    slots: Mapping[str, str] = frozen["slots"]
    missing = sorted(set(slots) - set(values))
    if missing:
        raise BadInput(f"The digest asks for values that do not exist: {', '.join(missing)}.")
    plain = {token: _CONTROLS.sub(" ", values[name]) for name, token in slots.items()}
    escaped = {token: html.escape(value, quote=True) for token, value in plain.items()}
    return Letter(
        subject=_replace(frozen["subject"], plain),
        text=_replace(frozen["text"], plain),
        html=_replace(frozen["html"], escaped),
    )


def greeting(name: str | None, language: str) -> str:
    """How the letter begins, in words of `language`: with the reader's name if there is one."""
    gettext = translations(language).gettext
    if name is None or not name.strip():
        return gettext("Hello,")
    return gettext("Hello %(name)s,") % {"name": name.strip()}


def _replace(text: str, values: Mapping[str, str]) -> str:
    # In one pass: what stands in a value is never taken for a slot.
    if not values:
        return text
    pattern = "|".join(re.escape(token) for token in values)
    return re.sub(pattern, lambda found: values[found.group()], text)
