"""What is said of an article's language, and what its letters say."""

from __future__ import annotations

import pytest

from newsletter.digests import tongue


@pytest.mark.parametrize(
    ("language", "words", "told"),
    [
        ("ar", "مساء عودة السمامات", "ar"),
        ("he", "הסיסים חזרו", "he"),
        ("en-us", "The swifts are back", "en-US"),
        # A region that nobody knows takes nothing from the language.
        ("ar-xx", "مساء عودة السمامات", "ar"),
        ("en-US", "مساء عودة السمامات، 2026", None),
        ("ar", "The swifts are back", None),
        ("ar", "WordPress 7: مساء عودة السمامات", "ar"),
        ("en", "2026", "en"),
        ("tlh", "nuqneH", None),
        ("", "x", None),
        (None, "x", None),
    ],
)
def test_a_language_that_letters_do_not_belie(
    language: str | None, words: str, told: str | None
) -> None:
    """It counts unless what is said runs the other way, or it is no language."""
    assert tongue.told(language, words) == told


@pytest.mark.parametrize(
    ("words", "around", "side"),
    [
        ("הסיסים חזרו", "en", "rtl"),
        ("The swifts are back", "ar", "ltr"),
        ("WordPress 7: مساء عودة السمامات", "en", "rtl"),
        ("The swifts are back", "de", None),
        ("הסיסים חזרו", "ar", None),
        ("2026", "ar", None),
        ("", "he", None),
    ],
)
def test_on_which_side_an_article_of_an_unknown_language_begins(
    words: str, around: str, side: str | None
) -> None:
    """On that of its letters; nothing is said where the publication begins there too."""
    assert tongue.turned(words, around) == side
