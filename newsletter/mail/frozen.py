"""A digest's letter, rendered once at its approval, and filled in for each reader.

What differs from reader to reader is a slot: a random token that stands in the frozen parts where
the value will be. Filling is a plain replacement, so the templates are not run a million times,
and a reader's name can never become part of a template.

A digest whose templates look at a reader ("if there is a name, then ...") has no slots. It is
frozen as its templates and their values, and these are rendered for each reader.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from newsletter.errors import BadInput
from newsletter.i18n import translations
from newsletter.mail.letters import Letter, Templates
from newsletter.mail.quoted import Pieces

# Digests are sent and shown years after they were frozen: no version is ever dropped. Version 1
# knew no templates that look at a reader.
VERSIONS = (1, 2)
# What differs from reader to reader. `greeting` is a whole phrase, because the name may be absent;
# `name` is "" then.
SLOTS = ("greeting", "name", "address", "unsubscribe_url", "preferences_url")

# Line ends, and what a terminal or a header would act upon (C0, C1, the Unicode line separators).
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class FilledLetter(Letter):
    """A letter that knows which pieces of it are one reader's: every second one."""

    text_pieces: Pieces
    html_pieces: Pieces

    @property
    def pieces(self) -> tuple[Pieces, Pieces]:
        """Text and HTML as they are encoded: what readers have in common is the same in each."""
        return self.text_pieces, self.html_pieces


class FrozenLetter:
    """What was approved.

    language: of the digest; None when it is not known. checkpoint: the signed note of the consent
    log that its mails carry, if any. series: 64 hex digits that name this content.
    subject, text, html: static text and names of slots in turns, beginning and ending with text;
    None for a digest that is rendered for each reader.
    """

    subject: Pieces | None = None
    text: Pieces | None = None
    html: Pieces | None = None

    def __init__(self, frozen: Mapping[str, Any]) -> None:
        """frozen: as newsletter.digests.freeze makes it.

        Raises BadInput for a version that is not known here.
        """
        version = frozen.get("version")
        if version not in VERSIONS:
            raise BadInput(
                f"The digest was approved by a newsletter that freezes content as version "
                f"{version!r}; this one knows {' and '.join(map(str, VERSIONS))}. "
                "Send it with the newsletter that approved it, or a newer one.",
                "digest",
            )
        content = frozen["content"]
        self.language: str | None = content.get("language")
        self.checkpoint: str | None = frozen.get("checkpoint")
        self.series: str = frozen.get("sha256") or sha256_of(frozen)
        logic: Mapping[str, Any] | None = frozen.get("logic")
        self._slots: dict[str, str] = {token: name for name, token in frozen["slots"].items()}
        self._needs = {*SLOTS} if logic else {*self._slots.values()}
        if logic:
            self._render = _renderer(self.language or "en", content, logic)
            return
        self.subject, self.text, self.html = (
            self._split(frozen[part]) for part in ("subject", "text", "html")
        )

    def fill(self, values: Mapping[str, str]) -> Letter:
        """One reader's letter.

        values: slot name to text. It is escaped in the HTML part and plain in the others; control
            characters, line ends among them, become a blank.

        Raises BadInput when a slot has no value, LetterError when the templates cannot do it.
        """
        missing = sorted(self._needs - {*values})
        if missing:
            raise BadInput(f"The digest asks for values that do not exist: {', '.join(missing)}.")
        plain = {name: clean(values[name]) for name in self._needs}
        if self.subject is None or self.text is None or self.html is None:
            return self._render(plain)
        escaped = {name: html.escape(value, quote=True) for name, value in plain.items()}
        text, page = filled(self.text, plain), filled(self.html, escaped)
        return FilledLetter(
            subject="".join(filled(self.subject, plain)),
            text="".join(text),
            html="".join(page),
            text_pieces=text,
            html_pieces=page,
        )

    def _split(self, text: str) -> Pieces:
        if not self._slots:
            return (text,)
        # In one pass: what stands in a value is never taken for a slot.
        found = re.split(f"({'|'.join(map(re.escape, self._slots))})", text)
        return tuple(
            self._slots[piece] if place % 2 else piece for place, piece in enumerate(found)
        )


def fill(frozen: Mapping[str, Any], values: Mapping[str, str]) -> Letter:
    """One reader's letter, as FrozenLetter.fill; for many readers keep a FrozenLetter."""
    return FrozenLetter(frozen).fill(values)


def filled(pieces: Pieces, values: Mapping[str, str]) -> tuple[str, ...]:
    """`pieces` with each name of a slot replaced by its value."""
    return tuple(values[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def clean(value: str) -> str:
    """A slot's value on one line, without control characters."""
    return _CONTROLS.sub(" ", value)


def greeting(name: str | None, language: str) -> str:
    """How the letter begins, in words of `language`: with the reader's name if there is one."""
    without_name, with_name = _greetings(language)
    if name is None or not name.strip():
        return without_name
    return with_name % {"name": name.strip()}


@lru_cache(maxsize=64)
def _greetings(language: str) -> tuple[str, str]:
    gettext = translations(language).gettext
    return gettext("Hello,"), gettext("Hello %(name)s,")


def sha256_of(frozen: Mapping[str, Any]) -> str:
    """The hash of frozen content, hex: over the canonical JSON of all but itself."""
    rest = {name: value for name, value in frozen.items() if name != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _renderer(
    language: str, content: Mapping[str, Any], logic: Mapping[str, Any]
) -> Callable[[Mapping[str, str]], Letter]:
    """Renders the frozen templates for one reader, given the values of all slots."""
    templates = Templates(language, logic["templates"])

    def render(values: Mapping[str, str]) -> Letter:
        return templates.render(
            "digest",
            letter_values(logic["publication"], content, logic["links"], values),
        )

    return render


def letter_values(
    publication: Mapping[str, str],
    digest: object,
    links: Mapping[str, str],
    reader: Mapping[str, Any],
) -> dict[str, object]:
    """What the templates of a digest are given.

    links: those that are the same for everybody (archive_url, home_url). reader: by slot name.
    """
    return {
        "publication": publication,
        "digest": digest,
        "greeting": reader["greeting"],
        "reader": {"name": reader["name"], "address": reader["address"]},
        "links": {
            **links,
            "unsubscribe_url": reader["unsubscribe_url"],
            "preferences_url": reader["preferences_url"],
        },
    }
