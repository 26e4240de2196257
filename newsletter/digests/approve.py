"""Approving: from here on a digest says what it says, whatever happens to articles or templates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from newsletter.digests import compose
from newsletter.digests.freeze import Frozen, freeze
from newsletter.errors import WrongState
from newsletter.mail.letters import of_files
from newsletter.store import Digest, DigestState


def approve(
    session: Session,
    digest: Digest,
    *,
    base_url: str,
    now: datetime,
    checkpoint: str | None = None,
    templates_folder: str | None = None,
) -> None:
    """draft -> approved, with the content as it is now.

    base_url: the installation's public address, without a slash at its end. checkpoint: the
        consent log's newest signed checkpoint, which every mail of the digest will carry.
        templates_folder: where the operator's own templates lie; they are frozen like ours.

    Raises WrongState for a digest that is no draft, or that has no article, and LetterError when
    a template is broken.
    """
    session.flush()
    session.refresh(digest, with_for_update={"of": Digest})
    if digest.state == DigestState.DRAFT and not digest.entries:
        raise WrongState(f"Digest {digest.id} has no article: there is nothing to read in it.")
    if digest.state != DigestState.DRAFT:
        raise WrongState(
            f"Digest {digest.id} is {digest.state} already; only a draft can be approved."
        )
    frozen = frozen_now(
        session,
        digest,
        base_url=base_url,
        checkpoint=checkpoint,
        templates_folder=templates_folder,
    )
    digest.approve(dict(frozen), now)
    session.flush()


def frozen_now(
    session: Session,
    digest: Digest,
    *,
    base_url: str,
    checkpoint: str | None = None,
    templates_folder: str | None = None,
    theme: str | None = None,
) -> Frozen:
    """What approving would freeze at this moment; for previews and test mails of a draft.

    theme: in place of the publication's.
    """
    publication = digest.publication.in_letters(base_url)
    if theme is not None:
        publication["theme"] = theme
    content = compose.content(session, digest)
    return freeze(
        content,
        publication,
        archive_url=f"{publication['home_url']}archive/{digest.public_id}",
        checkpoint=checkpoint,
        templates=of_files(content.language, templates_folder),
    )
