"""The mail of a digest as the sender would write it, to a reader who gets none.

The very code that writes the real mails writes it, headers too, so that what is checked and looked
at is what will be sent. Its links to unsubscribe and to the preferences are signed and as long as
real ones, and name nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from newsletter.mail.message import wire_address
from newsletter.sending.edition import Edition, Reader, Sender
from newsletter.sending.origin import Origin
from newsletter.store import Digest
from newsletter.store.letters import message_id

# RFC 2606 §3 keeps this domain free for examples.
NAME = "Ada Lovelace"
ADDRESS = "ada@example.org"
# As long as a real public id, and no hexadecimal number as these are.
_NOBODY = "specimen-of-a-letter"


def mail(
    digest: Digest,
    frozen: Mapping[str, Any],
    origin: Origin,
    *,
    at: datetime | None = None,
    name: str | None = NAME,
    address: str = ADDRESS,
) -> bytes:
    """One mail of `digest`, unsigned.

    frozen: what was approved, or what would be. at: the date of the mail; None for the moment when
        the digest was made, so that its links are the same each time that it is checked.
        name, address: of the reader in it.

    Raises BadInput when no mail can be made of it, or `address` is none; LetterError when a
    template that looks at the reader fails.
    """
    publication = digest.publication
    sender = Sender(
        digest=digest.public_id,
        slug=publication.slug,
        title=publication.title,
        from_name=publication.from_name,
        from_address=publication.from_address,
        reply_to=publication.reply_to,
        unsubscribe_mailto=publication.unsubscribe_mailto,
        language=publication.language,
    )
    reader = Reader(
        name=name,
        address=address,
        to=wire_address(address),
        delivery=_NOBODY,
        message_id=message_id(_NOBODY, publication),
        created_at=at or digest.created_at,
        unsubscribe=_NOBODY,
        preferences=_NOBODY,
    )
    return Edition(frozen, sender, origin).raw(reader)
