"""The order of a digest: the lead, what has no heading, and the sections as they were named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests.arrange import Arrangement, Entry, arrange
from newsletter.errors import BadInput


def arranged(numbers: list[int], **wanted: object) -> list[tuple[int, str | None]]:
    """The articles in their order, each with its heading; the lead's is "*"."""
    found = arrange(
        [Entry(number) for number in numbers],
        Arrangement(**wanted),  # type: ignore[arg-type]
        pictured={3, 4},
    )
    return [(each.article_id, "*" if each.is_lead else each.section) for each in found]


def test_nothing_said_is_as_it_came() -> None:
    """Without a word the order is that of the articles."""
    assert arranged([3, 1, 2]) == [(3, None), (1, None), (2, None)]


def test_sections_follow_what_has_no_heading() -> None:
    """In the order in which they are named, and so are their articles; new ones are added."""
    sections = [("Walks", [9, 2]), ("Bread", [1])]
    expected = [(3, None), (4, None), (9, "Walks"), (2, "Walks"), (1, "Bread")]
    assert arranged([1, 2, 3, 4], sections=sections) == expected


def test_the_lead_stands_above_all() -> None:
    """It leaves its section; auto is the first one with a picture, or the first one."""
    assert arranged([1, 2, 3], lead=2) == [(2, "*"), (1, None), (3, None)]
    assert arranged([1, 2], lead=2, sections=[("W", [1, 2])]) == [(2, "*"), (1, "W")]
    assert arranged([1, 4, 3], lead="auto") == [(4, "*"), (1, None), (3, None)]
    assert arranged([1, 2], lead="auto") == [(1, "*"), (2, None)]
    assert arranged([], lead="auto") == []


def test_what_was_said_before_stays() -> None:
    """A later word changes only what it names; what was in a section stays in front of it."""
    entries = [
        Entry(5, is_lead=True),
        Entry(1),
        Entry(2, "Walks", "full"),
        Entry(3, "Walks"),
        Entry(4, "Bread"),
    ]
    found = arrange(entries, Arrangement(sections=[("Walks", [3, 6]), ("", [4])], teaser=[1]))
    assert found == [
        Entry(5, is_lead=True),
        Entry(1, length="teaser"),
        Entry(4),
        Entry(2, "Walks", "full"),
        Entry(3, "Walks"),
        Entry(6, "Walks"),
    ]
    turned = arrange(entries, Arrangement(sections=[("New", [1]), ("Bread", [4]), ("Walks", [3])]))
    assert [each.section for each in turned] == [None, "Bread", "Walks", "Walks", "New"]
    unled = arrange(entries, Arrangement(lead="none"))
    assert unled[0] == Entry(5)
    into_section = arrange(entries, Arrangement(sections=[("Bread", [5])]))
    assert into_section[-1] == Entry(5, "Bread")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"lead": 9}, "lead"),
        ({"full": [9]}, "full"),
        ({"teaser": [9]}, "teaser"),
        ({"full": [1], "teaser": [1]}, "full"),
        ({"sections": [("A", [1]), ("B", [1])]}, "section"),
        ({"sections": [("A" * 101, [1])]}, "section"),
    ],
)
def test_what_cannot_be_meant(wanted: dict[str, object], field: str) -> None:
    """An article that is not there or is named twice is refused with the option."""
    with pytest.raises(BadInput) as caught:
        arranged([1, 2], **wanted)
    assert caught.value.field == field


def test_a_heading_is_one_line() -> None:
    """Without control characters, and with the joiners that emoji are made of."""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert arranged([1], sections=[(f"A\n\x1b[31m B\u202e {family}", [1])]) == [
        (1, f"A [31m B {family}")
    ]


NUMBERS = st.integers(1, 8)


@given(
    st.lists(NUMBERS, unique=True),
    st.dictionaries(st.sampled_from(["", "A", "B"]), st.lists(NUMBERS, unique=True)),
    st.sampled_from([None, "auto", "none"]),
)
def test_nobody_is_lost_and_nobody_stands_twice(
    numbers: list[int], sections: dict[str, list[int]], lead: str | None
) -> None:
    """Each article once; at most one lead, in front; each section in one piece behind the rest."""
    taken: set[int] = set()
    named = []
    for heading, items in sections.items():
        named.append((heading, [each for each in items if each not in taken]))
        taken |= set(items)
    found = arrange([Entry(n) for n in numbers], Arrangement(sections=named, lead=lead))
    assert sorted(each.article_id for each in found) == sorted({*numbers, *taken})
    assert all(not each.is_lead for each in found[1:])
    headings = [each.section for each in found]
    runs = [h for place, h in enumerate(headings) if place == 0 or headings[place - 1] != h]
    assert len(runs) == len(set(runs))
    assert None not in runs[1:]
    again = arrange(found, Arrangement())
    assert again == found
