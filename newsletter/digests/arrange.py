"""The order and the weight of a digest's articles: the lead, sections, how much of each.

First the lead, then what has no heading, then the sections in the order in which they were named:
so that nothing without a heading seems to belong to the one above it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from newsletter.digests.oneline import one_line
from newsletter.errors import BadInput

# How much of each article stands in the letter; "auto" gives the whole of a single article and of
# one that can be read nowhere else.
Length = Literal["auto", "full", "teaser"]
MAX_HEADING = 100
# What `Arrangement.lead` says beside an article's number.
AUTO = "auto"
NONE = "none"


@dataclass(frozen=True)
class Entry:
    """An article's place in a digest. length: None for what the digest says."""

    article_id: int
    section: str | None = None
    length: Literal["full", "teaser"] | None = None
    is_lead: bool = False


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """What an operator says about the articles, by their numbers.

    sections: headings with the articles under them, in their order; an empty heading takes them out
    of their section. lead: the article that comes first and is shown larger, "auto" for the first
    one with a picture, "none" for none, None for no word about it. full, teaser: of which all is
    shown, and of which the summary, whatever the digest's length says.
    """

    sections: Sequence[tuple[str, Sequence[int]]] = ()
    lead: int | str | None = None
    full: Collection[int] = ()
    teaser: Collection[int] = ()

    def __bool__(self) -> bool:
        return bool(self.sections or self.full or self.teaser) or self.lead is not None

    @property
    def named(self) -> list[int]:
        """The articles that stand under a heading, in their order."""
        return [number for _, numbers in self.sections for number in numbers]


def arrange(
    entries: Iterable[Entry], wanted: Arrangement, *, pictured: Collection[int] = ()
) -> list[Entry]:
    """The entries in their final order, with what `wanted` says of them.

    entries: as they are, or as the operator named them; those that only `wanted.sections` names are
        added. pictured: the articles that have a picture.

    Raises BadInput with the option that is wrong.
    """
    found = {entry.article_id: entry for entry in entries}
    before = [entry.section for entry in found.values()]
    for number in wanted.named:
        found.setdefault(number, Entry(number))
    headings = _put_under_headings(found, wanted.sections)
    _set_lengths(found, wanted)
    _choose_lead(found, wanted.lead, pictured)
    return sorted(found.values(), key=_Order(_in_order(before, headings), wanted.named))


class _Order:
    """The place of an entry. sections: the headings in their order. named: articles in theirs."""

    def __init__(self, sections: Sequence[str], named: Sequence[int]) -> None:
        self.sections = {heading: place for place, heading in enumerate(sections, 1)}
        self.within = {number: place for place, number in enumerate(named)}

    def __call__(self, entry: Entry) -> tuple[bool, int, int]:
        section = self.sections[entry.section] if entry.section else 0
        # Those of a section that are not named stay in front, as they came.
        return not entry.is_lead, section, self.within.get(entry.article_id, -1)


def _in_order(before: Iterable[str | None], named: Iterable[str | None]) -> list[str]:
    """The headings: those that were there keep their places, in the order in which they are named;
    new ones follow.
    """
    old = list(dict.fromkeys(heading for heading in before if heading))
    new = list(dict.fromkeys(heading for heading in named if heading))
    known = iter([heading for heading in new if heading in old])
    kept = [next(known) if heading in new else heading for heading in old]
    return [*kept, *(heading for heading in new if heading not in old)]


def _put_under_headings(
    found: dict[int, Entry], sections: Sequence[tuple[str, Sequence[int]]]
) -> list[str | None]:
    """The headings, cleaned."""
    headings = []
    seen: set[int] = set()
    for heading, numbers in sections:
        words = one_line(heading, name="A heading", field="section", most=MAX_HEADING)
        headings.append(words)
        for number in numbers:
            if number in seen:
                raise BadInput(f"Article {number} is in two sections.", "section")
            seen.add(number)
            found[number] = replace(found[number], section=words, is_lead=False)
    return headings


def _set_lengths(found: dict[int, Entry], wanted: Arrangement) -> None:
    for number in wanted.full:
        if number in wanted.teaser:
            raise BadInput(f"Article {number} is to be both full and a teaser.", "full")
    lengths: Mapping[Literal["full", "teaser"], Collection[int]] = {
        "full": wanted.full,
        "teaser": wanted.teaser,
    }
    for length, numbers in lengths.items():
        for number in numbers:
            _must_be_there(found, number, length)
            found[number] = replace(found[number], length=length)


def _choose_lead(
    found: dict[int, Entry], lead: int | str | None, pictured: Collection[int]
) -> None:
    if lead is None:
        return
    for number, entry in found.items():
        found[number] = replace(entry, is_lead=False)
    if lead == AUTO:
        lead = next((number for number in found if number in pictured), next(iter(found), None))
    if lead is None or lead == NONE:
        return
    number = int(lead)
    _must_be_there(found, number, "lead")
    # It stands above all headings.
    found[number] = replace(found[number], is_lead=True, section=None)


def _must_be_there(found: Mapping[int, Entry], number: int, option: str) -> None:
    if number not in found:
        raise BadInput(f"Article {number} is not one of the digest's articles.", option)
