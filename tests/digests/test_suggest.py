"""Subjects and preheaders that are made of the articles: they say what is there, and calmly."""

from __future__ import annotations

from datetime import date

import pytest

from newsletter.digests import suggest
from newsletter.digests.answer import is_sign


@pytest.mark.parametrize(
    ("titles", "subject"),
    [
        ([], ""),
        (["Swifts are back"], "Swifts are back"),
        (["Swifts are back", "Bread"], "Swifts are back and Bread"),
        (["Swifts are back", "Bread", "Rye"], "Swifts are back, Bread and 1 more"),
        (["Swifts are back", "Bread", "Rye", "Oats"], "Swifts are back, Bread and 2 more"),
        (["s" * 40, "b" * 30], f"{'s' * 40} and 1 more"),
        (["s" * 40, "b" * 30, "Rye"], f"{'s' * 40} and 2 more"),
        (["  Two\n lines "], "Two lines"),
    ],
)
def test_the_subject_of_titles(titles: list[str], subject: str) -> None:
    """The first title, the second one when there is room, and how many more there are."""
    assert suggest.subject(titles, language="en") == subject


def test_the_subject_is_in_the_publications_language() -> None:
    """The words between the titles are translated, in the plural that the number asks for."""
    titles = ["Mauersegler", "Brot", "Roggen", "Hafer"]
    expected = "Mauersegler, Brot und 2 weitere Artikel"
    assert suggest.subject(titles, language="de") == expected
    assert suggest.subject(titles[:2], language="de") == "Mauersegler und Brot"
    assert suggest.subject(titles, language="de-AT") == expected


def test_without_words_of_a_language_titles_stand_alone() -> None:
    """No "and 2 more" between Arabic titles."""
    titles = ["السمامات", "رغيف", "الترام"]
    assert suggest.subject(titles, language="ar") == "السمامات · رغيف"
    assert suggest.subject(["س" * 50, "ر" * 50], language="ar") == "س" * 50


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Re: Fwd: your order", "your order"),
        ("AW: Ihre Frage", "Ihre Frage"),
        ("RE：返信", "返信"),
        ("EVERYTHING MUST GO NOW", "Everything must go now"),
        ("NASA", "NASA"),
        ("Report: it works", "Report: it works"),
        ("R: statistics", "R: statistics"),
        ("I: Robot and me", "I: Robot and me"),
        ("Re:Sale now", "Sale now"),
        ("FW:x sale", "x sale"),
        ("回复：特价", "特价"),
        ("Re:volution", "Re:volution"),
        ("Now!!! Really?!", "Now! Really?"),
        ("100 % von A bis %(first)s", "100 % von A bis %(first)s"),
    ],
)
def test_a_subject_plays_no_tricks(title: str, said: str) -> None:
    """No pretended answer and no shouting, as spam filters and readers dislike both."""
    assert suggest.subject([title], language="en") == said
    assert suggest.subject([title, "B"], language="en") == f"{said} and B"
    assert not is_sign(suggest.subject([title], language="en"))


def test_a_title_that_is_a_trick_and_nothing_else() -> None:
    """It is in no subject."""
    assert suggest.subject(["Re:"], language="en") == ""
    assert suggest.subject(["Re:", "B"], language="en") == "B"
    on = date(2026, 3, 2)
    assert suggest.subjects(["Re:"], publication="Notes", on=on, language="en") == [
        "Notes, March 2, 2026"
    ]


def test_a_long_title_is_cut_between_words() -> None:
    """A subject of a page's length is none."""
    long = "On the many ways in which the swifts of this town " * 5
    subject = suggest.subject([long, "B"], language="en")
    assert 50 < len(subject) <= suggest.LONGEST
    assert subject.endswith("… and 1 more")
    assert suggest.subject(["鳥" * 200], language="ja") == f"{'鳥' * 34}…"
    for each in suggest.subjects([long], publication="Notes", on=date(2026, 3, 2), language="en"):
        assert len(each) <= suggest.LONGEST


def test_subjects_to_choose_from() -> None:
    """The titles, the publication with a title, and the publication with its day, by language."""
    found = suggest.subjects(
        ["Swifts", "Bread"], publication="Field Notes", on=date(2026, 3, 2), language="en"
    )
    assert found == ["Swifts and Bread", "Field Notes: Swifts", "Field Notes, March 2, 2026"]
    german = suggest.subjects([], publication="Feldnotizen", on=date(2026, 3, 2), language="de")
    assert german == ["Feldnotizen, 2. März 2026"]


@pytest.mark.parametrize(
    ("subject", "titles", "intro", "line"),
    [
        ("March", ["Swifts", "Bread"], "Hello all.", "Hello all."),
        ("March", ["Swifts", "Bread"], "", "Swifts · Bread"),
        ("Swifts and 2 more", ["Swifts", "Bread", "Rye"], "", "Bread · Rye"),
        ("swifts and bread", ["Swifts", "Bread"], "", "How it begins."),
        ("Swifts", ["Swifts"], "", "How it begins."),
        ("March", ["Swifts"], "", "How it begins."),
        ("March", [], "", "How it begins."),
    ],
)
def test_the_preheader(subject: str, titles: list[str], intro: str, line: str) -> None:
    """The introduction's words, else what the subject does not say, else how it begins."""
    found = suggest.preheader(subject, titles, intro=intro, opening="How it begins.")
    assert found == line


def test_a_preheader_is_short() -> None:
    """Whole titles as long as there is room; the first one is cut if it must be."""
    line = suggest.preheader("M", ["A" * 60, "B" * 60, "C" * 60], intro="", opening="")
    assert line == f"{'A' * 60} · {'B' * 60}"
    for titles in (["word " * 60, "B"], ["B"]):
        found = suggest.preheader("M", titles, intro="", opening="More words. " * 40)
        assert 0 < len(found) <= suggest.PREHEADER
