"""One signing process, as this one sees it: asked for chunks of mails, it answers when it can.

The mails go through memory that both share, and only where they are through the pipe: asking
never waits for the process, and costs a copy of the mail.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, cast

import newsletter
from newsletter.mail.dkim import Signer
from newsletter.mail.signer_main import LENGTH, MAIL, REPLY, REQUEST, UNSIGNED, Start

# A process has some chunks waiting, so that it goes on while this one is busy.
WAITING = 8
CHUNK_BYTES = 1 << 20

# A mail and the time that its signatures say they were made (aware).
Mail = tuple[bytes, datetime]


class Batch:
    """What was submitted together, and whoever waits for it.

    Once it is over, what else becomes of its mails is of no interest.
    """

    def __init__(self, mails: Sequence[Mail]) -> None:
        self.mails = mails
        self.future: Future[list[bytes]] = Future()
        self._signed = [b""] * len(mails)
        self._left = len(mails)
        self._is_over = False

    def settle(self, first: int, signed: Sequence[bytes]) -> None:
        """The mails from number `first` on, signed; the last ones make it whole."""
        self._signed[first : first + len(signed)] = signed
        self._left -= len(signed)
        if not self._left and self._end():
            self.future.set_result(self._signed)

    def fail(self, error: Exception) -> None:
        """A mail of it cannot be signed."""
        if self._end():
            self.future.set_exception(error)

    def give_up(self) -> None:
        """It will not be signed: as if the submitter had cancelled it."""
        self.future.cancel()
        self._end()

    def _end(self) -> bool:
        """Whether someone is to be told; whoever waits for a cancelled one is told here."""
        was_over, self._is_over = self._is_over, True
        return not was_over and self.future.set_running_or_notify_cancel()


@dataclass(eq=False)
class Chunk:
    """Some neighbours of a batch, from number `first` on.

    size: the bytes of its mails. failures: processes that ended before they had signed it.
    """

    batch: Batch
    first: int
    mails: Sequence[Mail]
    size: int
    failures: int = 0


class SignerProcess:
    """One process, and the memory that it reads the mails from.

    asked: what it has to do, the oldest first, by the place of its mails in the memory.
    """

    def __init__(self, signer: Signer) -> None:
        self.asked: dict[int, Chunk] = {}
        self.has_answered = False
        self._free = [CHUNK_BYTES * number for number in range(WAITING)]
        self._heard = bytearray()
        self._since = time.monotonic()
        size = CHUNK_BYTES * WAITING
        with _shared_file(size) as number:
            self._memory = mmap.mmap(number, size)
            try:
                self._process = subprocess.Popen(
                    # -P: no module of the working directory takes the place of ours.
                    [sys.executable, "-P", "-m", "newsletter.mail.signer_main"],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": _path()},
                    pass_fds=(number,),
                )
            except BaseException:
                self._memory.close()
                raise
            keys = [(key.name, key.pem.decode()) for key in signer.keys]
            self._write(Start(number, size, signer.bodies, keys).line())

    @property
    def answers(self) -> int:
        """The descriptor that its answers come from."""
        return cast("IO[bytes]", self._process.stdout).fileno()

    def ask(self, chunk: Chunk) -> None:
        """Give it a chunk, which fits into its memory; fewer than WAITING are asked."""
        if not self.asked:
            self._since = time.monotonic()
        place = self._free.pop()
        self.asked[place] = chunk
        listed, at = [REQUEST.pack(place, len(chunk.mails))], place
        for raw, moment in chunk.mails:
            self._memory[at : at + len(raw)] = raw
            at += len(raw)
            listed.append(MAIL.pack(len(raw), int(moment.timestamp())))
        # All that is asked at once is less than a pipe holds: this never waits for the process.
        self._write(b"".join(listed))

    def hear(self) -> Iterator[tuple[Chunk, list[bytes | None]]]:
        """What it answered by now: a chunk, and the fields for each of its mails, None for one
        that cannot be signed. Raises EOFError when it ended.
        """
        data = os.read(self.answers, 1 << 16)
        if not data:
            raise EOFError
        self._heard += data
        self._since = time.monotonic()
        self.has_answered = True
        while len(self._heard) >= REPLY.size:
            place, count, size = REPLY.unpack_from(self._heard)
            if len(self._heard) < REPLY.size + size:
                return
            answer = bytes(self._heard[REPLY.size : REPLY.size + size])
            del self._heard[: REPLY.size + size]
            self._free.append(place)
            yield self.asked.pop(place), _fields(answer, count)

    @property
    def number(self) -> int:
        """Its process number."""
        return self._process.pid

    def is_silent(self, seconds: float) -> bool:
        """Whether it owes an answer for longer than that."""
        return bool(self.asked) and time.monotonic() - self._since > seconds

    def end(self) -> int:
        """End it at once; returns its exit code."""
        self._process.kill()
        with self._process:  # closes the pipes, and waits for it
            pass
        self._memory.close()
        return self._process.returncode

    def _write(self, data: bytes) -> None:
        # That it ended is seen where its answers are read.
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", self._process.stdin).write(data)


def _fields(answer: bytes, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    at = count * LENGTH.size
    for (length,) in LENGTH.iter_unpack(answer[:at]):
        found.append(None if length == UNSIGNED else answer[at : at + length])
        at += 0 if length == UNSIGNED else length
    return found


@contextlib.contextmanager
def _shared_file(size: int) -> Iterator[int]:
    """A file without a name, in memory where the system can; its number is good in the block."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("mails")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    try:
        os.truncate(number, size)
        yield number
    finally:
        os.close(number)


def _path() -> str:
    """PYTHONPATH with the place that this package was imported from in front."""
    here = str(Path(newsletter.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
