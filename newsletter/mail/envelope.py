"""What a relay offers, which mails fit it, and the commands that begin a mail."""

from __future__ import annotations

from dataclasses import dataclass

from newsletter.mail.transport import Offer, Refused, RelayProblem, Reply


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the relay offered in its answer to EHLO, as far as it matters for mails.

    size: the largest mail in bytes, 0 for no fixed limit (RFC 1870), None without the extension.
    smtputf8: with 8BITMIME, which it needs (RFC 6531 §3.1).
    """

    pipelining: bool = False
    size: int | None = None
    smtputf8: bool = False

    def refusal(self, offer: Offer) -> Refused | RelayProblem | None:
        """Why the relay cannot take such a mail, said in its name; None when it can.

        Refused before a word is said: 552 for a mail over its size (RFC 1870 §6.1), 553 for one
        that needs SMTPUTF8 (RFC 6531 §3.2, §3.5); RelayProblem when that is for our own sender.
        """
        if self.size and len(offer.raw) > self.size:
            said = f"5.3.4 the mail is larger than the {self.size} bytes that the relay takes"
            return Refused(Reply(552, said, "mail"), "mail")
        if not offer.smtputf8 or self.smtputf8:
            return None
        said = "5.6.7 the relay takes no addresses outside ASCII (SMTPUTF8)"
        if offer.sender.isascii():
            return Refused(Reply(553, said, "rcpt"), "rcpt")
        return RelayProblem(Reply(553, said, "mail"), "mail")

    def envelope(self, offer: Offer) -> tuple[str, str]:
        """MAIL and RCPT for `offer`, each with its CRLF (RFC 5321 §4.1.1.2, §4.1.1.3)."""
        options = "" if self.size is None else f" SIZE={len(offer.raw)}"
        if offer.smtputf8:
            options += " BODY=8BITMIME SMTPUTF8"
        return (
            f"MAIL FROM:<{offer.sender}>{options}\r\n",
            f"RCPT TO:<{offer.recipient}>\r\n",
        )
