"""How a connection to a relay begins: its banner, EHLO, STARTTLS, AUTH; then mails may be sent.

What goes wrong here is about us or the relay, never about a recipient. What the settings ask for,
encryption or a login, is never left out because the relay does not offer it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Generator
from dataclasses import dataclass
from math import inf

from newsletter.config import SmtpServer
from newsletter.mail.envelope import Extensions
from newsletter.mail.replies import NotSmtp, Replies, readable
from newsletter.mail.transport import RelayProblem, Reply, Stage

# RFC 5321 §4.5.3.1.4: what a command line may be long; longer answers go on a line of their own.
_MAX_COMMAND = 512
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 §3

_Answer = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class _Question:
    """What to say, and the stage that a failure is named by. then_encrypt: after a yes."""

    stage: Stage
    words: bytes
    then_encrypt: bool = False


_Conversation = Generator[_Question, _Answer, Extensions]


class Greeting:
    """The conversation up to where MAIL may be said. Bytes in, bytes out, times are numbers.

    server: what is asked for. hostname: for EHLO. patience: seconds for each reply.

    After each call: `out` may hold bytes to write; `extensions` is set when mails may begin;
    `problem` when nothing will come of it; `wants_tls` when the encryption must begin, and then
    `encrypted` be called. `deadline` is when `expire` is due.
    """

    def __init__(self, server: SmtpServer, hostname: str, patience: float, now: float) -> None:
        self._talk = _conversation(server, hostname)
        self._question = next(self._talk)
        self._replies = Replies()
        self._patience = patience
        self._yes: _Answer = (0, b"")
        self.out = b""
        self.extensions: Extensions | None = None
        self.problem: RelayProblem | None = None
        self.wants_tls = False
        self.deadline = now + patience

    @property
    def stage(self) -> Stage:
        """Where it is."""
        return self._question.stage

    def receive(self, data: bytes, now: float) -> None:
        """The relay said something."""
        try:
            self._replies.add(data)
            answer = self._replies.next()
            if answer is None:
                return
            if self._replies.pending:
                # Behind the answer to STARTTLS it would be words that nobody encrypted, slipped
                # in (CVE-2011-0411, the other way round).
                self.lost("the relay is out of step")
                return
        except NotSmtp as error:
            self.lost(str(error))
            return
        if self._question.then_encrypt and answer[0] // 100 == 2:
            self._yes = answer
            self.wants_tls = True
        else:
            self._go_on(answer, now)

    def encrypted(self, now: float) -> None:
        """The TLS handshake is done."""
        self.wants_tls = False
        self._go_on(self._yes, now)

    def lost(self, cause: str) -> None:
        """The line broke."""
        self.problem = RelayProblem(None, self.stage, cause=cause)
        self._talk.close()

    def expire(self) -> None:
        """The deadline is over."""
        self.lost("no reply in time")

    def _go_on(self, answer: _Answer, now: float) -> None:
        try:
            self._question = self._talk.send(answer)
        except StopIteration as end:
            self.extensions = end.value
            self.deadline = inf
        except RelayProblem as problem:
            self.problem = problem
        else:
            self.out = self._question.words
            self.deadline = now + self._patience


def _conversation(server: SmtpServer, hostname: str) -> _Conversation:
    _need((yield _Question("connect", b"")), "connect")
    keywords = yield from _hello(hostname)
    if server.security == "starttls":
        if "STARTTLS" not in keywords:
            raise _refusal(502, "5.5.1 the relay does not offer STARTTLS", "starttls")
        answer = yield _Question("starttls", b"STARTTLS\r\n", then_encrypt=True)
        _need(answer, "starttls")
        # RFC 3207 §4.2: what was said before counts no more.
        keywords = yield from _hello(hostname)
    if server.user is not None:
        yield from _log_in(server.user, server.password or "", keywords.get("AUTH", ""))
    size = keywords.get("SIZE")
    return Extensions(
        pipelining="PIPELINING" in keywords,
        # RFC 1870 §3: without a number there may be a limit, or none.
        size=None if size is None else int(size) if _SIZE.fullmatch(size) else 0,
        smtputf8="SMTPUTF8" in keywords and "8BITMIME" in keywords,
    )


def _hello(hostname: str) -> Generator[_Question, _Answer, dict[str, str]]:
    """The keywords of the extensions with their parameters; none from a relay without EHLO."""
    answer = yield _Question("ehlo", f"EHLO {hostname}\r\n".encode())
    if answer[0] >= 500:
        # RFC 5321 §3.2: a server of the old kind.
        answer = yield _Question("ehlo", f"HELO {hostname}\r\n".encode())
        _need(answer, "ehlo")
        return {}
    _need(answer, "ehlo")
    lines = answer[1].decode("ascii", "replace").split("\n")[1:]
    words = (line.upper().strip().partition(" ") for line in lines)
    return {keyword: parameters.strip() for keyword, _, parameters in words}


def _log_in(user: str, password: str, offered: str) -> Generator[_Question, _Answer, None]:
    """AUTH PLAIN (RFC 4616), or LOGIN where the relay has only that."""
    if "\0" in user + password:
        raise _refusal(535, "5.7.8 user and password cannot hold a NUL", "auth")
    methods = offered.split()
    answer: _Answer = (504, b"5.5.4 the relay offers neither AUTH PLAIN nor AUTH LOGIN")
    if "PLAIN" in methods:
        answer = yield from _say_plain(f"\0{user}\0{password}".encode())
    # RFC 4954 §4, §6: this method is not known, or is too weak for this user.
    if answer[0] in (504, 534) and "LOGIN" in methods:
        answer = yield _Question("auth", b"AUTH LOGIN\r\n")
        for part in (user, password):
            if answer[0] == 334:
                answer = yield _Question("auth", b64encode(part.encode()) + b"\r\n")
    _need(answer, "auth")


def _say_plain(secret: bytes) -> Generator[_Question, _Answer, _Answer]:
    initial = b"AUTH PLAIN " + b64encode(secret) + b"\r\n"
    if len(initial) <= _MAX_COMMAND:
        return (yield _Question("auth", initial))
    answer = yield _Question("auth", b"AUTH PLAIN\r\n")
    if answer[0] == 334:
        answer = yield _Question("auth", b64encode(secret) + b"\r\n")
    return answer


def _need(answer: _Answer, stage: Stage) -> None:
    """Raise RelayProblem unless the answer is a yes."""
    code, text = answer
    if code // 100 == 3:
        raise RelayProblem(None, stage, cause="the relay's answer does not fit the question")
    if code // 100 != 2:
        raise RelayProblem(readable(code, text, stage), stage)


def _refusal(code: int, text: str, stage: Stage) -> RelayProblem:
    return RelayProblem(Reply(code, text, stage), stage)
