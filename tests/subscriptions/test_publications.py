"""Publications: what operators may name them, and what is refused with its reason."""

from __future__ import annotations

import pytest

from newsletter import consent, store
from newsletter.errors import BadInput, NotFound
from newsletter.subscriptions import publications

GOOD = {
    "slug": "field-notes",
    "title": "Field Notes",
    "from_": "Field Notes <notes@example.org>",
    "privacy_url": "https://example.org/privacy",
    "postal_address": "1 Meadow Lane\nExampleton",
}


def create(engine, now, **over):
    with store.transaction(engine) as session:
        return publications.create(session, **{**GOOD, **over}, now=now)


def test_a_publication_is_made_with_sensible_defaults(engine, now):
    """Only what the law and the mail need has to be said."""
    made = create(engine, now)
    assert (made.from_name, made.from_address) == ("Field Notes", "notes@example.org")
    assert made.privacy_version == "2026-03-01"
    assert made.sends_welcome and not made.sends_goodbye


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "Field Notes"),
        ("slug", "-x"),
        ("slug", "confirm"),
        ("slug", "static"),
        ("title", ""),
        ("title", "a\r\nBcc: v@example.net"),
        ("from_", "notes@example.org"),
        ("from_", "Notes <nowhere>"),
        ("from_", "Notes\nBcc: v@example.net <notes@example.org>"),
        ("privacy_url", "javascript:alert(1)"),
        ("postal_address", " "),
        ("accent_color", "red"),
        ("theme", "../plain"),
        ("heading_font", "Comic Sans MS"),
        ("text_font", "x;}</style>"),
        ("logo_url", "http://example.org/logo.png"),
        ("logo_width", 9999),
        ("language", "xx"),
        ("reply_to", "nobody"),
        ("consent_wording", "I agree."),
        ("consent_wording", "[I] [agree]"),
        ("colour", "#123456"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(engine, now, field, value):
    """The error names the field; nothing is written."""
    with pytest.raises(BadInput) as caught:
        create(engine, now, **{field: value})
    assert caught.value.field == field.rstrip("_")
    with store.reading(engine) as session:
        assert publications.all_of(session) == []


@pytest.mark.parametrize(
    ("given", "kept"), [("ar", "ar"), ("pt_br", "pt-BR"), ("zh-hant", "zh-Hant")]
)
def test_a_publication_speaks_any_language(engine, now, given, kept):
    """Any that the CLDR knows, in its usual spelling; consent is asked in words that we have."""
    made = create(engine, now, language=given)
    assert made.language == kept
    wording = consent.wording_of(made, made.language)
    assert wording.language == "en" and "I have read" in wording.text


def test_a_slug_is_taken_once(engine, now):
    """The second one is told how to change the first."""
    create(engine, now)
    with pytest.raises(BadInput, match="publication edit field-notes"):
        create(engine, now)


def test_new_words_are_a_new_version(engine, now):
    """Changing the wording, the policy's address or its version changes the wording's version."""
    made = create(engine, now)
    versions = {consent.wording_of(made, "en").version}
    for change in (
        {"privacy_version": "2"},
        {"privacy_url": "https://example.org/other"},
        {"consent_wording": "Yes, I read the [policy] and want mail."},
    ):
        with store.transaction(engine) as session:
            made = publications.edit(session, "field-notes", **change)
        versions.add(consent.wording_of(made, "en").version)
    assert len(versions) == 4
    assert consent.wording_of(made, "en").parts == ("Yes, I read the ", "policy", " and want mail.")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "I can withdraw my consent at any time."),
        ("de", "diese Einwilligung kann ich jederzeit widerrufen."),
        ("fr", "je peux retirer ce consentement à tout moment."),
        ("es", "puedo retirarlo en cualquier momento."),
    ],
)
def test_who_consents_is_told_before_that_it_can_be_withdrawn(engine, now, language, told):
    """GDPR Art. 7(3): beside the box, and so in the log too, in each language that we ship."""
    assert consent.wording_of(create(engine, now), language).text.endswith(told)


def test_an_unknown_slug_is_told_what_there_is(engine, now):
    """The error lists the publications."""
    create(engine, now)
    with store.reading(engine) as session, pytest.raises(NotFound, match="field-notes"):
        publications.find(session, "feild-notes")
