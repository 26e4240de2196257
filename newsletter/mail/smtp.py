"""Handing mail to a relay over SMTP, one stage at a time.

smtplib.sendmail cannot say whether the line broke before or after the final dot. Here each stage
is a step of its own, and every failure one of the errors of newsletter.mail.transport, by the
stage that it happened at. One connection serves many mails.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import NoReturn

from newsletter.config import SmtpServer
from newsletter.errors import BadInput
from newsletter.mail.line import Line, connect
from newsletter.mail.message import check_wire, wire_address
from newsletter.mail.transport import (
    Refused,
    RelayProblem,
    Reply,
    Stage,
    TransportError,
    TryLater,
    Unknown,
)

# RFC 5321 §4.5.3.2.6 asks for ten minutes after the dot where other replies get one or more:
# giving up early there is what makes a mail's fate unknown.
_DOT_PATIENCE = 10
_QUIT_SECONDS = 5
# RFC 4954 §6: said at any stage, and about us, not about the recipient of the moment.
_LOGIN_WANTED = frozenset({530, 534, 535, 538})


class SmtpTransport:
    """A Transport to one relay; newsletter.mail.transport says what its methods promise.

    server: where and how. timeout: seconds for each reply; the one to the dot may take ten times
    as long. hostname: what EHLO says; None takes the machine's name, or its address.
    tls: whose certificates are believed; None takes the system's authorities.
    """

    def __init__(
        self,
        server: SmtpServer,
        timeout: float,
        hostname: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._hostname = hostname
        self._tls = tls or ssl.create_default_context()
        self._line: Line | None = None
        self._needs_reset = False
        self._in_mail = False  # between DATA and the dot every byte is part of the mail

    def offer(self, sender: str, recipient: str, raw: bytes) -> None:
        """See Transport. An address that needs SMTPUTF8 is Refused when the relay has it not."""
        check_wire(raw)
        sender, recipient = _envelope("sender", sender), _envelope("recipient", recipient)
        if self._in_mail:
            self.abandon()
        self._mail_from(sender, recipient, raw)
        self._step(f"RCPT TO:<{recipient}>", "rcpt", good=2)
        self._step("DATA", "data", good=3)
        self._in_mail = True
        self._body(raw)

    def finish(self) -> Reply:
        """See Transport."""
        line = self._line
        if line is None or not self._in_mail:
            raise TryLater(None, "dot")
        if line.has_spoken():
            # It answered before it heard the dot: not about the whole mail, and none is written.
            self._early_answer(line, "dot")
        line.patience = self._timeout * _DOT_PATIENCE
        try:
            line.write(b".\r\n")
            reply = line.reply("dot")
        except OSError as error:
            self.abandon()
            raise Unknown() from error
        line.patience = self._timeout
        self._in_mail = False
        if reply.code < 300:
            return reply
        if reply.code < 400:
            self.abandon()
            raise Unknown()
        self._keep_after(reply)
        raise _about_mail(reply)

    def abandon(self) -> None:
        """See Transport. No QUIT: in the middle of a mail it would be part of the mail."""
        line, self._line = self._line, None
        self._needs_reset = self._in_mail = False
        if line is not None:
            line.close()

    def close(self) -> None:
        """See Transport. A mail that is still offered is abandoned."""
        if self._line is not None and not self._in_mail:
            self._line.patience = min(self._timeout, _QUIT_SECONDS)
            with contextlib.suppress(OSError):
                self._line.say("QUIT", "quit")
        self.abandon()

    def _mail_from(self, sender: str, recipient: str, raw: bytes) -> None:
        """MAIL FROM, on the old connection if that is still good, else on a new one."""
        failure = RelayProblem(None, "mail")
        for line in self._lines():
            command = f"MAIL FROM:<{sender}>{_mail_options(line, sender, recipient, raw)}"
            try:
                reply = line.say(command, "mail")
            except OSError as error:
                failure = RelayProblem(None, "mail")
                failure.__cause__ = error
            else:
                if reply.code < 300:
                    return
                failure = RelayProblem(reply, "mail")
                if reply.code != 421:
                    break
        # A refusal here is about the sender, thus about everybody's mail.
        self.abandon()
        raise failure

    def _lines(self) -> Iterator[Line]:
        """Lines to try: the one that is open, which the relay may have closed meanwhile; a new."""
        if self._line is not None and self._is_reset(self._line):
            yield self._line
        self.abandon()
        self._line = connect(self._server, self._timeout, self._hostname, self._tls)
        yield self._line

    def _is_reset(self, line: Line) -> bool:
        if not self._needs_reset:
            return True
        self._needs_reset = False
        try:
            return line.say("RSET", "rset").code < 300
        except OSError:
            return False

    def _step(self, command: str, stage: Stage, *, good: int) -> None:
        """One command whose reply must begin with the digit `good`."""
        if self._line is None:
            raise TryLater(None, stage)
        try:
            reply = self._line.say(command, stage)
        except OSError as error:
            self.abandon()
            raise TryLater(None, stage) from error
        if reply.code // 100 != good:
            self._keep_after(reply)
            raise _about_mail(reply)

    def _body(self, raw: bytes) -> None:
        line = self._line
        if line is None:
            raise TryLater(None, "body")
        # RFC 5321 §4.5.2: a dot at the start of a line is doubled.
        stuffed = raw.replace(b"\r\n.", b"\r\n..")
        try:
            line.write(b"." + stuffed if raw.startswith(b".") else stuffed)
        except OSError:
            self._early_answer(line, "body")
        if line.has_spoken():
            self._early_answer(line, "body")

    def _early_answer(self, line: Line, stage: Stage) -> NoReturn:
        """The relay spoke or hung up in the middle of the mail: that is not an acceptance."""
        reply: Reply | None = None
        with contextlib.suppress(OSError):
            reply = line.reply(stage)
        self.abandon()
        if reply is not None and reply.code >= 400:
            raise _about_mail(reply)
        raise TryLater(None, stage)

    def _keep_after(self, reply: Reply) -> None:
        """A refused mail leaves the connection usable, unless the relay is going away (421)."""
        if reply.code == 421 or reply.code < 400:
            self.abandon()
        else:
            self._needs_reset = True


def _about_mail(reply: Reply) -> TransportError:
    if reply.code in _LOGIN_WANTED:
        return RelayProblem(reply, reply.stage)
    if reply.code >= 500:
        return Refused(reply, reply.stage)
    return TryLater(reply, reply.stage)


def _mail_options(line: Line, sender: str, recipient: str, raw: bytes) -> str:
    """The parameters of MAIL FROM: SIZE (RFC 1870), and SMTPUTF8 where the mail needs it."""
    options = f" SIZE={len(raw)}" if line.has_extn("size") else ""
    head = raw.partition(b"\r\n\r\n")[0]
    if sender.isascii() and recipient.isascii() and head.isascii():
        return options
    if line.has_extn("smtputf8") and line.has_extn("8bitmime"):
        return f"{options} BODY=8BITMIME SMTPUTF8"
    # RFC 6531 §3.2: without the extension such a mail must not be sent. 5.6.7: its §3.5.
    said = "5.6.7 the relay takes no addresses outside ASCII (SMTPUTF8)"
    if sender.isascii():
        raise Refused(Reply(553, said, "rcpt"), "rcpt")
    raise RelayProblem(Reply(553, said, "mail"), "mail")


def _envelope(role: str, address: str) -> str:
    """A bare address that cannot end its command early (CVE-2024-27305 and its family)."""
    spelling = wire_address(address)
    if any(character in " <>\r\n\0" for character in spelling):
        raise BadInput(f"The {role}'s address cannot stand in an SMTP command.", "email")
    return spelling
