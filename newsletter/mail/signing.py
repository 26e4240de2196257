"""Signs mails on all cores, in processes of its own, while the sending thread goes on.

Nothing is lost with such a process: what it had not answered is signed by another one, or here.
A signature is a function of the mail, so to make it twice does no harm. Processes are started
when there is work for them, and end with this one, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import structlog

from newsletter.mail.dkim import Signer
from newsletter.mail.signer_process import (
    CHUNK_BYTES,
    WAITING,
    Batch,
    Chunk,
    Mail,
    SignerProcess,
)

log = structlog.get_logger()

# What a process gets at once: some milliseconds of work, far more than the asking costs.
_CHUNK_MAILS = 16
# After so many processes in a row that ended without one answer, none are tried for some seconds.
_STILLBORN = 3
_REST = 60.0


class Signers:
    """Processes that sign, and the thread that talks with them.

    signer: has the keys. workers: how many processes at most; 0 for one on each core. patience:
    seconds without an answer after which a process counts as hung, and is ended.
    """

    def __init__(self, signer: Signer, workers: int = 0, *, patience: float = 30) -> None:
        self._signer = signer
        self._patience = patience
        self._workers = workers or _cores()
        self._backlog: deque[Chunk] = deque()
        self._children: list[SignerProcess] = []
        self._stillborn = 0
        self._rests_until = 0.0
        self._selector = selectors.DefaultSelector()
        self._ends: tuple[int, ...] = os.pipe()
        for number in self._ends:
            os.set_blocking(number, False)
        self._selector.register(self._ends[0], selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="signers", daemon=True)
        self._thread.start()

    def submit(self, mails: Sequence[Mail]) -> Future[list[bytes]]:
        """Begin to sign; returns at once.

        mails: each with the time that its signatures say they were made (aware). The result has
        each mail with its DKIM-Signature fields on top; a mail that no key belongs to is as it was.
        It is BadInput when one of them cannot be signed (`Signer.headers`). Callbacks of the future
        run in another thread. For any thread, until `close`.
        """
        if self._closed:
            raise RuntimeError("The signers are closed.")
        batch = Batch(mails)
        if mails and self._signer.keys:
            most = min(_CHUNK_MAILS, -(-len(mails) // self._workers))
            self._backlog.extend(_chunks(batch, most))
            self._nudge()
        else:
            batch.settle(0, [raw for raw, _ in mails])
        return batch.future

    def close(self) -> None:
        """End the processes; what is not signed yet is cancelled."""
        self._closed = True
        if self._ends:
            self._nudge()
            self._thread.join()
            for number in self._ends:
                os.close(number)
            self._ends = ()

    def processes(self) -> list[int]:
        """The process numbers of those that are there now."""
        return [child.number for child in list(self._children)]

    def _nudge(self) -> None:
        # A full pipe wakes the thread as well as one byte more would.
        with contextlib.suppress(BlockingIOError):
            os.write(self._ends[1], b"x")

    # What follows runs in the thread, which alone knows the processes.

    def _run(self) -> None:
        try:
            while not self._closed:
                self._feed()
                busy = any(child.asked for child in self._children)
                for key, _ in self._selector.select(self._patience / 10 if busy else None):
                    if key.data is None:
                        os.read(self._ends[0], 1000)
                    else:
                        self._listen(key.data)
                for child in [each for each in self._children if each.is_silent(self._patience)]:
                    self._bury(child)
        finally:
            self._closed = True
            chunks = [chunk for child in self._children for chunk in child.asked.values()]
            for child in self._children:
                child.end()
            self._selector.close()
            for chunk in [*chunks, *self._backlog]:
                chunk.batch.give_up()

    def _feed(self) -> None:
        """Give the processes what there is to do, the least busy one first."""
        while self._backlog and not self._closed:
            chunk = self._backlog[0]
            if chunk.batch.future.cancelled():
                self._backlog.popleft().batch.give_up()
                continue
            child = min(self._children, key=lambda each: len(each.asked), default=None)
            if child is None or child.asked:
                child = self._start() or child
            if child is None or chunk.failures > 1 or chunk.size > CHUNK_BYTES:
                self._sign_here(self._backlog.popleft())
            elif len(child.asked) >= WAITING:
                return
            else:
                child.ask(self._backlog.popleft())

    def _start(self) -> SignerProcess | None:
        if len(self._children) >= self._workers or time.monotonic() < self._rests_until:
            return None
        try:
            child = SignerProcess(self._signer)
        except OSError as error:
            log.warning("no_signer_process", error=error.strerror)
            self._count_stillborn()
            return None
        self._children.append(child)
        self._selector.register(child.answers, selectors.EVENT_READ, child)
        return child

    def _listen(self, child: SignerProcess) -> None:
        try:
            for chunk, fields in child.hear():
                self._stillborn = 0
                if None in fields:
                    # Again here, where the error can be told.
                    self._sign_here(chunk)
                else:
                    _settle(chunk, [each or b"" for each in fields])
        except EOFError:
            self._bury(child)

    def _bury(self, child: SignerProcess) -> None:
        """A process that ended, or hangs: what it had is to be done again."""
        self._selector.unregister(child.answers)
        self._children.remove(child)
        if not child.has_answered:
            self._count_stillborn()
        log.warning("signer_process_ended", code=child.end(), unanswered=len(child.asked))
        for chunk in reversed(child.asked.values()):
            chunk.failures += 1
            self._backlog.appendleft(chunk)

    def _count_stillborn(self) -> None:
        self._stillborn += 1
        if self._stillborn >= _STILLBORN:
            self._rests_until = time.monotonic() + _REST

    def _sign_here(self, chunk: Chunk) -> None:
        try:
            _settle(chunk, [self._signer.headers(raw, at=at) for raw, at in chunk.mails])
        except Exception as error:
            chunk.batch.fail(error)


def _chunks(batch: Batch, most: int) -> Iterator[Chunk]:
    """The batch in chunks of at most `most` mails that fit into a process's memory.

    A mail that does not fit is a chunk of its own.
    """
    first, size = 0, 0
    for number, (raw, _) in enumerate(batch.mails):
        if number > first and (number - first == most or size + len(raw) > CHUNK_BYTES):
            yield Chunk(batch, first, batch.mails[first:number], size)
            first, size = number, 0
        size += len(raw)
    yield Chunk(batch, first, batch.mails[first:], size)


def _settle(chunk: Chunk, fields: Sequence[bytes]) -> None:
    signed = [each + raw for each, (raw, _) in zip(fields, chunk.mails, strict=True)]
    chunk.batch.settle(chunk.first, signed)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
