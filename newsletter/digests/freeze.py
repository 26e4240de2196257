"""Freezing: a digest's letter is rendered once, and only a few places in it differ by reader.

These places, the slots, hold tokens that are drawn at random when the digest is frozen: no article
can contain one, since it was written before. Filling them is newsletter.mail.frozen's.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, TypedDict

from newsletter.digests.content import Content
from newsletter.mail import letters
from newsletter.mail.frozen import fill, greeting

__all__ = ["SLOTS", "Frozen", "fill", "freeze", "greeting"]

VERSION = 1
# What differs from reader to reader. `greeting` is a whole phrase, because the name may be absent.
SLOTS = ("greeting", "address", "unsubscribe_url", "preferences_url")


class Frozen(TypedDict):
    """A digest as it was approved; what the column `digest.frozen` holds.

    content: as Content.to_json makes it. subject, text, html: the letter with tokens in its slots.
    slots: name to token. checkpoint: the consent log's newest signed checkpoint at that time; None
    when nothing was signed yet. sha256: hex, over the canonical JSON of all the rest.
    """

    version: int
    content: dict[str, Any]
    subject: str
    text: str
    html: str
    slots: dict[str, str]
    checkpoint: str | None
    sha256: str


def freeze(
    content: Content,
    publication: Mapping[str, str],
    *,
    archive_url: str,
    checkpoint: str | None = None,
) -> Frozen:
    """The letter of `content`, rendered with a token in each slot.

    publication: as Publication.in_letters gives it. archive_url: where the digest can be read on
        the web; the same for everybody. checkpoint: the signed note that each mail's header will
        carry.
    """
    slots = {name: f"slot{secrets.token_hex(16)}" for name in SLOTS}
    letter = letters.render(
        "digest",
        content.language,
        {
            "publication": publication,
            "digest": content,
            "greeting": slots["greeting"],
            "reader": {"name": None, "address": slots["address"]},
            "links": {
                "unsubscribe_url": slots["unsubscribe_url"],
                "preferences_url": slots["preferences_url"],
                "archive_url": archive_url,
                "home_url": publication["home_url"],
            },
        },
    )
    frozen = Frozen(
        version=VERSION,
        content=content.to_json(),
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        slots=slots,
        checkpoint=checkpoint,
        sha256="",
    )
    rest = {name: value for name, value in frozen.items() if name != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**frozen, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}
