"""Languages: the best that we have, English when in doubt, and no crash on any tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import i18n

TAGS = st.one_of(st.text(), st.text(st.sampled_from("aAdDeEzhnU-_xX019.@/")))


def test_english_first() -> None:
    """English is the language of the sources and always there."""
    assert i18n.languages()[0] == "en"


@pytest.mark.parametrize("wanted", [[], ["en"], ["en-GB"], ["EN-us", "tlh"], ["tlh"], [""], ["*"]])
def test_choose_falls_back_to_english(wanted: list[str]) -> None:
    """English for what we have no catalog of."""
    assert i18n.choose(wanted) == "en"


def test_choose_default() -> None:
    """The publication's language is the fallback when nothing that the browser wants is there."""
    assert i18n.choose(["tlh"], default="de") == "de"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["de-AT"], "de"),
        (["fr-CA", "en"], "fr"),
        (["es-419"], "es"),
        (["tlh", "pt-BR", "ES"], "es"),
        (["en-GB", "de"], "en"),
        (["de_CH"], "de"),
    ],
)
def test_choose(wanted: list[str], expected: str) -> None:
    """The first that we have, whichever country it is of."""
    assert i18n.choose(wanted) == expected


@given(st.lists(TAGS, max_size=4))
def test_choose_any_header(wanted: list[str]) -> None:
    """Whatever a browser sends, one of our languages comes out."""
    assert i18n.choose(wanted) in i18n.languages()


@given(TAGS)
def test_any_language_has_texts(language: str) -> None:
    """Whatever an import says is the language, pages are shown."""
    assert i18n.translations(language).gettext("no such text") == "no such text"
    assert i18n.locale_of(language).language
    assert i18n.is_right_to_left(language) in (True, False)


@pytest.mark.parametrize(
    ("language", "expected"), [("en", False), ("ar", True), ("he-IL", True), ("de_AT", False)]
)
def test_direction(language: str, expected: bool) -> None:
    """Arabic and Hebrew pages run from right to left."""
    assert i18n.is_right_to_left(language) is expected


@pytest.mark.parametrize(
    ("language", "moment", "number"),
    [
        ("en", "March 1, 2026, 12:05 UTC", "12,345"),
        ("de", "1. März 2026, 12:05 UTC", "12.345"),
        ("fr", "1 mars 2026, 12:05 UTC", "12\u202f345"),
        ("es", "1 de marzo de 2026, 12:05 UTC", "12.345"),
        ("de-AT", "1. März 2026, 12:05 UTC", "12.345"),
        ("tlh", "March 1, 2026, 12:05 UTC", "12,345"),
    ],
)
def test_dates_and_numbers(language: str, moment: str, number: str) -> None:
    """They are written as people of the language write them; as in English when it is unknown."""
    assert i18n.moment("2026-03-01T12:05:09+00:00", language) == moment
    assert i18n.number(12345, language) == number


@pytest.mark.parametrize("language", ["de-AT", "de_CH", "DE"])
def test_a_country_has_its_languages_words(language: str) -> None:
    """Who reads Austrian German reads our German."""
    assert i18n.translations(language).gettext("Unsubscribe") == "Abmelden"
