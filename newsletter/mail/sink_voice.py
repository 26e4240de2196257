"""How the sink says what its script tells it to: at once, late, in pieces, without end, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# "after 0.5 250 ok": the words that dawdle, before the seconds.
_DAWDLES = ("after", "slowly")


def is_yes(said: str, yes: str) -> bool:
    """Whether what the script says begins with the same digit as the reply `yes`."""
    if said.startswith(_DAWDLES):
        said = said.split(" ", 2)[2]
    return said[:1] == yes[:1]


class Voice:
    """What is said on one connection, in order. hang_up: ends the connection without a word.

    `silent`: it will say nothing any more.
    """

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.silent = False
        self._hang_up = hang_up
        self._is_closing = False
        self._unsaid: list[tuple[str, float]] = []  # waits behind a piece that dawdles

    def obey(self, said: str) -> None:
        """Say what a script says; see newsletter.mail.sink.Sink."""
        kind, _, rest = said.partition(" ")
        if said in ("drop", "take-drop"):
            self._hang_up()
        elif said == "silence":
            self.silent = True
        elif kind == "endless":
            self._go_on_saying(f"{rest}\r\n".encode() * 100)
        elif kind in _DAWDLES:
            seconds, _, text = rest.partition(" ")
            pieces = [f"{text}\r\n"] if kind == "after" else [*text, "\r\n"]
            self._say_later([(piece, float(seconds)) for piece in pieces])
        else:
            self.say(said)
            if said.startswith("421"):
                self.close()

    def say(self, text: str) -> None:
        """Say a line."""
        if self._unsaid:
            self._say_later([(f"{text}\r\n", 0)])
        elif self.transport is not None:
            self.transport.write(f"{text}\r\n".encode())

    def close(self) -> None:
        """Hang up when all is said."""
        self._is_closing = True
        if not self._unsaid and self.transport is not None:
            self.transport.close()

    def _go_on_saying(self, words: bytes) -> None:
        if self._can_speak():
            asyncio.get_running_loop().call_later(0.002, self._go_on_saying, words)
            self._write(words)

    def _say_later(self, pieces: list[tuple[str, float]]) -> None:
        """Say each piece after so many seconds; what is to be said after them waits."""
        begins = not self._unsaid
        self._unsaid += pieces
        if begins:
            self._wait()

    def _wait(self) -> None:
        asyncio.get_running_loop().call_later(self._unsaid[0][1], self._say_first)

    def _say_first(self) -> None:
        words, _ = self._unsaid.pop(0)
        if self._can_speak():
            self._write(words.encode())
            if self._unsaid:
                self._wait()
            elif self._is_closing:
                self.close()

    def _can_speak(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def _write(self, words: bytes) -> None:
        if self.transport is not None:
            self.transport.write(words)
