"""Bytes from the web, guarded: a stranger's address must not reach what only we can reach.

A host is resolved once, every address that it has is checked, and the connection goes to the very
address that was checked, so that a name server which answers differently the second time gains
nothing; each redirect goes through the same door. What comes is limited in size (counted while it
is decompressed) and in time (all in all, name resolution included, not for each byte). Proxies and
passwords of the environment are not used.
"""

from newsletter.fetch.client import (
    MAX_REDIRECTS,
    NOT_FOUND,
    NOT_MODIFIED,
    Fetched,
    FetchError,
    Reach,
    get,
    post_form,
)
from newsletter.fetch.guard import addresses_of, is_public
from newsletter.fetch.seen import Seen, look_at

__all__ = [
    "MAX_REDIRECTS",
    "NOT_FOUND",
    "NOT_MODIFIED",
    "FetchError",
    "Fetched",
    "Reach",
    "Seen",
    "addresses_of",
    "get",
    "is_public",
    "look_at",
    "post_form",
]
