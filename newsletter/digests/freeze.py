"""Freezing: a digest's letter is rendered once, and only a few places in it differ by reader.

These places, the slots, hold tokens that are drawn at random when the digest is frozen: no article
can contain one, since it was written before. Filling them is newsletter.mail.frozen's.

A template may do more with a reader than show what is known: leave a sentence out for those
without a name, write an address in capitals. Then there is nothing to fill in, and the templates
themselves are frozen, to be rendered for each reader. Which of the two a template needs is found
out here, by freezing it: nobody has to say.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, TypedDict

from newsletter.digests.content import Content
from newsletter.digests.slot import LookedAt, Slot
from newsletter.mail.frozen import SLOTS, fill, greeting, letter_values, sha256_of
from newsletter.mail.letters import Letter, LetterError, Templates, of_files

__all__ = ["SLOTS", "Frozen", "fill", "freeze", "greeting"]

VERSION = 2

# Readers who bring to light what a template does with them: one with nothing to show, one whose
# values change when they are escaped, quoted, stripped, lowered or raised, one with long values.
_PROBES = (
    ("", "a@b.example", "https://n.example/u/1"),
    ('Zoë "<i>X</i>" & O\'Hara-2', "Ada.L'x+Y@sub.example.org", "https://n.example/U?a=1&b=2"),
    (
        "Nicodemus Albatross " * 9,
        f"{'x' * 64}@{'Y' * 60}.example",
        f"https://n.example/{'z' * 300}",
    ),
)


class Logic(TypedDict):
    """What a digest is rendered from for each reader, beside its content.

    templates: all of them, file name to source. publication: as Publication.in_letters gives it.
    links: those that are the same for everybody.
    """

    templates: dict[str, str]
    publication: dict[str, str]
    links: dict[str, str]


class Frozen(TypedDict):
    """A digest as it was approved; what the column `digest.frozen` holds.

    content: as Content.to_json makes it. subject, text, html: the letter with tokens in its slots.
    slots: name to token, of those that the letter has. logic: None, or what the letter is rendered
    from for each reader; text and html are empty then. checkpoint: the consent log's newest
    signed checkpoint at that time; None when nothing was signed yet. sha256: hex, over the
    canonical JSON of all the rest.
    """

    version: int
    content: dict[str, Any]
    subject: str
    text: str
    html: str
    slots: dict[str, str]
    logic: Logic | None
    checkpoint: str | None
    sha256: str


def freeze(
    content: Content,
    publication: Mapping[str, str],
    *,
    archive_url: str,
    checkpoint: str | None = None,
    templates: Templates | None = None,
) -> Frozen:
    """The letter of `content`, rendered with a token in each slot, or ready to be rendered.

    publication: as Publication.in_letters gives it. archive_url: where the digest can be read on
        the web; the same for everybody. checkpoint: the signed note that each mail's header will
        carry. templates: in the content's language; None for those that are installed.

    Raises LetterError when the templates are broken, or lack a value.
    """
    links = {"archive_url": archive_url, "home_url": publication["home_url"]}
    templates = templates or of_files(content.language)
    # As a frozen digest has them: in JSON, a list is a list. What is broken for real readers is
    # broken; this comes first, since its error says what is wrong.
    digest = content.to_json()
    probes = [
        (probe, templates.render("digest", letter_values(publication, digest, links, probe)))
        for probe in _probes(content.language)
    ]
    slots = {name: Slot() for name in SLOTS}
    slotted = _slotted(templates, letter_values(publication, digest, links, slots), slots)
    if slotted:
        frozen = _frozen(content, checkpoint, slotted, slots=slots)
        if all(_is_alike(fill(frozen, probe), wanted) for probe, wanted in probes):
            return frozen
    logic = Logic(templates=templates.sources(), publication=dict(publication), links=links)
    return _frozen(content, checkpoint, Letter(content.subject, "", ""), logic=logic)


def _slotted(
    templates: Templates, values: Mapping[str, object], slots: Mapping[str, Slot]
) -> Letter | None:
    """The letter with tokens in its slots; None when a template looked at one."""
    try:
        letter = templates.render("digest", values)
    except (LookedAt, LetterError, TypeError, ValueError):  # real values gave no error
        return None
    return letter if all(_is_all_shown(slot, letter) for slot in slots.values()) else None


def _frozen(
    content: Content,
    checkpoint: str | None,
    letter: Letter,
    *,
    slots: Mapping[str, Slot] | None = None,
    logic: Logic | None = None,
) -> Frozen:
    parts = (letter.subject, letter.text, letter.html)
    frozen = Frozen(
        version=VERSION,
        content=content.to_json(),
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        slots={
            name: slot.token
            for name, slot in (slots or {}).items()
            if any(slot.token in part for part in parts)
        },
        logic=logic,
        checkpoint=checkpoint,
        sha256="",
    )
    return {**frozen, "sha256": sha256_of(frozen)}


def _is_all_shown(slot: Slot, letter: Letter) -> bool:
    """Whether what a template was told of a slot stands in the letter, each time."""
    parts = (letter.subject, letter.text, letter.html)
    return sum(part.count(slot.token) for part in parts) == slot.shown


def _is_alike(one: Letter, other: Letter) -> bool:
    """Whether two letters say the same; where lines break is no matter.

    Two ways to escape the same character are one.
    """
    return (
        one.subject.split() == other.subject.split()
        and one.text.split() == other.text.split()
        and html.unescape(one.html).split() == html.unescape(other.html).split()
    )


def _probes(language: str) -> list[dict[str, str]]:
    return [
        {
            "greeting": greeting(name, language),
            "name": name,
            "address": address,
            "unsubscribe_url": url,
            "preferences_url": f"{url}&p=1",
        }
        for name, address, url in _PROBES
    ]
