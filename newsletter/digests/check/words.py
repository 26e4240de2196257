"""Words as they are compared: what is between letters and digits says nothing."""

from __future__ import annotations

import re

_BETWEEN = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """The letters and digits of `text` alone, without their case."""
    return _BETWEEN.sub("", text.casefold())
