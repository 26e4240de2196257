"""How a digest is named on the command line, and what is said of it."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy.orm import Session

from newsletter.errors import NotFound
from newsletter.store import Digest

# The numbers that the database has (a BIGINT); 0 stands for none where that means something.
ID = click.IntRange(0, 2**63 - 1)
digest_argument = click.argument("digest_id", metavar="ID", type=ID)


def find(session: Session, digest_id: int) -> Digest:
    """The digest with this number; raises NotFound, saying where to look."""
    found = session.get(Digest, digest_id)
    if found is None:
        raise NotFound(f"There is no digest {digest_id}. See: newsletter digest list")
    return found


def record(each: Digest) -> dict[str, Any]:
    """What is printed of a digest, by stable names."""
    return {
        "id": each.id,
        "publication": each.publication.slug,
        "subject": each.subject,
        "preheader": each.preheader,
        "intro": each.intro,
        "outro": each.outro,
        "length": each.length,
        "state": each.state,
        "plan": each.plan_id,
        "planned_for": each.planned_for,
        "created_at": each.created_at,
        "approved_at": each.approved_at,
        "send_at": each.send_at,
        "sent_at": each.sent_at,
    }
