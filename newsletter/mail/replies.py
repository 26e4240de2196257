"""What a relay says, cut out of a stream: whole replies, bounded in lines and length.

However the network cuts the stream, the replies are the same; what is not a reply of SMTP, or has
no end, is refused as soon as that shows.
"""

from __future__ import annotations

import re

from newsletter.mail.transport import Reply, Stage

MAX_LINE = 8192  # bytes; RFC 5321 §4.5.3.1.5 promises 512
MAX_LINES = 100
_MAX_TEXT = 500

# Nearly every reply: one line.
_SINGLE = re.compile(rb"([2-5]\d\d)(?: ([^\r\n]*))?\r?\n")
_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class NotSmtp(ValueError):
    """What the relay said is not a reply, or none with an end."""


class Replies:
    """The replies in a stream. `add` what came, and take them with `next`."""

    def __init__(self) -> None:
        self._unread = b""
        self._at = 0  # where in it the next line begins
        self._code = 0
        self._texts: list[bytes] = []  # of the lines before, while a reply has several

    @property
    def pending(self) -> bool:
        """Whether a part of another reply is there."""
        return bool(self._texts) or self._at < len(self._unread)

    def add(self, data: bytes) -> None:
        """What came from the relay, in pieces of any length."""
        if self._at < len(self._unread):
            data = self._unread[self._at :] + data
        self._unread, self._at = data, 0

    def next(self) -> tuple[int, bytes] | None:
        """The next whole reply: its code, and the texts of its lines with a LF between them.

        None when more must come first. Raises NotSmtp; nothing can be read after that.
        """
        if not self._texts:
            single = _SINGLE.match(self._unread, self._at)
            if single is not None and single.end() - self._at <= MAX_LINE:
                self._at = single.end()
                return int(single[1]), single[2] or b""
        while (line := self._line()) is not None:
            found = _LINE.fullmatch(line)
            if not found:
                raise NotSmtp("what the relay said is not a reply")
            code, mark, text = int(found[1]), found[2], found[3] or b""
            # RFC 5321 §4.2.1: all lines of a reply have one code.
            if self._texts and code != self._code:
                raise NotSmtp("a reply with two codes")
            self._code = code
            self._texts.append(text)
            if mark != b"-":
                texts, self._texts = self._texts, []
                return code, b"\n".join(texts)
            if len(self._texts) >= MAX_LINES:
                raise NotSmtp("a reply without end")
        return None

    def _line(self) -> bytes | None:
        end = self._unread.find(b"\n", self._at)
        if (len(self._unread) if end < 0 else end) - self._at > MAX_LINE:
            raise NotSmtp("a reply line without end")
        if end < 0:
            return None
        line = self._unread[self._at : end]
        self._at = end + 1
        return line.removesuffix(b"\r")


def readable(code: int, text: bytes, stage: Stage) -> Reply:
    """A reply as a value, its text made harmless for a terminal and cut to some length."""
    words = _UNPRINTABLE.sub(" ", text.decode("utf-8", "replace"))
    return Reply(code, words.strip()[:_MAX_TEXT], stage)
