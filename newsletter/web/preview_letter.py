"""The letter as a browser shows it in the place of a mail program: dark or light, and harmless.

The reader's own setting would decide on dark mode; here the switch does. So the media queries for
it are made true or false, which every browser understands the same. Nothing else is changed, but
that links open beside the preview.
"""

from __future__ import annotations

import re

_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style>)", re.DOTALL | re.IGNORECASE)
_QUERY = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.IGNORECASE)
_HEAD_ENDS = re.compile(r"</head\s*>", re.IGNORECASE)

# Never allow-scripts: with it, allow-same-origin would be no sandbox. This one lets the page around
# the letter keep the place that was scrolled to when the letter changes.
SANDBOX = "allow-same-origin allow-popups allow-popups-to-escape-sandbox"

_ALWAYS, _NEVER = "(min-width: 0px)", "(max-width: 0px)"
_NO_PICTURES = "'none'"
_ALL_PICTURES = "https: http:"


def in_scheme(html: str, scheme: str) -> str:
    """The HTML part as a program shows it that is in `scheme`, "light" or "dark"."""

    def settled(found: re.Match[str]) -> str:
        css = _QUERY.sub(lambda q: _ALWAYS if q[1].lower() == scheme else _NEVER, found[2])
        return f"{found[1]}{css}{found[3]}"

    ours = f'<base target="_blank"><style>:root {{ color-scheme: {scheme} !important; }}</style>'
    shown = _STYLE.sub(settled, html)
    head = _HEAD_ENDS.search(shown)
    if head is None:
        return ours + shown
    return f"{shown[: head.start()]}{ours}{shown[head.start() :]}"


def policy(*, pictures: str) -> str:
    """The Content-Security-Policy of the letter: it runs nothing, posts nothing, frames nothing.

    pictures: "on" or "off". It is one of several walls; the frame around it has a sandbox too.
    """
    shown = _NO_PICTURES if pictures == "off" else _ALL_PICTURES
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"img-src {shown}",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'self'",
            f"sandbox {SANDBOX}",
        )
    )
