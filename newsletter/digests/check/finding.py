"""What a check says: which rule is broken, where, and how to mend it. Names of rules are stable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """An error keeps a digest from being sent; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


class Part(StrEnum):
    """The part of a mail in which something was found."""

    HEADERS = "headers"
    SUBJECT = "subject"
    HTML = "html"
    TEXT = "text"


@dataclass(frozen=True)
class Rule:
    """Something that a letter must keep to.

    name: stable, as `--force` and programs use it. says: what is wrong when it is broken, as a
    sentence. mend: what to do about it, as one. may_pass: whether `--force` lets it pass.
    """

    name: str
    level: Level
    says: str
    mend: str
    may_pass: bool = True


@dataclass(frozen=True)
class Place:
    """Where: the part, its line (from 1) if it has lines, and what stands there.

    article: the title of the article in which it stands, "" for none.
    """

    part: Part
    line: int | None = None
    excerpt: str = ""
    article: str = ""


@dataclass(frozen=True)
class Finding:
    """A broken rule, once. detail: what this place adds to what the rule says."""

    rule: Rule
    place: Place
    detail: str = ""


_LONGEST_EXCERPT = 120


def error(name: str, says: str, mend: str, *, may_pass: bool = True) -> Rule:
    """A rule whose break keeps the digest from being sent."""
    return Rule(name, Level.ERROR, says, mend, may_pass)


def warning(name: str, says: str, mend: str) -> Rule:
    """A rule whose break is shown."""
    return Rule(name, Level.WARNING, says, mend)


def excerpt(text: str) -> str:
    """`text` in one line that is short enough to be shown."""
    line = " ".join(text[: 4 * _LONGEST_EXCERPT].split())
    return line if len(line) <= _LONGEST_EXCERPT else f"{line[: _LONGEST_EXCERPT - 1]}…"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then as a reader comes upon them."""
    parts = list(Part)
    return sorted(
        findings,
        key=lambda each: (
            each.rule.level != Level.ERROR,
            parts.index(each.place.part),
            each.place.line or 0,
        ),
    )
