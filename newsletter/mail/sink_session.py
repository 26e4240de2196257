"""One client's conversation with the sink."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from newsletter.mail.sink_voice import Voice, is_yes

_MAX_COMMAND = 2048  # RFC 6531 §3.4 raises MAIL and RCPT to 522; AUTH is longer
_MAX_RECIPIENTS = 100  # RFC 5321 §4.5.3.1.8
_MAX_ERRORS = 20
_PATH = re.compile(r"(?:FROM|TO): ?<([^<>\s]*)>(?: .*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Received:
    """A mail as it came: the envelope, the bytes without dot-stuffing, and when (Unix time)."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    at: float


class Keeper(Protocol):
    """What a session needs of the sink it belongs to."""

    tls: ssl.SSLContext | None
    smtputf8: bool
    pipelining: bool
    size: int

    def opened(self, session: Session) -> None: ...
    def closed(self, session: Session) -> None: ...
    def scripted(self, stage: str, argument: str) -> str | None: ...
    def take(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None: ...
    def admits(self, user: str, password: str) -> bool: ...
    @property
    def methods(self) -> tuple[str, ...]: ...


class Session(asyncio.Protocol):
    """Reads commands and mails out of the stream; several may come in one piece (PIPELINING)."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._voice = Voice(self.hang_up)
        self._buffer = bytearray()
        self._searched = 0  # how far the buffer was looked through for the end of the mail
        self._in_mail = False
        self._half_told = False  # the script was asked about the beginning of this mail
        self._prompt: Callable[[str], None] | None = None  # takes the next line: AUTH goes on
        self._encrypted = self._encrypting = self._admitted = False
        self._errors = 0
        self._sender: str | None = None
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client is there, or its TLS handshake is done."""
        self._transport = cast(asyncio.Transport, transport)  # what loop.create_server gives
        self._voice.transport = self._transport
        if not self._encrypted:
            self._keeper.opened(self)
            self._answer("connect", "", "220 sink ESMTP")

    def connection_lost(self, _error: Exception | None) -> None:
        """asyncio: the client is gone."""
        self._keeper.closed(self)

    def hang_up(self) -> None:
        """Close at once, without a word."""
        if self._transport is not None:
            self._transport.abort()
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        """asyncio: the client said something."""
        self._buffer += data
        self._read_on()

    def _read_on(self) -> None:
        if self._voice.silent:  # a server that answers nothing to one command answers none after it
            self._buffer.clear()
            return
        if self._encrypting:  # the encrypted transport is not there yet to answer through
            return
        while self._buffer and self._transport and not self._transport.is_closing():
            if self._voice.silent:
                return
            if not (self._mail_ended() if self._in_mail else self._command_ended()):
                return

    def _command_ended(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0 or end > _MAX_COMMAND:
            if len(self._buffer) > _MAX_COMMAND:
                self._voice.say("500 5.5.2 line too long")
                self.hang_up()
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r").decode("utf-8", "replace")
        del self._buffer[: end + 1]
        if self._prompt is not None:
            prompt, self._prompt = self._prompt, None
            prompt(line)
            return True
        verb, _, argument = line.partition(" ")
        command = getattr(self, f"_on_{verb.lower()}", None) if verb.isalpha() else None
        if command is None:
            self._wrong("500 5.5.1 unknown command")
        else:
            command(argument.strip())
        return True

    def _mail_ended(self) -> bool:
        # Only CRLF . CRLF ends a mail: anything looser is how one mail becomes two.
        if self._buffer.startswith(b".\r\n"):
            raw, used = b"", 3
        else:
            end = self._buffer.find(b"\r\n.\r\n", self._searched)
            if end < 0:
                self._searched = max(0, len(self._buffer) - 4)
                if len(self._buffer) > self._keeper.size:
                    self._voice.say("552 5.3.4 too big")
                    self.hang_up()
                elif not self._half_told:
                    self._half_told = True
                    said = self._keeper.scripted("body", (self._recipients or [""])[0])
                    if said is not None:
                        self._voice.obey(said)
                return False
            raw, used = bytes(self._buffer[: end + 2]), end + 5
        del self._buffer[:used]
        self._searched, self._in_mail, self._half_told = 0, False, False
        raw = raw.replace(b"\r\n.", b"\r\n")  # RFC 5321 §4.5.2
        self._took(raw[1:] if raw.startswith(b".") else raw)
        return True

    def _took(self, raw: bytes) -> None:
        sender, recipients = self._sender or "", tuple(self._recipients)
        self._forget_mail()
        said = self._keeper.scripted("dot", recipients[0])
        if said is None or said == "take-drop" or is_yes(said, "250"):
            self._keeper.take(sender, recipients, raw)
        self._voice.obey("250 2.0.0 taken" if said is None else said)

    def _forget_mail(self) -> None:
        self._sender = None
        self._recipients = []

    # One method a command.

    def _on_ehlo(self, name: str) -> None:
        self._forget_mail()
        offers = ["sink", f"SIZE {self._keeper.size}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        if self._keeper.pipelining:
            offers.append("PIPELINING")
        if self._keeper.smtputf8:
            offers.append("SMTPUTF8")
        if self._keeper.tls is not None and not self._encrypted:
            offers.append("STARTTLS")
        elif self._keeper.methods:
            offers.append(" ".join(("AUTH", *self._keeper.methods)))
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        self._answer("ehlo", name, "\r\n".join(lines))

    def _on_helo(self, name: str) -> None:
        self._forget_mail()
        self._answer("helo", name, "250 sink")

    def _on_starttls(self, argument: str) -> None:
        context = self._keeper.tls
        if context is None or self._encrypted or argument:
            self._wrong("503 5.5.1 not now")
        elif self._answer("starttls", "", "220 2.0.0 go on"):
            # RFC 3207 §4.2: what was said before counts no more.
            self._buffer.clear()
            self._forget_mail()
            self._encrypted = self._encrypting = True
            task = asyncio.get_running_loop().create_task(self._encrypt(context))
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        if self._transport is not None:
            loop = asyncio.get_running_loop()
            self._transport = await loop.start_tls(self._transport, self, context, server_side=True)
            self._voice.transport = self._transport
        self._encrypting = False
        self._read_on()

    def _on_auth(self, argument: str) -> None:
        method, _, initial = argument.partition(" ")
        if method.upper() not in self._keeper.methods:
            self._wrong("504 5.5.4 another AUTH")
        elif method.upper() == "LOGIN":
            self._ask("VXNlcm5hbWU6", lambda user: self._ask(
                "UGFzc3dvcmQ6", lambda password: self._log_in(user, password)
            ))  # fmt: skip
        elif initial:
            self._log_in_plain(initial)
        else:
            self._ask("", self._log_in_plain)

    def _ask(self, what: str, prompt: Callable[[str], None]) -> None:
        self._voice.say(f"334 {what}")
        self._prompt = prompt

    def _log_in_plain(self, initial: str) -> None:
        try:
            _, user, password = base64.b64decode(initial, validate=True).split(b"\0")
        except (binascii.Error, ValueError):
            self._wrong("501 5.5.2 not base64 of three parts")
        else:
            self._log_in(*(base64.b64encode(part).decode() for part in (user, password)))

    def _log_in(self, user: str, password: str) -> None:
        try:
            parts = [base64.b64decode(part, validate=True).decode() for part in (user, password)]
        except (binascii.Error, ValueError):
            self._wrong("501 5.5.2 not base64")
            return
        if not self._keeper.admits(*parts):
            self._wrong("535 5.7.8 user or password is wrong")
        else:
            self._admitted = self._answer("auth", parts[0], "235 2.7.0 welcome")

    def _on_mail(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if self._keeper.methods and not self._admitted:
            self._wrong("530 5.7.0 log in first")
        elif path is None:
            self._wrong("501 5.5.4 MAIL FROM:<address>")
        elif self._sender is not None:
            self._wrong("503 5.5.1 one sender is enough")
        elif self._answer("mail", path[1], "250 2.1.0 ok"):
            self._sender = path[1]

    def _on_rcpt(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if self._sender is None:
            self._wrong("503 5.5.1 MAIL first")
        elif path is None or not path[1]:
            self._wrong("501 5.5.4 RCPT TO:<address>")
        elif len(self._recipients) >= _MAX_RECIPIENTS:
            self._voice.say("452 4.5.3 too many recipients")
        elif self._answer("rcpt", path[1], "250 2.1.5 ok"):
            self._recipients.append(path[1])

    def _on_data(self, _argument: str) -> None:
        if not self._recipients:
            self._wrong("503 5.5.1 RCPT first")
        elif self._answer("data", self._recipients[0], "354 go on, end with a dot"):
            self._in_mail = True

    def _on_rset(self, _argument: str) -> None:
        self._forget_mail()
        self._answer("rset", "", "250 2.0.0 ok")

    def _on_noop(self, _argument: str) -> None:
        self._voice.say("250 2.0.0 ok")

    def _on_quit(self, _argument: str) -> None:
        self._voice.say("221 2.0.0 bye")
        self._voice.close()

    # Answers.

    def _answer(self, stage: str, argument: str, yes: str) -> bool:
        """Say what the script says, or `yes`; returns whether that was a yes."""
        said = self._keeper.scripted(stage, argument)
        self._voice.obey(yes if said is None else said)
        return said is None or is_yes(said, yes)

    def _wrong(self, said: str) -> None:
        self._errors += 1
        self._voice.say(said)
        if self._errors > _MAX_ERRORS:
            self.hang_up()
