"""A mail as it was built, taken apart again: what checks look at."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import cached_property

from newsletter.digests.check import quoted
from newsletter.digests.check.document import Document
from newsletter.digests.check.quoted import Quoted
from newsletter.store import Digest


@dataclass(frozen=True)
class Built:
    """One reader's mail.

    subject: decoded. text, html: the two parts, "" for one that is missing. headers: every field
    in its order, decoded and unfolded. size: of the whole mail, in bytes.
    """

    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]
    size: int

    @cached_property
    def document(self) -> Document:
        """The HTML part as a tree."""
        return Document(self.html)

    def header(self, name: str) -> str:
        """The value of the first field of that name; "" when there is none."""
        return next((v for each, v in self.headers if each.lower() == name.lower()), "")

    @property
    def unsubscribe_url(self) -> str:
        """The web address of List-Unsubscribe; "" when there is none."""
        for target in self.header("List-Unsubscribe").split(","):
            address = target.strip().removeprefix("<").removesuffix(">")
            if address.startswith(("https://", "http://")):
                return address
        return ""


@dataclass(frozen=True)
class Facts:
    """What a mail is measured by: its publication's own words, and where the service is.

    base_url: the public address of the service, without a slash at its end. quoted: what looks like
    a place to be filled in, and is none.
    """

    title: str
    postal_address: str
    language: str
    base_url: str
    quoted: Quoted = field(default_factory=Quoted)

    @classmethod
    def of(cls, digest: Digest, base_url: str) -> Facts:
        """Those of `digest`, its publication and its articles as they are now."""
        publication = digest.publication
        return cls(
            publication.title,
            publication.postal_address,
            publication.language,
            base_url,
            quoted.of(
                (entry.article for entry in digest.entries),
                filter(None, (digest.intro, digest.outro)),
            ),
        )


def read(raw: bytes) -> Built:
    """The mail in `raw`, which newsletter.mail.message built."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return Built(
        subject=str(message["Subject"] or ""),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        headers=tuple((name, " ".join(str(value).split())) for name, value in message.items()),
        size=len(raw),
    )


def _part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    return str(found.get_content()).replace("\r\n", "\n") if found is not None else ""
