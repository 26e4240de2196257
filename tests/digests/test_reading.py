"""What an article's file may say, and how its faults are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.digests.reading import MAX_BYTES, ArticleInput, read
from newsletter.errors import BadInput

FULL = """\
---
title: The year of the swift
url: https://example.org/2026/swifts.html
published: 2026-03-01
author: Ada Lovelace
summary: They are *back*.
image: swift.jpg
image_width: 1200
image_height: 800
image_alt: A swift above a roof
image_credit: "Photo: Grace Hopper"
tags: [birds, cities]
site: Field Notes
language: en_gb
---
First paragraph.

Second one.
"""


def front(line: str) -> str:
    return f"---\ntitle: T\n{line}\n---\nText."


def test_every_field_is_read() -> None:
    """The front matter's fields arrive, the picture's address made absolute."""
    assert read(FULL, origin="a.md") == ArticleInput(
        title="The year of the swift",
        body="First paragraph.\n\nSecond one.",
        url="https://example.org/2026/swifts.html",
        published=datetime(2026, 3, 1, tzinfo=UTC),
        author="Ada Lovelace",
        summary="They are *back*.",
        image="https://example.org/2026/swift.jpg",
        image_width=1200,
        image_height=800,
        image_alt="A swift above a roof",
        image_credit="Photo: Grace Hopper",
        tags=("birds", "cities"),
        site="Field Notes",
        language="en-GB",
    )


def test_toml_is_read_too() -> None:
    """Front matter between lines of +++ is TOML, with its own dates and lists."""
    article = read('+++\ntitle = "T"\npublished = 2026-03-01\ntags = ["a"]\n+++\nText.', origin="a")
    assert (article.title, article.tags) == ("T", ("a",))
    assert article.published == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "title", "body"),
    [
        ("# The title\n\nText.", "The title", "Text."),
        ("\ufeff# The title #\r\nText.\r\n", "The title", "Text."),
        ("---\nauthor: A\n---\n# The title\n\nText.", "The title", "Text."),
        ("---\ntitle: The title\n---\n# The title\n\nText.", "The title", "Text."),
        ("---\ntitle: Other\n---\n# The title\n\nText.", "Other", "# The title\n\nText."),
        ("---\ntitle: 1984\n---\nText.", "1984", "Text."),
        ("---\ntitle: No\n---\nText.", "No", "Text."),
        ('---\ntitle: "a\\r\\nBcc: x@y\\0"\n---\nText.', "a Bcc: x@y", "Text."),
        ("---\ntitle: T\n---\n\n    code\n", "T", "    code"),
    ],
)
def test_the_title(text: str, title: str, body: str) -> None:
    """It stands in the front matter or in the first line, is one line, and is always text."""
    article = read(text, origin="a.md")
    assert (article.title, article.body) == (title, body)


@pytest.mark.parametrize(
    ("published", "moment"),
    [
        ("2026-03-01 09:30", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T09:30:00+02:00", datetime(2026, 3, 1, 7, 30, tzinfo=UTC)),
        ("2026-03-01T09:30:00Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ('""', None),
        ("", None),
        ("null", None),
    ],
)
def test_when_it_was_published(published: str, moment: datetime | None) -> None:
    """Dates and times in ISO 8601; without a zone they are UTC."""
    assert read(front(f"published: {published}"), origin="a").published == moment


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("Text only.", "title", "is missing"),
        ("---\nauthor: A\n---\nText.", "title", "is missing"),
        (front("sumary: x"), "sumary", "did you mean summary"),
        (front("colour: x"), "colour", "the fields are title"),
        (front("published: 2026-13-45"), "published", "is not a date"),
        (front("published: yesterday"), "published", "2026-03-01"),
        (front("published: 0001-01-01T00:00:00+14:00"), "published", "calendar"),
        (front("url: javascript:alert(1)"), "url", "https://"),
        (front("url: ftp://example.org/a"), "url", "https://"),
        (front("url: /relative"), "url", "https://"),
        (front("url: 'https://exa mple.org'"), "url", "https://"),
        (front("url: 'https://['"), "url", "https://"),
        (front("image: a.jpg"), "image", "relative to it"),
        (front("image: data:image/png;base64,xx"), "image", "https://"),
        (front("image_width: wide"), "image_width", "such as 1200"),
        (front("image_height: -1"), "image_height", "such as 1200"),
        (front("language: the Queen's"), "language", "such as en"),
        (front(f"url: https://example.org/{'燕' * 700}"), "url", "https://"),
        (front("author: [a, b]"), "author", "must be text"),
        (front("author: {a: b}"), "author", "must be text"),
        (front("tags: [[a]]"), "tags", "must be text"),
        (front(f"tags: [{', '.join(map(str, range(21)))}]"), "tags", "more than 20"),
        (front(f"author: {'x' * 201}"), "author", "longer than 200"),
        (front(f"summary: '{'[' * 3500}'"), "summary", "more markup"),
        ("---\ntitle: T\n---\n", "body", "neither text nor summary"),
        ("---\ntitle: T\nText without an end", "", "no closing ---"),
        ("---\ntitle: 'T\n---\nText.", "", "line "),
        ("---\njust words\n---\nText.", "", "lines of"),
        ("---\ntitle: !!python/object/apply:os.system [x]\n---\nT", "title", "must be text"),
        ("---\na: " + "[" * 9000 + "\n---\nT", "", "front matter"),
        (f"---\ntitle: {'x' * 17000}\n---\nT", "", "longer than"),
        ("+++\ntitle = \n+++\nText.", "", "cannot be read"),
        ("# T\n" + "é" * (MAX_BYTES // 2 + 1), "", "512 KiB"),
        ("# T\n" + "<div>" * 300, "body", "nested"),
    ],
)
def test_faults_name_file_field_and_cure(text: str, field: str, said: str) -> None:
    """Every fault says where it is and what to do about it."""
    with pytest.raises(BadInput) as caught:
        read(text, origin="notes/a.md")
    assert caught.value.field == field
    assert str(caught.value).startswith(f"notes/a.md: {field}")
    assert said in str(caught.value)


def test_yaml_aliases_do_not_explode() -> None:
    """A few lines that stand for billions of words are refused, not written out."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    with pytest.raises(BadInput, match="no such field"):
        read("---\n" + "\n".join(lines) + "\n---\nText.", origin="a")


@given(st.text(max_size=200), st.sampled_from(["", "---\n", "---\ntitle: T\n", "+++\n", "# "]))
def test_any_text_is_an_article_or_a_fault(text: str, start: str) -> None:
    """Nothing but BadInput ever comes out of a bad file."""
    try:
        assert read(start + text, origin="a").title
    except BadInput as error:
        assert str(error).startswith("a: ")
