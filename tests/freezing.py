"""What the tests of frozen digests share: content, and templates other than the installed ones."""

from __future__ import annotations

from functools import cache

from newsletter.digests.content import Content, Piece
from newsletter.digests.freeze import Frozen, freeze
from newsletter.mail.letters import Templates, of_files

BASE = "https://news.example.org"
PUBLICATION = {
    "title": "Field Notes",
    "from_name": "Field Notes",
    "postal_address": "12 Orchard Lane\nAmbleside, England",
    "privacy_url": "https://fieldnotes.example.org/privacy",
    "accent_color": "#1f5f4a",
    "home_url": f"{BASE}/field-notes/",
    "language": "en",
}
OAKS = Piece(
    title="Counting oaks",
    url="https://fieldnotes.example.org/oaks",
    published="2026-03-01",
    summary_html="<p>Every <em>spring</em> = the same walk.</p>",
    summary_text="Every spring = the same walk.\n.\nFrom here on\tit is wet.",
    tags=("Woods",),
)

# Digests whose templates show a reader's name where the installed ones do not.
NAMED = {
    "digest/subject.txt": "{{ reader.name }}, {{ digest.subject }}",
    "digest/body.txt": "{{ reader.name }}{{ greeting }}\n.{{ reader.address }}"
    "{{ links.unsubscribe_url }}\n{{ links.preferences_url }}",
    "digest/body.html": '<p title="{{ reader.name }}">{{ reader.address }}</p>'
    '<a href="{{ links.unsubscribe_url }}">{{ greeting }}</a>',
}
# One that says something else to those without a name.
LOOKING = {"digest/body.txt": "{% if reader.name %}Dear {{ reader.name }}{% else %}Hi{% endif %}!"}


@cache
def _templates(language: str, changes: tuple[tuple[str, str], ...]) -> Templates:
    return Templates(language, {**of_files(language).sources(), **dict(changes)})


def frozen(
    language: str = "en",
    templates: dict[str, str] | None = None,
    *,
    subject: str = "The wood in March",
    checkpoint: str | None = None,
) -> Frozen:
    """A digest as its approval freezes it; templates: in place of the installed ones."""
    return freeze(
        Content(subject=subject, pieces=(OAKS,), language=language),
        {**PUBLICATION, "language": language},
        archive_url=f"{BASE}/field-notes/archive/abc",
        checkpoint=checkpoint,
        templates=_templates(language, tuple((templates or {}).items())),
    )
