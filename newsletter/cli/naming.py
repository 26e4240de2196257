"""How a digest is named on the command line."""

from __future__ import annotations

import click
from sqlalchemy.orm import Session

from newsletter.errors import NotFound
from newsletter.store import Digest

digest_argument = click.argument("digest_id", metavar="ID", type=int)


def find(session: Session, digest_id: int) -> Digest:
    """The digest with this number; raises NotFound, saying where to look."""
    found = session.get(Digest, digest_id)
    if found is None:
        raise NotFound(f"There is no digest {digest_id}. See: newsletter digest list")
    return found
