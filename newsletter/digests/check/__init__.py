"""The gate before sending: what is wrong with a letter, where, and how to mend it.

Each module is a family of rules: a pure function over a mail that was built, taken apart again
(`read`). Nothing here knows rows, clocks or the network; what the web says of the links is handed
in (`check_answers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from newsletter.digests.check import (
    access,
    active,
    contrast,
    features,
    headers,
    links,
    pictures,
    placeholders,
    sender,
    size,
    subject,
    texts,
)
from newsletter.digests.check.built import Built, Facts, read
from newsletter.digests.check.finding import Finding, Level, Part, Place, Rule, in_order
from newsletter.digests.check.gate import NotFit, demand, nearest
from newsletter.digests.check.links import Answer
from newsletter.errors import BadInput

__all__ = [
    "Answer",
    "Built",
    "Facts",
    "Finding",
    "Level",
    "NotFit",
    "Part",
    "Place",
    "Rule",
    "check",
    "demand",
    "known",
    "read",
    "rules",
]

_FAMILIES = (
    size, headers, subject, sender, texts, placeholders, links, pictures, access, contrast, active
)  # fmt: skip


def check(built: Built, facts: Facts, answers: Mapping[str, Answer] | None = None) -> list[Finding]:
    """All that is wrong with a mail; errors first.

    answers: what the web said of its links (`links.web_addresses`); None when it was not asked.
    """
    if size.is_huge(built):
        return in_order([*size.check(built), *headers.check(built)])
    found = [
        *size.check(built),
        *headers.check(built),
        *subject.check(built),
        *sender.check(built, facts),
        *texts.check(built),
        *placeholders.check(built, facts),
        *links.check(built),
        *links.check_answers(built, answers or {}),
        *pictures.check(built),
        *access.check(built, facts),
        *contrast.check(built),
        *active.check(built),
        *features.check(built),
    ]
    return in_order(found)


@cache
def rules() -> dict[str, Rule]:
    """All rules, by name."""
    found = [rule for family in _FAMILIES for rule in family.RULES]
    return {rule.name: rule for rule in (*found, *features.rules())}


def known(names: Iterable[str]) -> frozenset[str]:
    """`names` of rules as a set. Raises BadInput for one that is none, with the nearest one."""
    found = frozenset(names)
    for name in sorted(found - set(rules())):
        raise BadInput(nearest(name, rules()), "force")
    return found
