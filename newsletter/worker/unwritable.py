"""What becomes of a row, and of a digest, of which no mail can be made."""

from __future__ import annotations

import traceback
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from newsletter.errors import NewsletterError
from newsletter.sending import settle
from newsletter.sending.write import CHANGED, Unwritable
from newsletter.worker.job import Job

log = structlog.get_logger()


def record(session: Session, row: Unwritable, job: Job) -> None:
    """Settle the row: failed, or still uncertain where an earlier mail of it may have arrived."""
    if row.reason == CHANGED:
        settle.doubtful(session, row.claim, reason=row.reason, now=job.clock())
    else:
        settle.failed(session, row.claim, None, reason=row.reason, now=job.clock())
    # The error's text can hold an address; its kind, the field that it names and its place cannot.
    field = getattr(row.error, "field", "")
    name = type(row.error).__name__
    log.error("unwritable", delivery=row.claim.id, error=name, field=field, place=_place(row.error))


def tell(digest_id: int, error: Exception) -> str:
    """Note in the log that a digest as a whole cannot be written; why, for the operator."""
    name = type(error).__name__
    log.error("digest_broken", digest=digest_id, error=name, place=_place(error))
    said = str(error) if isinstance(error, NewsletterError) else name
    return f"No mail can be made of this digest: {said}"


def _place(error: Exception) -> str:
    """Where in the code a fault of ours showed."""
    if isinstance(error, NewsletterError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
