"""Whether words can be read on their ground, in light and in dark (WCAG 2.2, 1.4.3).

Colours are followed from the body down, as far as the elements' own styles say them; css-inline
has put them there. For dark mode, it puts the rules of the media query there in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import css_inline
import tinycss2
from tinycss2.ast import AtRule, Declaration
from tinycss2.color3 import parse_color

from newsletter.digests.check import styles
from newsletter.digests.check.built import Built
from newsletter.digests.check.document import UNREAD, Document, Element
from newsletter.digests.check.finding import Finding, error, warning
from newsletter.mail.colors import contrast

_ENOUGH = 4.5
_ENOUGH_FOR_LARGE = 3.0
_UNREADABLE = 2.0

LOW = warning(
    "contrast-low",
    "Words stand out too little from their ground.",
    f"Make the one darker or the other lighter, until they are {_ENOUGH} to 1 apart.",
)
NONE = error(
    "contrast-none",
    "Words can hardly be told from their ground.",
    f"Make the one darker or the other lighter, until they are {_ENOUGH} to 1 apart.",
)
RULES = (LOW, NONE)

_LARGE, _LARGE_IF_BOLD = 24, 18.66  # CSS pixels, WCAG's 18 and 14 points
_BOLD = {"b", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "th"}
_BOLD_FROM = 600
_BOLD_WORDS = ("bold", "bolder")
# Relative sizes of elements, as browsers have them.
_SIZES = {"h1": 2.0, "h2": 1.5, "h3": 1.17, "small": 0.83, "sub": 0.83, "sup": 0.83}
_LIGHT_LINK, _DARK_LINK = "#0000ee", "#9e9eff"
_IS_DARK = re.compile(r"\(\s*prefers-color-scheme\s*:\s*dark\s*\)", re.IGNORECASE)
_HEX = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class _Look:
    """How text looks. ground: None where a picture may be."""

    color: str
    ground: str | None
    link: str
    size: float = 16
    is_bold: bool = False


_IN_LIGHT = _Look("#000000", "#ffffff", _LIGHT_LINK)
_IN_DARK = _Look("#ffffff", "#121212", _DARK_LINK)


def check(built: Built) -> Iterator[Finding]:
    """Each pair of colours that is too close, once, where it is first used."""
    document = built.document
    yield from _too_close(document, document, _IN_LIGHT, "in light mode")
    rules = dark_rules(document.style)
    if rules:
        dark = Document(_with(built.html, rules))
        yield from _too_close(dark, document, _IN_DARK, "in dark mode")


def dark_rules(css: str) -> str:
    """The rules of a style element that only hold in dark mode."""
    sheet = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    return "\n".join(
        tinycss2.serialize(rule.content)
        for rule in sheet
        if isinstance(rule, AtRule)
        and rule.content is not None
        and rule.lower_at_keyword == "media"
        and _IS_DARK.search(tinycss2.serialize(rule.prelude))
    )


def _with(html: str, rules: str) -> str:
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False,
        inline_style_tags=False,
        keep_style_tags=True,
        extra_css=rules,
    )
    return inliner.inline(html)


def _too_close(document: Document, shown: Document, start: _Look, mode: str) -> Iterator[Finding]:
    """shown: the same document as its reader has it, for the places."""
    numbers = {id(element): n for n, element in enumerate(document.elements)}
    is_same = len(document.elements) == len(shown.elements)
    seen: set[tuple[str, str | None]] = set()
    for element, words, look in _texts(document.root, start):
        if look.ground is None or (look.color, look.ground) in seen:
            continue
        ratio = contrast(look.color, look.ground)
        large = look.size >= (_LARGE_IF_BOLD if look.is_bold else _LARGE)
        if ratio >= (_ENOUGH_FOR_LARGE if large else _ENOUGH):
            continue
        seen.add((look.color, look.ground))
        there = shown.elements[numbers[id(element)]] if is_same else element
        yield Finding(
            NONE if ratio < _UNREADABLE else LOW,
            (shown if is_same else document).at(there, words),
            f"{look.color} on {look.ground} is {ratio:.1f} to 1 {mode}.",
        )


def _texts(root: Element, start: _Look) -> Iterator[tuple[Element, str, _Look]]:
    """All words, those that stand for pictures too, with how they look."""
    waiting: list[tuple[Element, _Look]] = [(root, start)]
    while waiting:
        element, around = waiting.pop()
        if element.name in UNREAD or element.is_hidden:
            continue
        look = _of(element, around)
        alt = element.attributes.get("alt", "") if element.name == "img" else ""
        words = alt or "".join(child for child in element.children if isinstance(child, str))
        if any(c.isalnum() for c in words) and look.size >= 2:
            yield element, words, look
        waiting.extend((c, look) for c in reversed(element.children) if isinstance(c, Element))


def _of(element: Element, around: _Look) -> _Look:
    look = around
    if element.name in _BOLD:
        look = replace(look, is_bold=True)
    if element.name in _SIZES:
        look = replace(look, size=look.size * _SIZES[element.name])
    if element.name == "a" and "href" in element.attributes:
        look = replace(look, color=look.link)
    if element.name == "mark":
        look = replace(look, color="#000000", ground="#ffff00")
    given = element.attributes.get("bgcolor", "").strip().lower()
    if _HEX.fullmatch(given):
        look = replace(look, ground=given)
    for name, declaration in styles.values(element.attributes.get("style", "")).items():
        look = _styled(look, name, declaration, around)
    return look


def _styled(look: _Look, name: str, declaration: Declaration, around: _Look) -> _Look:
    if name == "color":
        return replace(look, color=_color(declaration, look.ground, around.color) or look.color)
    if name in ("background", "background-color", "background-image"):
        if any(_is_picture(token) for token in declaration.value):
            return replace(look, ground=None)
        if name != "background-image":
            return replace(look, ground=_color(declaration, around.ground, None) or look.ground)
    if name == "font-size":
        size = styles.pixels(declaration)
        return look if size is None else replace(look, size=size)
    if name == "font-weight":
        said = [getattr(token, "value", None) for token in declaration.value]
        return replace(
            look,
            is_bold=any(
                each >= _BOLD_FROM if isinstance(each, float | int) else each in _BOLD_WORDS
                for each in said
            ),
        )
    return look


def _is_picture(token: object) -> bool:
    kind = getattr(token, "type", "")
    return kind == "url" or (kind == "function" and "gradient" in getattr(token, "lower_name", ""))


def _color(declaration: Declaration, under: str | None, inherited: str | None) -> str | None:
    """The colour in a declaration as #rrggbb; None when it says none, or is transparent.

    under: what shows through a colour that is not solid. inherited: what "inherit" means.
    """
    said: list[Any] = declaration.value
    for token in said:
        if token.type == "ident" and token.lower_value == "inherit":
            return inherited
        found = parse_color(token)
        if found is None or isinstance(found, str) or found.alpha == 0:
            continue
        below = under or "#ffffff"
        parts = (int(below[at : at + 2], 16) / 255 for at in (1, 3, 5))
        mixed = (
            part * found.alpha + behind * (1 - found.alpha)
            for part, behind in zip(found[:3], parts, strict=True)
        )
        return "#" + "".join(f"{round(255 * min(1, max(0, part))):02x}" for part in mixed)
    return None
