"""The words for handing mail to a relay, and for what can go wrong there.

Handing over takes two steps, so that the last look at consent and the record can stand between
them: an offered mail is with the relay but for its final dot, a finished one has it. Until the dot
nothing was accepted, whatever happens; after it a broken line means that nobody knows
(RFC 5321 §4.1.1.4, RFC 1047), and that is an outcome of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import IncrementalNewlineDecoder
from typing import Any, Literal, NamedTuple

from newsletter.errors import BadInput, NewsletterError

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

    `cause`: for people, what happened where nothing was said.
    """

    def __init__(self, reply: Reply | None, stage: Stage, *, cause: str | None = None) -> None:
        self.reply = reply
        self.stage = stage
        self.cause = cause
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

    def __init__(self, stage: Stage = "dot", *, cause: str | None = None) -> None:
        super().__init__(None, stage, cause=cause)


class Returned(TransportError):
    """This mail was never begun: the line ended over the mail before it, or over nothing.

    Nobody is charged an attempt; it may be offered again at once.
    """

    _says = "The mail was not begun"


# One address as it can stand between angle brackets: nothing in it ends the path, the command or
# the line early (CVE-2024-27305 and its family).
_PATH = re.compile("[^\x00-\x20\x7f<>]+@[^\x00-\x20\x7f<>@]+")


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One mail for the relay: one sender, one recipient. What exists can go over a wire.

    key: anything by which the caller knows it again. sender, recipient: bare addresses as SMTP
    takes them, domains as A-labels. raw: the mail as newsletter.mail.message builds it, without
    the final dot. smtputf8: whether an address or a header is not ASCII (RFC 6531). clean: the
    maker vouches for the bytes, so that they are not searched once more (half of the work of
    sending): every line ends in CRLF, none begins with a dot, no NUL, ASCII unless smtputf8.

    Raises BadInput when the envelope could hold a second command, or the bytes a second mail
    (a bare CR or LF, a NUL: CVE-2023-51764), or when they need SMTPUTF8 and do not say so.
    """

    key: Any
    sender: str
    recipient: str
    raw: bytes
    smtputf8: bool = False
    clean: bool = False

    def __post_init__(self) -> None:
        """The last gate before the network."""
        for role, address in (("sender", self.sender), ("recipient", self.recipient)):
            if not _PATH.fullmatch(address):
                raise BadInput(f"The {role}'s address cannot stand in an SMTP command.", "email")
        is_ascii = self.sender.isascii() and self.recipient.isascii()
        if not self.raw.endswith(b"\r\n"):
            raise BadInput("The mail does not end in CRLF, and its dot would be part of it.")
        if not self.clean:
            if not _ends_lines_well(self.raw) or b"\0" in self.raw:
                raise BadInput("The mail has a line end that is not CRLF, or a NUL.")
            is_ascii = is_ascii and self.raw.isascii()
        if not is_ascii and not self.smtputf8:
            raise BadInput("The mail is not ASCII, and not marked as one that needs SMTPUTF8.")


def _ends_lines_well(raw: bytes) -> bool:
    """Whether there is no CR or LF but those of line ends, CRLF.

    The decoder notes which line ends it saw: one pass, five times as fast as counting them.
    """
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(raw.decode("latin-1"), final=True)
    return seen.newlines == "\r\n"


# What became of a mail. Reply: the relay's 2yz to the final dot, the mail is accepted.
Result = Reply | Refused | TryLater | Unknown | RelayProblem | Returned


class Offered(NamedTuple):
    """The relay waits for the final dot: it said 354, and the whole body is with the kernel.

    The mail stays there until it is finished or abandoned, or until Done says otherwise.
    """

    offer: Offer


class Done(NamedTuple):
    """The end of one mail, said once.

    result: Reply: accepted. Refused, TryLater: about this mail, not accepted. Unknown: the dot or
    a part of it was written, and no whole and valid reply came. RelayProblem: about us (connect,
    EHLO, STARTTLS, AUTH, MAIL FROM), nobody is charged. Returned: never begun.
    """

    offer: Offer
    result: Result


Event = Offered | Done
