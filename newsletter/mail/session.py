"""One connection's mails: what is said to a relay, and what its answers mean for which mail.

No socket, no clock: bytes come in, bytes go out, times are numbers. At most one mail has its dot
and no answer, and at most one is on its way behind it (RFC 2920, where the relay offers it); the
relay's answers never reach another mail than the one that was asked about, because a mail whose
DATA was not answered with a lone 354 never gets a dot.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from newsletter.mail.envelope import Extensions
from newsletter.mail.replies import NotSmtp, Replies, readable
from newsletter.mail.transport import (
    Done,
    Event,
    Offer,
    Offered,
    RelayProblem,
    Reply,
    Returned,
    Stage,
)
from newsletter.mail.verdicts import Failure, about_mail, after_dot, before_dot

# A relay hangs up on a silent connection sooner or later (Postfix under stress: 10 s); do it first.
IDLE_SECONDS = 30.0
_LINE_BEGINS_WITH_DOT = re.compile(rb"^\.", re.MULTILINE)
# Nearly all that a relay ever says: yes to a dot, and to the envelope behind it.
_ALL_YES = re.compile(
    rb"(2\d\d)(?: ([^\r\n]*))?\r\n(?:2\d\d(?: [^\r\n]*)?\r\n){2}3\d\d(?: [^\r\n]*)?\r\n"
)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for each reply (and each started MiB of a body), and for the reply to a dot."""

    reply: float
    dot: float


class Session:
    """The mails of one connection on which MAIL may be said.

    most: mails; after so many it ends by itself. events: called with each Offered and Done.

    After each call `out` may hold bytes to write: take them, write them, and call `sent`.
    `deadline` is when `expire` is due; `over`: write what `out` still holds if that goes at once,
    and close.
    """

    def __init__(
        self,
        extensions: Extensions,
        patience: Patience,
        most: int,
        events: Callable[[Event], None],
    ) -> None:
        self._extensions = extensions
        self._patience = patience
        self._most = most
        self._emit = events
        self._replies = Replies()
        self._asked: deque[Stage] = deque()  # what was asked and not answered yet
        self._later: deque[tuple[Stage, bytes]] = deque()  # to be asked one by one
        self._current: Offer | None = None  # between MAIL and the dot
        self._stage: Stage = "mail"  # where it is
        self._held: Failure | None = None  # its end, while an answer is still to come
        self._is_offered = False
        self._armed: Offer | None = None  # its dot was written, its answer has not come
        self._dot_left = False  # a byte of the dot may have left this machine
        self._answers_early = False
        self._needs_reset = False
        self._ending = False
        self._mails = 0
        self.out = b""
        self.over = False
        self.proven = False  # the relay took a MAIL FROM on this connection
        self.deadline = inf

    @property
    def idle(self) -> bool:
        """Whether a mail can begin."""
        return self._current is None and self._armed is None and not self.over

    def begin(self, offer: Offer, now: float) -> None:
        """Say MAIL, RCPT and DATA; only when idle."""
        self.deadline = now + IDLE_SECONDS
        if not self._fits(offer):
            return
        self._enter(offer)
        if self._later:
            self._ask_next()
        self.deadline = now + self._patience.reply

    def finish(self, offer: Offer, following: Offer | None, now: float) -> None:
        """Write the dot of the offered mail, and behind it the next mail's envelope.

        The following one is Returned where it cannot begin: after the last mail of a connection,
        or when the offered one has come to an end meanwhile; the Done of that was or will be said.
        Raises ValueError when it is not offered yet.
        """
        if self._current is offer and self._is_offered and not self._answers_early:
            self._armed, self._current = offer, None
            self._is_offered = self._dot_left = False
            self.out = b".\r\n"
            self._asked.append("dot")
            self.deadline = now + self._patience.dot
            if following is None:
                return
            if self._mails < self._most and not self._ending:
                if self._fits(following):
                    self._enter(following)
                return
        elif self._current is offer and self._stage != "body":
            raise ValueError("this mail is not offered yet")
        if following is not None:
            self._emit(Done(following, Returned(None, "mail")))

    def abandon(self, offer: Offer) -> None:
        """Forget a mail that has no dot yet; the connection ends, after the answer to a dot."""
        if self._current is not offer:
            raise ValueError("This mail is not on its way here.")
        self._current = self._held = None
        self._later.clear()
        self._ending = True
        self.over = self._armed is None

    def quit(self) -> None:
        """Say goodbye; only when idle. The answer is not waited for."""
        self.out = b"QUIT\r\n"
        self.over = True

    def end_soon(self) -> Offer | None:
        """Take nothing more: the mail without a dot is handed back, and is not accepted.

        It is over at once, or when the dot that was written is answered.
        """
        handed_back = self._current
        if handed_back is not None:
            self.abandon(handed_back)
        elif self.idle:
            self.quit()
        self._ending = True
        return handed_back

    # What comes from below.

    def sent(self, *, whole: bool) -> None:
        """Some of what was taken from `out` is with the kernel; whole: all of it."""
        if self._armed is not None:
            self._dot_left = True
        elif whole and self._stage == "body" and not self._is_offered:
            current = self._current
            if current is not None:
                self._is_offered = True
                if not self._answers_early:
                    self.deadline = inf
                    self._emit(Offered(current))

    def receive(self, data: bytes, now: float) -> None:
        """The relay said something."""
        if self._dot_left and len(self._asked) == 4 and self._all_yes(data, now):
            return
        replies = self._replies
        replies.add(data)
        # What is asked from here on cannot have been answered by this.
        answers = 0 if self._armed is not None and not self._dot_left else len(self._asked)
        try:
            while (found := replies.next()) is not None:
                if not answers:
                    self._unasked(*found)
                    return
                answers -= 1
                self._answered(*found, now)
                if self.over:
                    return
        except NotSmtp as error:
            self._end(cause=str(error))
            return
        if replies.pending and not answers:
            self._unasked_begins(now)

    def lost(self, cause: str) -> None:
        """The line broke; nothing more can be said or read."""
        self._end(cause=cause)

    def expire(self) -> None:
        """The deadline is over."""
        if self.idle:
            self.quit()
        elif self._current is not None and self._stage == "body" and not self._answers_early:
            self._end(cause="the relay did not take the mail in time")
        else:
            self._end(cause="no reply in time")

    # Asking.

    def _fits(self, offer: Offer) -> bool:
        """Whether the relay can take such a mail; what it cannot is refused in its name."""
        refusal = self._extensions.refusal(offer)
        if refusal is not None:
            self._emit(Done(offer, refusal))
        return refusal is None

    def _enter(self, offer: Offer) -> None:
        """Make `offer` the current mail: its commands are to be said, or said (pipelined)."""
        self._current, self._stage = offer, "mail"
        self._mails += 1
        mail, rcpt = self._extensions.envelope(offer)
        if self._extensions.pipelining:
            if self._needs_reset:
                self.out += b"RSET\r\n"
                self._asked.append("rset")
            # RFC 2920 §3.1: DATA is the last one of a group.
            self.out += f"{mail}{rcpt}DATA\r\n".encode()
            self._asked += ("mail", "rcpt", "data")
        else:
            if self._needs_reset:
                self._later.append(("rset", b"RSET\r\n"))
            self._later.append(("mail", mail.encode()))
            self._later.append(("rcpt", rcpt.encode()))
            self._later.append(("data", b"DATA\r\n"))
        self._needs_reset = False

    def _ask_next(self) -> None:
        stage, words = self._later.popleft()
        self._asked.append(stage)
        self.out += words

    # Answers.

    def _all_yes(self, data: bytes, now: float) -> bool:
        """A short cut for what is said nearly always; what it does, `_answered` would do, too."""
        armed = self._armed
        if armed is None or self._current is None or self._replies.pending:
            return False
        found = _ALL_YES.fullmatch(data)
        if found is None:
            return False
        self._armed, self._dot_left = None, False
        self._asked.clear()
        self._emit(Done(armed, readable(int(found[1]), found[2] or b"", "dot")))
        self.proven = True
        self._write_body(now)
        return True

    def _answered(self, code: int, text: bytes, now: float) -> None:
        """The answer to the oldest question."""
        stage = self._asked.popleft()
        kind = code // 100
        if stage == "dot":
            self._dotted(code, text)
        elif kind == 2 and stage != "data":
            if stage == "mail":
                self._stage = "rcpt"
                self.proven = True
            elif stage == "rcpt":
                self._stage = "data"
        elif kind == 3 and stage == "data" and self._held is None:
            self._write_body(now)
            return
        else:
            self._refused(readable(code, text, stage))
        if self.over:
            return
        if self._later and not self._asked:
            self._ask_next()
        if self._asked:
            patience = self._patience
            self.deadline = now + (patience.dot if self._asked[0] == "dot" else patience.reply)
        elif self._current is None:
            self.deadline = now + IDLE_SECONDS
            if self._ending or self._mails >= self._most:
                self.quit()

    def _dotted(self, code: int, text: bytes) -> None:
        offer = self._armed
        if offer is None or code // 100 == 3:
            self._end(cause="the relay's answer to the dot means nothing")
            return
        self._armed, self._dot_left = None, False
        # RFC 5321 §4.1.1.4: a mail that was refused here leaves nothing to reset.
        reply = readable(code, text, "dot")
        self._emit(Done(offer, reply if code < 300 else about_mail(reply)))
        if code == 421:
            self._end(reply)
        elif self._ending and self._asked:
            self.over = True  # a mail was abandoned behind it, and its DATA may get a yes

    def _write_body(self, now: float) -> None:
        offer = self._current
        if offer is None:
            return
        raw = offer.raw
        if not offer.clean:
            # RFC 5321 §4.5.2: a dot at the start of a line is doubled.
            raw = _LINE_BEGINS_WITH_DOT.sub(b"..", raw)
        self._stage, self._is_offered = "body", False
        self.out += raw
        self.deadline = now + self._patience.reply * (1 + (len(raw) >> 20))

    def _refused(self, reply: Reply) -> None:
        """Anything but the yes that the question had."""
        stage, code = reply.stage, reply.code
        if code == 421:
            # RFC 5321 §3.8: the relay goes away, whatever the question was.
            self._end(reply)
        elif stage == "data" and self._held is not None and code < 400:
            # It waits for a mail to nobody. A lone dot could deliver it, empty.
            self._end()
        elif code < 400 or stage == "rset":
            self._end(cause="the relay's answer does not fit the question")
        elif stage == "mail":
            # About the sender, thus about everybody's mail.
            self._settle(RelayProblem(reply, stage))
            if not self._asked:
                self.quit()
        elif stage == "rcpt" and self._asked:
            self._held = about_mail(reply)
        else:
            self._settle(self._held or about_mail(reply))

    def _settle(self, verdict: Failure) -> None:
        """The current mail came to its end before the dot; the connection goes on."""
        offer, self._current, self._held = self._current, None, None
        self._later.clear()
        self._needs_reset = True
        if offer is not None:
            self._emit(Done(offer, verdict))
        if isinstance(verdict, RelayProblem):
            self.over = True

    def _unasked(self, code: int, text: bytes) -> None:
        """An answer without a question: to half a mail, a goodbye (421), or out of step."""
        if code == 421 or (self._in_body and code >= 400):
            self._end(readable(code, text, "body" if self._in_body else self._stage))
        elif self._in_body:
            self._end(cause="the relay answered before it had the whole mail")
        else:
            self._end(cause="the relay is out of step")

    def _unasked_begins(self, now: float) -> None:
        """The beginning of such an answer: in the middle of a mail it is worth waiting for."""
        if not self._in_body:
            self._end(cause="the relay is out of step")
        elif not self._answers_early:
            self._answers_early = True
            self.deadline = now + self._patience.reply

    @property
    def _in_body(self) -> bool:
        """Whether the relay has a mail without its dot."""
        if self._armed is not None:
            return not self._dot_left
        return self._current is not None and self._stage == "body"

    def _end(self, reply: Reply | None = None, *, cause: str | None = None) -> None:
        """The line is over: what that means for the mails that are on it."""
        self.over = True
        self.out = b""  # least of all a dot
        armed, current, held = self._armed, self._current, self._held
        self._armed = self._current = self._held = None
        if armed is not None:
            self._emit(Done(armed, after_dot(reply, cause, dot_left=self._dot_left)))
        if current is None:
            return
        if held is not None:
            verdict = held
        elif armed is not None:
            verdict = Returned(reply, "mail", cause=cause)
        else:
            verdict = before_dot(self._stage, reply, cause, first_on_line=self._mails == 1)
        self._emit(Done(current, verdict))
