"""The port through which mail leaves, and what can go wrong there.

Handing over takes two steps, so that the last look at consent and the record can stand between
them: `offer` brings the relay to where only the final dot is missing, `finish` writes it. Until
the dot nothing was accepted, whatever happens; after it a broken line means that nobody knows
(RFC 5321 §4.1.1.4, RFC 1047), and that is an error of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from newsletter.errors import NewsletterError

Stage = Literal[
    "connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "quit"
]

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")


@dataclass(frozen=True)
class Reply:
    """What the relay said at a stage. `text` is hostile: escape it wherever it is shown."""

    code: int
    text: str
    stage: Stage

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code, such as 5.1.1 (RFC 3463), if the relay gave one."""
        found = _ENHANCED.match(self.text)
        return found.group() if found else None

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class TransportError(NewsletterError):
    """A mail did not get through. `stage` says where; `reply` what the relay said, if it did.

    cause: for people, what happened where nothing was said.
    """

    def __init__(self, reply: Reply | None, stage: Stage, *, cause: str | None = None) -> None:
        self.reply = reply
        self.stage = stage
        said = str(reply or cause or "the connection broke, or the answer was not SMTP")
        super().__init__(f"{self._says} ({stage}: {said})")

    _says = "The mail did not get through"


class TryLater(TransportError):
    """The relay did not take this mail now; a later try may succeed. It was not accepted."""

    _says = "The relay did not take the mail now"


class Refused(TransportError):
    """The relay refused this mail for good. It was not accepted."""

    reply: Reply
    _says = "The relay refused the mail"

    def __init__(self, reply: Reply, stage: Stage) -> None:
        super().__init__(reply, stage)


class RelayProblem(TransportError):
    """The relay does not work with us at all: says nothing about any recipient.

    No recipient is charged an attempt. `permanent`: the relay said so (5yz), and waiting does not
    help; an operator must look at smtp_url and envelope_sender.
    """

    _says = "The relay cannot be used; check smtp_url and envelope_sender"

    @property
    def permanent(self) -> bool:
        """Whether the relay refused us for good: a 5yz reply."""
        return self.reply is not None and self.reply.code >= 500


class Unknown(TransportError):
    """The line broke after the final dot: the mail was accepted, or not; nobody here can know."""

    _says = "The relay did not say whether it took the mail"

    def __init__(self, stage: Stage = "dot") -> None:
        super().__init__(None, stage)


class Transport(Protocol):
    """One connection's worth of handing mail over, one mail at a time. Not for several threads."""

    def offer(self, sender: str, recipient: str, raw: bytes) -> None:
        """Bring the relay to where only the final dot is missing; connects when needed.

        sender, recipient: the envelope, bare addresses. raw: as newsletter.mail.message builds it.

        Raises TryLater or Refused about this mail, RelayProblem about the relay, BadInput when
        the envelope or the bytes must not go over a wire. After each the mail was not accepted.
        """

    def finish(self) -> Reply:
        """Write the final dot and read the answer; returns the 2yz reply.

        Raises TryLater or Refused when the relay answered 4yz or 5yz, Unknown when it did not
        answer in a way that can be understood.
        """

    def abandon(self) -> None:
        """Close the connection without the dot: what was offered is not accepted."""

    def close(self) -> None:
        """Say goodbye and close. Never raises."""
