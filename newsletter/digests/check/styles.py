"""CSS as checks read it: declarations of a style attribute, and the rules of a style element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tinycss2
from tinycss2.ast import AtRule, Declaration, Node, QualifiedRule

__all__ = ["Declaration", "StyleRule", "declarations", "pixels", "rules", "tokens", "values"]

_GROUPS = ("media", "supports", "layer", "container")


@dataclass(frozen=True)
class StyleRule:
    """One rule of a style element.

    selector: as it is written; for a rule like @import, its name with the @. media: the conditions
    around it, outermost first. line: from 1, within the style element.
    """

    selector: str
    declarations: tuple[Declaration, ...]
    media: tuple[str, ...]
    line: int


@lru_cache(maxsize=4096)
def declarations(style: str) -> tuple[Declaration, ...]:
    """The declarations of a style attribute that can be read, in their order."""
    found = tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True)
    return tuple(each for each in found if isinstance(each, Declaration))


def values(style: str) -> dict[str, Declaration]:
    """By name, the declaration that counts: the last one, but an !important one before others."""
    counting: dict[str, Declaration] = {}
    for each in declarations(style):
        before = counting.get(each.lower_name)
        if before is None or each.important or not before.important:
            # Anew, so that it stands where its value was said.
            counting.pop(each.lower_name, None)
            counting[each.lower_name] = each
    return counting


def rules(css: str) -> list[StyleRule]:
    """All rules of a style element, those in @media and the like too."""
    return list(_rules(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)))


def _rules(nodes: Sequence[Node], media: tuple[str, ...] = ()) -> Iterator[StyleRule]:
    for node in nodes:
        if isinstance(node, QualifiedRule):
            yield from _one_rule(node, media)
        elif isinstance(node, AtRule):
            name = node.lower_at_keyword
            prelude = tinycss2.serialize(node.prelude).strip()
            if node.content is not None and name in _GROUPS:
                inside = tinycss2.parse_rule_list(
                    node.content, skip_comments=True, skip_whitespace=True
                )
                yield from _rules(inside, (*media, f"@{name} {prelude}"))
            else:
                yield StyleRule(f"@{name}", (), media, node.source_line)


def _one_rule(node: QualifiedRule, media: tuple[str, ...]) -> Iterator[StyleRule]:
    selector = tinycss2.serialize(node.prelude).strip()
    inside = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
    told = tuple(each for each in inside if isinstance(each, Declaration))
    yield StyleRule(selector, told, media, node.source_line)
    for nested in inside:
        if isinstance(nested, QualifiedRule):
            shown = tinycss2.serialize(nested.prelude).strip()
            yield StyleRule(f"{selector} & {shown}", (), media, nested.source_line)


def tokens(nodes: Sequence[Any]) -> Iterator[Any]:
    """All tokens of a value, those in functions and brackets too; functions come before theirs."""
    for node in nodes:
        yield node
        inside = getattr(node, "arguments", None) or getattr(node, "content", None)
        if isinstance(inside, list):
            yield from tokens(inside)


def pixels(declaration: Declaration) -> float | None:
    """The value of a declaration that is one length, in CSS pixels; None for any other."""
    said: list[Any] = [each for each in declaration.value if each.type != "whitespace"]
    if len(said) != 1:
        return None
    (value,) = said
    if value.type == "dimension" and value.lower_unit in ("px", "pt"):
        return float(value.value) * (4 / 3 if value.lower_unit == "pt" else 1)
    return 0.0 if value.type == "number" and value.value == 0 else None
