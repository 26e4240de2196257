"""A digest as one reader will get it, before anybody does: the same render, an invented reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from newsletter.digests.approve import frozen_now
from newsletter.digests.freeze import fill, greeting
from newsletter.mail.letters import Letter
from newsletter.store import Digest

# RFC 2606 §3 keeps this domain free for examples.
NAME = "Ada Lovelace"
ADDRESS = "ada@example.org"


def frozen(
    session: Session,
    digest: Digest,
    *,
    base_url: str,
    checkpoint: str | None = None,
    templates_folder: str | None = None,
    theme: str | None = None,
) -> Mapping[str, Any]:
    """What was approved, or of a draft what would be at this moment.

    theme: shows it in this one instead, with the templates as they are now. The other arguments
        are those of approving.
    """
    if digest.frozen is not None and theme is None:
        return digest.frozen
    return frozen_now(
        session,
        digest,
        base_url=base_url,
        checkpoint=checkpoint,
        templates_folder=templates_folder,
        theme=theme,
    )


def letter(
    session: Session, digest: Digest, *, base_url: str, templates_folder: str | None = None
) -> Letter:
    """The letter of `digest`, frozen or still a draft, to an invented reader.

    base_url: the installation's public address; the reader's own links under it lead nowhere.
    templates_folder: where the operator's own templates lie.
    """
    found = frozen(session, digest, base_url=base_url, templates_folder=templates_folder)
    return fill(
        found,
        {
            "name": NAME,
            "greeting": greeting(NAME, found["content"]["language"]),
            "address": ADDRESS,
            "unsubscribe_url": f"{base_url}/unsubscribe/preview",
            "preferences_url": f"{base_url}/preferences/preview",
        },
    )
