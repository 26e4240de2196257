"""Feeds in: RSS, Atom and JSON Feed become articles, whoever wrote them and however badly."""

from newsletter.digests.feeds.document import Reading, discover
from newsletter.digests.feeds.keeping import (
    Answer,
    add,
    all_of,
    articles_of,
    due,
    failed,
    find,
    read,
    remove,
)
from newsletter.digests.feeds.taking import Tally, take

__all__ = [
    "Answer",
    "Reading",
    "Tally",
    "add",
    "all_of",
    "articles_of",
    "discover",
    "due",
    "failed",
    "find",
    "read",
    "remove",
    "take",
]
